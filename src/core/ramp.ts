// Starting slowly. Owns: how many admissions may follow a start or a pause before the answers show
// that more are welcome. Must not know: limits, tickets.
import type { EpochMs } from './clock.ts'

const PROBE_EVERY_MS = 1000

/** A ramp that has opened this far holds nobody back any more. */
const WIDE_OPEN = 256

export interface RampSettings {
  /** Admissions at once at the start. */
  readonly first: number
  /** The number allowed doubles after each such time without a refusal, up to `mostBySilence`. */
  readonly doublesEveryMs: number
  /** Beyond this, silence allows one more a second: a provider that says nothing may be down. */
  readonly mostBySilence: number
}

/** Before anything is known of a provider's limits. */
export const COLD_START: RampSettings = { first: 4, doublesEveryMs: 1000, mostBySilence: 64 }

/** After the provider has refused: the first admission is a probe. */
export const AFTER_REFUSAL: RampSettings = { first: 1, doublesEveryMs: 250, mostBySilence: 64 }

/** Counts admissions since a start; allows `first`, doubling with time, and two more for each success. */
export class Ramp {
  #settings: RampSettings | null = null
  #startedAt: EpochMs = 0
  #admitted = 0
  #succeeded = 0

  get isOpen(): boolean {
    return this.#settings === null
  }

  start(settings: RampSettings): void {
    this.#settings = settings
    this.#admitted = 0
    this.#succeeded = 0
  }

  open(): void {
    this.#settings = null
  }

  readyAt(now: EpochMs): EpochMs {
    if (this.#settings === null || this.#admitted === 0) return now
    const { first, doublesEveryMs, mostBySilence } = this.#settings
    const bySilence = this.#admitted + 1 - 2 * this.#succeeded
    if (bySilence <= first) return now
    const doublings = Math.log2(Math.min(bySilence, mostBySilence) / first)
    const probes = Math.max(0, bySilence - mostBySilence)
    const readyAt = this.#startedAt + doublings * doublesEveryMs + probes * PROBE_EVERY_MS
    return Math.max(now, readyAt)
  }

  admitted(now: EpochMs): void {
    if (this.#settings === null) return
    if (this.#admitted === 0) this.#startedAt = now
    this.#admitted++
    if (this.#admitted >= WIDE_OPEN) this.open()
  }

  /** An answer has begun. Of those, no more can be news of this ramp than it has admitted. */
  succeeded(): void {
    if (this.#succeeded < this.#admitted) this.#succeeded++
  }
}
