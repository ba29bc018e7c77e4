// Configured limits that tests use. Must not know: what for.
import type { LimitRule } from '../src/policy/settings.ts'

/** So many requests at once, of any model. */
export function atOnce(amount: number): { readonly limits: readonly LimitRule[] } {
  const limit = { algorithm: 'concurrency', dimension: 'concurrency', amount } as const
  return { limits: [{ match: '*', limits: [{ ...limit, source: 'configured' }] }] }
}

/** So many requests a minute, one after the other. */
export function perMinute(amount: number, burst = 1): { readonly limits: readonly LimitRule[] } {
  const limit = { algorithm: 'token_bucket', dimension: 'requests', amount, burst } as const
  return {
    limits: [{ match: '*', limits: [{ ...limit, windowMs: 60_000, source: 'configured' }] }],
  }
}
