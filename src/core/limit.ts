// What is allowed. Owns: the description of a limit, as plain data that any store can hold.
// Must not know: how it is metered (meter.ts) or how it is written in a file (policy).
import type { Dimension } from './cost.ts'

/** Where a limit comes from: written by the operator, or learnt from the provider's answers. */
export type LimitSource = 'configured' | 'learnt'

/** The calendar period of a fixed window that is not a plain number of milliseconds. */
export interface CalendarPeriod {
  readonly unit: 'day' | 'month'
  /** IANA time zone name, such as `Europe/Berlin`. */
  readonly timeZone: string
}

interface ConsumedLimit {
  readonly dimension: Exclude<Dimension, 'concurrency'>
  /** How much the window admits. */
  readonly amount: number
  readonly windowMs: number
  readonly source: LimitSource
}

/** Refills continuously at `amount` a window, up to `burst` (default: `amount`). */
export interface TokenBucketLimit extends ConsumedLimit {
  readonly algorithm: 'token_bucket'
  readonly burst?: number
}

/** Never more than `amount` in any span of `windowMs`. */
export interface SlidingWindowLimit extends ConsumedLimit {
  readonly algorithm: 'sliding_window'
}

/** `amount` in each window of the calendar; windows start at the epoch, or where `calendar` says. */
export interface FixedWindowLimit extends ConsumedLimit {
  readonly algorithm: 'fixed_window'
  readonly calendar?: CalendarPeriod
}

/** At most `amount` leases at once. */
export interface ConcurrencyLimit {
  readonly algorithm: 'concurrency'
  readonly dimension: 'concurrency'
  readonly amount: number
  readonly source: LimitSource
}

/** Whether what one limit has counted is what the other would have: only their amounts may differ. */
export function isCountedAlike(one: Limit, other: Limit): boolean {
  if (one.algorithm === 'concurrency') return other.algorithm === 'concurrency'
  if (one.algorithm !== other.algorithm || one.dimension !== other.dimension) return false
  if (one.windowMs !== other.windowMs) return false
  if (one.algorithm !== 'fixed_window' || other.algorithm !== 'fixed_window') return true
  const { calendar } = other
  return one.calendar?.unit === calendar?.unit && one.calendar?.timeZone === calendar?.timeZone
}

export type Limit = TokenBucketLimit | SlidingWindowLimit | FixedWindowLimit | ConcurrencyLimit
