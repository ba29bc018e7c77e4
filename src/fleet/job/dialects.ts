// What one line of a job's input says, in each form that people have such lines in. Owns: one function for
// each form, and what is wrong with a line. Must not know: files, or which line it is.
import { z } from 'zod'
import type { MessageParams } from '../payload.ts'

export type LineRead =
  /** `id` is null where the line gives none. */
  | { readonly kind: 'prompt'; readonly id: string | null; readonly params: MessageParams }
  /** `why` is a clause that begins with a verb. */
  | { readonly kind: 'bad'; readonly id: string | null; readonly why: string }

type Fields = Readonly<Record<string, unknown>>

/** Null where the line is of another form. */
type Dialect = (fields: Fields) => LineRead | null

/** The first one that recognizes a line reads it; the last takes all. */
const DIALECTS: readonly Dialect[] = [readBatchRequest, readWrapped, readPlain]

const record = z.record(z.string(), z.unknown())

/** Reads one line. Never throws. */
export function readLine(bytes: Uint8Array): LineRead {
  const text = decoded(bytes)
  if (text === null) return bad('is not UTF-8')
  const json = parsed(text)
  if (json === undefined) return bad('is not JSON')
  const fields = record.safeParse(json)
  if (!fields.success) return bad('is not an object')
  for (const read of DIALECTS) {
    const line = read(fields.data)
    if (line) return line
  }
  return bad('is no prompt')
}

/** Anthropic's batches: `{"custom_id", "params"}`. */
function readBatchRequest({ custom_id: id, params }: Fields): LineRead | null {
  return id === undefined || params === undefined ? null : readPrompt(id, params, 'custom_id')
}

/** `{"id", "params"}`, or `{"params"}`. */
function readWrapped({ id, params }: Fields): LineRead | null {
  return params === undefined ? null : readPrompt(id, params, 'id')
}

/** The body of a Messages request, with or without an `id` beside it. */
function readPlain({ id, ...params }: Fields): LineRead {
  return readPrompt(id, params, 'id')
}

const LONGEST_ID = 1000

const idSchema = z.union([z.string().min(1).max(LONGEST_ID), z.int()])

const MAX_TOKENS = {
  error: ({ input }: { input?: unknown }) =>
    input === undefined ? 'has no max_tokens' : 'has a max_tokens that is no whole number from 0',
}

const paramsSchema = z.looseObject({
  model: z.string({ error: 'has no model' }).min(1, { error: 'has no model' }),
  max_tokens: z.int(MAX_TOKENS).min(0, MAX_TOKENS),
  messages: z.array(z.unknown(), { error: 'has no messages' }).min(1, { error: 'has no messages' }),
})

function readPrompt(givenId: unknown, given: unknown, idName: string): LineRead {
  const id = idSchema.optional().safeParse(givenId)
  if (!id.success)
    return bad(`has no proper ${idName}: write a text of 1 to ${LONGEST_ID} characters`)
  const named = id.data === undefined ? null : String(id.data)
  const params = paramsSchema.safeParse(given)
  if (!params.success) {
    const whys = params.error.issues.map(({ path, message }) =>
      path.length === 0 ? 'has params that are no object' : message,
    )
    return bad(whys.join(', '), named)
  }
  // An answer comes as one document here, whether its request would have had it streamed or not.
  const { stream: _, ...rest } = params.data
  if (isTooDeep(rest)) return bad('is nested too deeply to be sent', named)
  return { kind: 'prompt', id: named, params: rest }
}

/** Far beyond any prompt. What is much deeper can be read, and not be written again. */
const DEEPEST = 500

function isTooDeep(params: object): boolean {
  let level: unknown[] = [params]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) return true
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null ? Object.values(value) : [],
    )
  }
  return false
}

const bad = (why: string, id: string | null = null): LineRead => ({ kind: 'bad', id, why })

const utf8 = new TextDecoder('utf-8', { fatal: true })

function decoded(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes)
  } catch {
    return null
  }
}

/** Undefined, which no JSON is, where it is none. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
