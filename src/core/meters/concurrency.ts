import type { EpochMs } from '../clock.ts'
import type { ConcurrencyLimit, Limit } from '../limit.ts'
import type { Meter } from './meter.ts'

/** Slots that leases hold. Only a lease that ends makes room, so no instant can be foretold. */
export class ConcurrencyMeter implements Meter {
  readonly ratePerMs = 0
  #limit: ConcurrencyLimit
  #held = 0

  constructor(limit: ConcurrencyLimit) {
    this.#limit = limit
  }

  get limit(): ConcurrencyLimit {
    return this.#limit
  }

  readyAt(amount: number, now: EpochMs): EpochMs {
    const fits = this.#held === 0 || this.#held + amount <= this.limit.amount
    return fits ? now : Number.POSITIVE_INFINITY
  }

  take(amount: number): void {
    this.#held += amount
  }

  correct(delta: number): void {
    this.#held += delta
  }

  remaining(): number {
    return this.limit.amount - this.#held
  }

  adapt(limit: Limit): void {
    if (limit.algorithm === 'concurrency') this.#limit = limit
  }
}
