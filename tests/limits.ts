// Configured limits that tests use. Must not know: what for.
import type { Status } from '../src/control/status.ts'
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

const HOUR_MS = 3_600_000

/** So many output tokens in any hour, none of which come back while a test runs. */
export function outputAnHour(amount: number): { readonly limits: readonly LimitRule[] } {
  const limit = { algorithm: 'sliding_window', dimension: 'output_tokens', amount } as const
  return {
    limits: [{ match: '*', limits: [{ ...limit, windowMs: HOUR_MS, source: 'configured' }] }],
  }
}

/** What is left of the configured limit; null where its resource is forgotten, and so full again. */
export function remainingOf({ resources }: Status): number | null {
  const limits = resources.flatMap((resource) => resource.limits)
  return limits.find(({ source }) => source === 'configured')?.remaining ?? null
}
