// How long it takes to send prompts one by one. Owns: the arithmetic. Must not know: where limits or figures come
// from.
import type { Dimension } from '../../core/cost.ts'
import type { Limit } from '../../core/limit.ts'

/** What limits let through in time, and at once. */
export interface KnownLimit {
  readonly dimension: Dimension
  readonly amount: number
  /** Null: it does not come back with time. */
  readonly windowMs: number | null
  /** There is so much of it now. */
  readonly remaining: number
}

/** What prompts ask for together, or one of them. */
export type Asked = Readonly<Partial<Record<Dimension, number>>>

/** Answers in a minute that the smallest quota of the provider allows. */
const LEAST_REQUESTS_A_MINUTE = 50

const NOTHING_KNOWN: readonly KnownLimit[] = [
  { dimension: 'requests', amount: LEAST_REQUESTS_A_MINUTE, windowMs: 60_000, remaining: 0 },
]

/** A limit that nothing was taken of yet. */
export function fullLimit(limit: Limit): KnownLimit {
  const { dimension, amount } = limit
  if (limit.algorithm === 'concurrency') return { dimension, amount, windowMs: null, remaining: 0 }
  const remaining = limit.algorithm === 'token_bucket' ? (limit.burst ?? amount) : amount
  return { dimension, amount, windowMs: limit.windowMs, remaining }
}

/** The least time that limits let so much take, in milliseconds; null where none is known. */
export function leastMs(asked: Asked, limits: readonly KnownLimit[]): number | null {
  const times = limits.flatMap(({ dimension, amount, windowMs, remaining }) => {
    if (windowMs === null) return []
    const beyond = Math.max(0, (asked[dimension] ?? 0) - Math.max(0, remaining))
    return beyond === 0 ? [0] : [(beyond / amount) * windowMs]
  })
  return times.length === 0 ? null : Math.max(...times)
}

/** As `leastMs`; where no limit is known it is that of the smallest quota. */
export const directMs = (asked: Asked, limits: readonly KnownLimit[]): number =>
  leastMs(asked, limits) ?? leastMs(asked, NOTHING_KNOWN) ?? 0
