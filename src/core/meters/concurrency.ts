import type { EpochMs } from '../clock.ts'
import type { ConcurrencyLimit } from '../limit.ts'
import type { Meter } from './meter.ts'

/** Slots that leases hold. Only a lease that ends makes room, so no instant can be foretold. */
export class ConcurrencyMeter implements Meter {
  readonly limit: ConcurrencyLimit
  readonly ratePerMs = 0
  #held = 0

  constructor(limit: ConcurrencyLimit) {
    this.limit = limit
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
}
