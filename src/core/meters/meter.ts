// The live state of one limit. Owns: the contract that every algorithm fulfils, and the choice
// among them. Must not know: queues, tickets, leases.
import type { EpochMs } from '../clock.ts'
import type { Limit } from '../limit.ts'
import { ConcurrencyMeter } from './concurrency.ts'
import { FixedWindow } from './fixed-window.ts'
import { SlidingWindow } from './sliding-window.ts'
import { TokenBucket } from './token-bucket.ts'

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
}

export function createMeter(limit: Limit, now: EpochMs): Meter {
  switch (limit.algorithm) {
    case 'token_bucket':
      return new TokenBucket(limit, now)
    case 'sliding_window':
      return new SlidingWindow(limit)
    case 'fixed_window':
      return new FixedWindow(limit)
    case 'concurrency':
      return new ConcurrencyMeter(limit)
  }
}
