// What left when. Owns: a short memory of admissions, to tell which of them a provider's statement
// cannot have counted. Must not know: statements, limits.
import type { EpochMs } from './clock.ts'
import { type CostVector, type Dimension, NOTHING } from './cost.ts'

/** Enough for the statements of a minute at a thousand requests a minute, and bounded for any rate. */
const REMEMBERED = 2048

interface Departure {
  readonly at: EpochMs
  /** Sums of all departures up to and including this one. */
  readonly total: CostVector
}

export class Departures {
  #log: Departure[] = []
  #total: CostVector = NOTHING
  #forgotten: CostVector = NOTHING

  record(cost: CostVector, at: EpochMs): void {
    const last = this.#total
    this.#total = {
      requests: last.requests + cost.requests,
      input_tokens: last.input_tokens + cost.input_tokens,
      output_tokens: last.output_tokens + cost.output_tokens,
      tokens: last.tokens + cost.tokens,
      cost: last.cost + cost.cost,
    }
    this.#log.push({ at, total: this.#total })
    if (this.#log.length < 2 * REMEMBERED) return
    this.#forgotten = this.#log[REMEMBERED - 1]?.total ?? NOTHING
    this.#log = this.#log.slice(REMEMBERED)
  }

  /** The sum of what left after an instant, of the departures still remembered. */
  since(at: EpochMs, dimension: Exclude<Dimension, 'concurrency'>): number {
    const before = this.#log[this.#firstAfter(at) - 1]?.total ?? this.#forgotten
    return this.#total[dimension] - before[dimension]
  }

  #firstAfter(at: EpochMs): number {
    let low = 0
    let high = this.#log.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#log[middle]?.at ?? 0) > at) high = middle
      else low = middle + 1
    }
    return low
  }
}
