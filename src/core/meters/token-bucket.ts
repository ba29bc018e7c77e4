import type { EpochMs } from '../clock.ts'
import type { TokenBucketLimit } from '../limit.ts'
import type { Meter } from './meter.ts'

/**
 * Absorbs the last bits that are lost when a refill is computed from instants near 1.8e12, so that
 * a ticket is admitted at the very instant that `readyAt` named.
 */
const ROUNDING = 1e-6

/**
 * A level that refills continuously. It may fall below zero when an actual cost exceeds its estimate;
 * later refill pays that debt. Any window admits at most `amount + burst`.
 */
export class TokenBucket implements Meter {
  readonly limit: TokenBucketLimit
  readonly capacity: number
  /** Kept back from admission: a guard band, or a floor. Never stops a full bucket from admitting. */
  reserve = 0
  #ratePerMs: number
  #level: number
  #at: EpochMs

  constructor(limit: TokenBucketLimit, now: EpochMs) {
    this.limit = limit
    this.capacity = limit.burst ?? limit.amount
    this.#ratePerMs = limit.amount / limit.windowMs
    this.#level = this.capacity
    this.#at = now
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
    this.#level = Math.min(level, this.capacity)
    this.#at = Math.max(now, this.#at)
  }

  readyAt(amount: number, now: EpochMs): EpochMs {
    this.#refill(now)
    const missing = Math.min(amount + this.reserve, this.capacity) - this.#level
    return missing <= ROUNDING ? now : now + missing / this.#ratePerMs
  }

  take(amount: number, now: EpochMs): void {
    this.#refill(now)
    this.#level -= amount
  }

  correct(delta: number, _takenAt: EpochMs, now: EpochMs): void {
    this.#refill(now)
    this.#level = Math.min(this.#level - delta, this.capacity)
  }

  remaining(now: EpochMs): number {
    this.#refill(now)
    return this.#level
  }

  #refill(now: EpochMs): void {
    if (now <= this.#at) return
    this.#level = Math.min(this.capacity, this.#level + (now - this.#at) * this.#ratePerMs)
    this.#at = now
  }
}
