// What a request asks for beside tokens that makes it dearer. Owns: how much dearer, and whether anybody can tell
// beforehand. Must not know: prices, or budgets.
// Source: Anthropic's pages "Pricing", "Fast mode", "Data residency" and "Tool use".
import { z } from 'zod'
import { NOT_JSON, skipValue, skipWhitespace, walkMembers } from '../json-scan.ts'

const US_PERCENT = 110
const FAST_PERCENT = 200

/** Of the usual price. One comes on top of the other. */
export function pricePercentOf(terms: {
  readonly geo: string | null
  readonly speed: string | null
}): number {
  const geo = terms.geo === 'us' ? US_PERCENT : 100
  const speed = terms.speed === 'fast' ? FAST_PERCENT : 100
  return (geo * speed) / 100
}

/** Tools that the caller runs itself: what they find comes with the next request. */
const CALLERS_TOOL = /^(custom|(bash|computer|memory|text_editor)_\d+)$/

/** Edits of the context that only leave something out. */
const CLEARING = /^clear_/

const toolsSchema = z.array(z.looseObject({ type: z.string().regex(CALLERS_TOOL).nullish() }))
const noServers = z.array(z.never()).nullish()
const contextSchema = z.object({
  edits: z.array(z.looseObject({ type: z.string().regex(CLEARING) })).nullish(),
})

/** What each member has to be for no more to be read than was sent. */
const FORESEEN: Readonly<Record<string, z.ZodType>> = {
  tools: toolsSchema.nullish(),
  mcp_servers: noServers,
  context_management: contextSchema.nullish(),
}

/** @param body JSON, of a Messages request */
export function readsOnlyRequest(body: Buffer): boolean {
  const members = new Map<string, unknown>()
  walkMembers(body, skipWhitespace(body, 0), Object.keys(FORESEEN), (key, at) => {
    const end = skipValue(body, at)
    if (key && end !== NOT_JSON) members.set(key, JSON.parse(body.toString('utf8', at, end)))
    return end
  })
  return Object.entries(FORESEEN).every(
    ([key, schema]) => schema.safeParse(members.get(key)).success,
  )
}
