// The live state of one limit. Owns: the contract that every algorithm fulfils. Must not know: queues, tickets, leases.
import type { EpochMs } from '../clock.ts'
import type { Limit } from '../limit.ts'

/**
 * All meters share the oversize rule: an amount above what the limit can ever hold is admitted when
 * the limit is wholly free, so that a large request waits, then runs, and never blocks for ever.
 */
export interface Meter {
  readonly limit: Limit
  /** How much comes back, in the long run, a millisecond; 0 where only leases that end give back. */
  readonly ratePerMs: number
  /**
   * The earliest instant at which `amount` may be taken: `now` when it fits, Infinity when only a
   * lease that ends can make room.
   */
  readyAt(amount: number, now: EpochMs): EpochMs
  take(amount: number, now: EpochMs): void
  /** Adds `delta` (negative: gives back) to what was taken at `takenAt`. */
  correct(delta: number, takenAt: EpochMs, now: EpochMs): void
  /** What may still be taken now; below zero while a debt is being paid. */
  remaining(now: EpochMs): number
  /** Goes on under another limit of the same algorithm, dimension and window: what is used stays so. */
  adapt(limit: Limit, now: EpochMs): void
}
