// Headgate's own refusals in Anthropic's shape, so that its SDKs raise their own exception types.
// Must not know: why anything is refused.
import { REFUSALS, type Refusal } from '../../core/refusal.ts'
import type { RenderedRefusal } from '../provider.ts'

/** Anthropic's error type for a status. 503 is no `overloaded_error`: Claude Code gives that up after three tries. */
const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
}

/** Some clients ignore a longer `retry-after`, and Claude Code ends at once. */
const LONGEST_RETRY_AFTER_S = 60

export function renderRefusal(refusal: Refusal, requestId: string): RenderedRefusal {
  const { status, retryable } = REFUSALS[refusal.reason]
  const waitS = waitSeconds(refusal)
  const headers: Record<string, string> = {
    ...refusal.headers,
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'x-should-retry': String(retryable && (waitS ?? 0) <= LONGEST_RETRY_AFTER_S),
  }
  if (waitS !== null) headers['retry-after'] = String(waitS)
  return { status, headers, body: errorJson(refusal, requestId) }
}

export function renderStreamRefusal(refusal: Refusal, requestId: string): string {
  return `event: error\ndata: ${errorJson(refusal, requestId)}\n\n`
}

/** An error body on one line, since a line break would end the event's data. */
export function wrapStreamError(body: string): string {
  return `event: error\ndata: ${body.replaceAll(/\s*[\r\n]+\s*/g, ' ')}\n\n`
}

function errorJson(refusal: Refusal, requestId: string): string {
  const type = ERROR_TYPES[REFUSALS[refusal.reason].status] ?? 'api_error'
  const error = { type, message: refusal.message, details: null }
  return JSON.stringify({ type: 'error', error, request_id: requestId })
}

/** A place in line can be asked for again at any time. What is the caller's own says when it frees. */
function waitSeconds({ reason, retryAfterMs }: Refusal): number | null {
  const isOwn = reason === 'limit_reached' || reason === 'budget_spent'
  if (retryAfterMs === null || !(REFUSALS[reason].retryable || isOwn)) return null
  const longestS = isOwn ? Number.POSITIVE_INFINITY : LONGEST_RETRY_AFTER_S
  return Math.min(Math.max(Math.ceil(retryAfterMs / 1000), 1), longestS)
}
