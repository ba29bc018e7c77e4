// Anthropic's rate limit headers. Must not know: what is made of them.
// Source: Anthropic's "Rate limits" page, "Response headers".
import type { ObservedLimit } from '../../core/observation.ts'
import { dateOf, headerText, instantOf } from '../headers.ts'
import type { Headers, LimitReport } from '../provider.ts'

/** Tokens that remain are given to the nearest thousand. */
const TOKEN_STEP = 1000

/** `reset` and `date` are both in whole seconds. */
const RESET_ERROR_MS = 2000

/** The three headers of one limit. Named once: they are read at every answer. */
interface Trio {
  readonly dimension: ObservedLimit['dimension']
  readonly limit: string
  readonly remaining: string
  readonly reset: string
}

const trio = (name: string, dimension: ObservedLimit['dimension']): Trio => ({
  dimension,
  limit: `${name}-limit`,
  remaining: `${name}-remaining`,
  reset: `${name}-reset`,
})

const FAST_INPUT = trio('anthropic-fast-input-tokens', 'input_tokens')
const FAST_OUTPUT = trio('anthropic-fast-output-tokens', 'output_tokens')
const INPUT = trio('anthropic-ratelimit-input-tokens', 'input_tokens')
const OUTPUT = trio('anthropic-ratelimit-output-tokens', 'output_tokens')
const TOKENS = trio('anthropic-ratelimit-tokens', 'tokens')
const REQUESTS = trio('anthropic-ratelimit-requests', 'requests')

export function observeLimits(headers: Headers): LimitReport {
  const statedAt = dateOf(headers)
  const read = (names: Trio): ObservedLimit | null => readLimit(headers, names, statedAt)
  // A fast answer's own buckets stand in for the standard ones, which it does not draw on.
  const fast = [read(FAST_INPUT), read(FAST_OUTPUT)]
  const tokens = fast.some((limit) => limit !== null) ? fast : standardTokenLimits(read)
  const limits = [...tokens, read(REQUESTS)].filter((limit) => limit !== null)
  return { organization: headerText(headers, 'anthropic-organization-id'), limits }
}

function standardTokenLimits(
  read: (names: Trio) => ObservedLimit | null,
): (ObservedLimit | null)[] {
  const input = read(INPUT)
  const output = read(OUTPUT)
  const tokens = read(TOKENS)
  // Where nothing stricter is in force, `tokens` is the sum of the two and limits nothing by itself.
  const isSum = input && output && tokens?.amount === input.amount + output.amount
  return [input, output, isSum ? null : tokens]
}

function readLimit(
  headers: Headers,
  { dimension, limit, remaining: remainingName, reset }: Trio,
  statedAt: number | null,
): ObservedLimit | null {
  const amount = wholeNumber(headerText(headers, limit))
  const remaining = wholeNumber(headerText(headers, remainingName))
  if (amount === null || amount === 0 || remaining === null) return null
  // From the provider's `date` to its `reset`, so that this machine's clock plays no part.
  const fullAt = instantOf(headerText(headers, reset))
  const fullInMs = statedAt === null || fullAt === null ? null : Math.max(0, fullAt - statedAt)
  return {
    dimension,
    amount,
    remaining: Math.min(remaining, amount),
    roundedBy: dimension !== 'requests' && remaining % TOKEN_STEP === 0 ? TOKEN_STEP / 2 : 0,
    fullInMs,
    fullInErrorMs: fullInMs === null ? 0 : RESET_ERROR_MS,
  }
}

/** Fillers such as `-1` are no numbers here. */
function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null
}
