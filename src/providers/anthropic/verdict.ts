// What Anthropic's answer means for a request. Must not know: how often it was sent, or what waits.
// Source: Anthropic's "Errors" page, and the retry rules of its SDKs.
import { dateOf, headerText } from '../headers.ts'
import type { Headers, Verdict } from '../provider.ts'

/** Longer announcements are taken for this: a pause should be found out again, not slept through. */
const LONGEST_RETRY_AFTER_MS = 3_600_000

/** Money is spent: refused with 429, and for the rest of the month. */
const SPENT = /"(?:enforced|contract)_spend_limit_reached"/

const FINAL: Verdict = { kind: 'final' }

export function verdictOn(status: number, headers: Headers, body: string): Verdict {
  if (status < 400) return { kind: 'passed' }
  if (headerText(headers, 'x-should-retry') === 'false') return FINAL
  if (status === 429) {
    return isSpent(headers, body)
      ? FINAL
      : { kind: 'rate_limited', retryAfterMs: retryAfterMs(headers) }
  }
  return isTheirTrouble(status)
    ? { kind: 'overloaded', retryAfterMs: retryAfterMs(headers) }
    : FINAL
}

/** A budget or a subscription's window is used up: nothing that a queue can wait for. */
function isSpent(headers: Headers, body: string): boolean {
  const isPlanUsedUp = headerText(headers, 'anthropic-ratelimit-unified-status') === 'rejected'
  return isPlanUsedUp || SPENT.test(body)
}

/** 529 is Anthropic's overload; SDKs send 408 and 409 again as well. */
function isTheirTrouble(status: number): boolean {
  return status >= 500 || status === 408 || status === 409
}

/** The wait that an answer asks for: milliseconds first, then seconds or an HTTP date; null if none. */
function retryAfterMs(headers: Headers): number | null {
  const milliseconds = decimal(headerText(headers, 'retry-after-ms'))
  if (milliseconds !== null) return clamp(milliseconds)
  const text = headerText(headers, 'retry-after')
  const seconds = decimal(text)
  if (seconds !== null) return clamp(seconds * 1000)
  const retryAt = Date.parse(text ?? '')
  const statedAt = dateOf(headers)
  return Number.isNaN(retryAt) || statedAt === null ? null : clamp(retryAt - statedAt)
}

function decimal(text: string | null): number | null {
  return text !== null && /^\s*[-+]?\d+(?:\.\d*)?\s*$/.test(text) ? Number(text) : null
}

function clamp(waitMs: number): number {
  return Math.min(Math.max(waitMs, 0), LONGEST_RETRY_AFTER_MS)
}
