// The body of a message request: its shape, and its parts in the order in which they are cached.
// Must not know: limits, answers.
import { z } from 'zod'
import { countTokens } from './tokenizer.ts'

const cacheControl = z.object({
  type: z.literal('ephemeral'),
  ttl: z.enum(['5m', '1h']).optional(),
})

const block = z.looseObject({ type: z.string(), cache_control: cacheControl.nullish() })
const blocks = z.array(block)
const content = z.union([z.string(), blocks])

const prompt = {
  model: z.string().min(1),
  messages: z
    .array(z.looseObject({ role: z.enum(['user', 'assistant', 'system']), content }))
    .min(1),
  system: content.optional(),
  tools: z.array(z.looseObject({ cache_control: cacheControl.nullish() })).optional(),
  tool_choice: z.looseObject({ type: z.string() }).optional(),
  /** At the top level: the last block is a breakpoint. */
  cache_control: cacheControl.nullish(),
}

/** What `count_tokens` wants. */
export const promptBody = z.looseObject(prompt)

export const messagesBody = z.looseObject({
  ...prompt,
  max_tokens: z.number().int().min(0),
  stream: z.boolean().optional(),
})

export type PromptBody = z.output<typeof promptBody>
type Block = z.output<typeof block>
type Content = z.output<typeof content>
type CacheControl = z.output<typeof cacheControl> | null | undefined

/** One block of a prompt: what a cache breakpoint can stand behind. */
export interface PromptPart {
  readonly tokens: number
  /** How long the prompt up to here is to be cached; 0 where there is no breakpoint. */
  readonly cacheForMs: number
  /** What identifies the part's content, wherever its breakpoints are. */
  canonical(): string
}

const MINUTE_MS = 60_000
const CACHE_MS = { '5m': 5 * MINUTE_MS, '1h': 60 * MINUTE_MS }

/** Source: the documented hidden prompt of the 4.5 and 4.6 models. */
const HIDDEN_TOOLS_PROMPT = { auto: 496, forced: 588 }
const BASE_TOKENS = 6
const TOKENS_PER_MESSAGE = 3
const TOKENS_PER_TOOL = 12
/** A megapixel; a page of a document counts as one image. */
const IMAGE_TOKENS = 1600

/** The parts of a prompt as the provider caches them: tools, then system, then messages. */
export function* promptParts(body: PromptBody): Generator<PromptPart> {
  const choice = body.tool_choice?.type ?? 'auto'
  const isForced = choice === 'any' || choice === 'tool'
  let hidden = BASE_TOKENS
  if (body.tools?.length) hidden += HIDDEN_TOOLS_PROMPT[isForced ? 'forced' : 'auto']
  yield { tokens: hidden, cacheForMs: 0, canonical: () => choice }
  for (const { cache_control, ...tool } of body.tools ?? []) {
    const text = JSON.stringify(tool)
    yield partOf(countTokens(text) + TOKENS_PER_TOOL, cache_control, () => text)
  }
  yield* contentParts('system', body.system ?? [], 0)
  for (const message of body.messages) {
    yield* contentParts(message.role, message.content, TOKENS_PER_MESSAGE)
  }
}

function* contentParts(
  role: string,
  content: Content,
  overheadTokens: number,
): Generator<PromptPart> {
  const list: Block[] = typeof content === 'string' ? [{ type: 'text', text: content }] : content
  let overhead = overheadTokens
  for (const { cache_control, ...rest } of list) {
    const tokens = blockTokens(rest) + overhead
    yield partOf(tokens, cache_control, () => role + JSON.stringify(rest))
    overhead = 0
  }
}

function partOf(tokens: number, control: CacheControl, canonical: () => string): PromptPart {
  return { tokens, cacheForMs: control ? CACHE_MS[control.ttl ?? '5m'] : 0, canonical }
}

/** Where the parts end up in the cache when the request marks only itself. */
export function automaticCacheMs(body: PromptBody): number {
  return body.cache_control ? CACHE_MS[body.cache_control.ttl ?? '5m'] : 0
}

function blockTokens(block: Readonly<Record<string, unknown>>): number {
  switch (block.type) {
    case 'text':
      return textTokens(block.text)
    case 'thinking':
      return textTokens(block.thinking)
    case 'image':
    case 'document':
      return IMAGE_TOKENS
    case 'tool_result':
      return TOKENS_PER_MESSAGE + nestedTokens(block.content)
    default:
      return textTokens(JSON.stringify(block))
  }
}

function nestedTokens(value: unknown): number {
  if (!Array.isArray(value)) return textTokens(value)
  let tokens = 0
  for (const item of value) {
    const nested = block.safeParse(item)
    if (nested.success) tokens += blockTokens(nested.data)
  }
  return tokens
}

function textTokens(text: unknown): number {
  return typeof text === 'string' ? countTokens(text) : 0
}
