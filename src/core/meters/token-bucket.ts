import type { EpochMs } from '../clock.ts'
import type { Limit, TokenBucketLimit } from '../limit.ts'
import { LeastMissing } from './least-missing.ts'
import type { Meter } from './meter.ts'

/**
 * A wait shorter than this is none. It absorbs what is lost when a refill is computed from instants
 * near 1.8e12, so that a ticket is admitted at the very instant that `readyAt` named.
 */
const NO_WAIT_MS = 0.001

/**
 * A level that refills continuously. It may fall below zero when an actual cost exceeds its estimate;
 * later refill pays that debt. Any window admits at most `amount + burst`.
 *
 * The level is what it would be had each taker taken from the start what it is now known to need. So
 * what is given back raises the level only as far as the bucket was never full since it was taken:
 * refill that ran over a full bucket is lost, whoever keeps it full.
 */
export class TokenBucket implements Meter {
  /** Kept back from admission: a guard band, or a floor. Never stops a full bucket from admitting. */
  reserve = 0
  readonly #missing = new LeastMissing()
  #limit: TokenBucketLimit
  #capacity: number
  #ratePerMs: number
  #level: number
  #at: EpochMs

  constructor(limit: TokenBucketLimit, now: EpochMs) {
    this.#limit = limit
    this.#capacity = limit.burst ?? limit.amount
    this.#ratePerMs = limit.amount / limit.windowMs
    this.#level = this.#capacity
    this.#at = now
  }

  get limit(): TokenBucketLimit {
    return this.#limit
  }

  get capacity(): number {
    return this.#capacity
  }

  get ratePerMs(): number {
    return this.#ratePerMs
  }

  /** Changes the speed of refill from now on. */
  setRate(ratePerMs: number, now: EpochMs): void {
    this.#refill(now)
    this.#ratePerMs = ratePerMs
  }

  setLevel(level: number, now: EpochMs): void {
    this.#refill(now)
    this.#missing.note(this.#capacity - this.#level, this.#at)
    this.#level = Math.min(level, this.#capacity)
  }

  readyAt(amount: number, now: EpochMs): EpochMs {
    this.#refill(now)
    const missing = Math.min(amount + this.reserve, this.#capacity) - this.#level
    if (missing <= 0) return now
    const waitMs = missing / this.#ratePerMs
    return waitMs < NO_WAIT_MS ? now : now + waitMs
  }

  take(amount: number, now: EpochMs): void {
    this.#refill(now)
    this.#missing.note(this.#capacity - this.#level, this.#at)
    this.#level -= amount
  }

  correct(delta: number, takenAt: EpochMs, now: EpochMs): void {
    if (delta < 0) this.#giveBack(-delta, takenAt, now)
    else this.take(delta, now)
  }

  remaining(now: EpochMs): number {
    this.#refill(now)
    return this.#level
  }

  adapt(limit: Limit, now: EpochMs): void {
    if (limit.algorithm !== 'token_bucket') return
    this.#refill(now)
    const capacity = limit.burst ?? limit.amount
    this.#level += capacity - this.#capacity
    this.#limit = limit
    this.#capacity = capacity
    this.#ratePerMs = limit.amount / limit.windowMs
  }

  #giveBack(amount: number, takenAt: EpochMs, now: EpochMs): void {
    this.#refill(now)
    const missing = this.#capacity - this.#level
    const given = Math.min(amount, missing, this.#missing.since(takenAt))
    this.#missing.raise(given, takenAt)
    this.#level += given
  }

  #refill(now: EpochMs): void {
    if (now <= this.#at) return
    this.#level = Math.min(this.#capacity, this.#level + (now - this.#at) * this.#ratePerMs)
    this.#at = now
  }
}
