// Two clocks: this process's and a gate's. Owns: reading the one as the other. Must not know: what
// the instants are of.
import type { EpochMs } from '../../core/clock.ts'

/** How fast two clocks may drift apart, in parts of the time that passes. */
const DRIFT = 1e-4

/**
 * A gate's clock is ahead by what an answer says the time was, less the time at which it came: never
 * by less, since the answer was under way for a while. The largest of these is the nearest. So an
 * instant read as this process's is never too early, and a timer that is set by it never in vain.
 */
export class ServerTime {
  #lead: number
  #heardAt: EpochMs

  /** @param like another gate's on the same store: most likely its clock is the same. */
  constructor(like?: ServerTime) {
    this.#lead = like ? like.#lead : Number.NEGATIVE_INFINITY
    this.#heardAt = like ? like.#heardAt : 0
  }

  heard(gateTime: EpochMs, receivedAt: EpochMs): void {
    const drifted = this.#lead - (receivedAt - this.#heardAt) * DRIFT
    this.#lead = Math.max(drifted, gateTime - receivedAt)
    this.#heardAt = receivedAt
  }

  toGate(at: EpochMs): EpochMs {
    return this.#lead === Number.NEGATIVE_INFINITY ? at : at + this.#lead
  }

  toLocal(gateTime: EpochMs): EpochMs {
    return this.#lead === Number.NEGATIVE_INFINITY ? gateTime : gateTime - this.#lead
  }
}
