// Anthropic's rate limit headers. Must not know: what is made of them.
// Source: Anthropic's "Rate limits" page, "Response headers".
import type { ObservedLimit } from '../../core/observation.ts'
import { dateOf, headerText } from '../headers.ts'
import type { Headers, LimitReport } from '../provider.ts'

/** Tokens that remain are given to the nearest thousand. */
const TOKEN_STEP = 1000

/** `reset` and `date` are both in whole seconds. */
const RESET_ERROR_MS = 2000

export function observeLimits(headers: Headers): LimitReport {
  return {
    organization: headerText(headers, 'anthropic-organization-id'),
    limits: tokenLimits(headers).concat(
      readLimit(headers, 'anthropic-ratelimit-requests', 'requests') ?? [],
    ),
  }
}

/** A fast answer's own buckets stand in for the standard ones, which it does not draw on. */
function tokenLimits(headers: Headers): ObservedLimit[] {
  const fast = [
    readLimit(headers, 'anthropic-fast-input-tokens', 'input_tokens'),
    readLimit(headers, 'anthropic-fast-output-tokens', 'output_tokens'),
  ].filter((limit) => limit !== null)
  return fast.length > 0 ? fast : standardTokenLimits(headers)
}

function standardTokenLimits(headers: Headers): ObservedLimit[] {
  const input = readLimit(headers, 'anthropic-ratelimit-input-tokens', 'input_tokens')
  const output = readLimit(headers, 'anthropic-ratelimit-output-tokens', 'output_tokens')
  const tokens = readLimit(headers, 'anthropic-ratelimit-tokens', 'tokens')
  // Where nothing stricter is in force, `tokens` is the sum of the two and limits nothing by itself.
  const isSum = input && output && tokens?.amount === input.amount + output.amount
  return [input, output, isSum ? null : tokens].filter((limit) => limit !== null)
}

function readLimit(
  headers: Headers,
  name: string,
  dimension: ObservedLimit['dimension'],
): ObservedLimit | null {
  const amount = wholeNumber(headerText(headers, `${name}-limit`))
  const remaining = wholeNumber(headerText(headers, `${name}-remaining`))
  if (amount === null || amount === 0 || remaining === null) return null
  const fullInMs = timeUntil(headerText(headers, `${name}-reset`), headers)
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

/** From the provider's `date` to its `reset`, so that this machine's clock plays no part. */
function timeUntil(reset: string | null, headers: Headers): number | null {
  const statedAt = dateOf(headers)
  const fullAt = Date.parse(reset ?? '')
  return statedAt === null || Number.isNaN(fullAt) ? null : Math.max(0, fullAt - statedAt)
}
