// When a payload is sent again. Owns: its pause, and the retries a minute that all payloads of a fleet share. Must
// not know: what is tried again.
import type { EpochMs } from '../core/clock.ts'

const MINUTE_MS = 60_000
const FIRST_PAUSE_MS = 2000
const LONGEST_PAUSE_MS = 30_000
/** The oldest are forgotten first, which are long over. */
const MOST_MINUTES = 10_000

/**
 * How long to wait before a payload is sent again: what the provider asks for, or twice as long each time, from
 * the upper half of that, so that those who failed together do not come back together.
 *
 * @param random from 0 up to 1
 */
export function pauseMs(retries: number, retryAfterMs: number | null, random: number): number {
  const longest = Math.min(FIRST_PAUSE_MS * 2 ** retries, LONGEST_PAUSE_MS)
  return Math.max(retryAfterMs ?? 0, longest * (0.5 + random / 2))
}

export class RetryBudget {
  readonly #perMinute: number
  /** How many each minute of the clock has given away. */
  readonly #taken = new Map<number, number>()

  constructor(perMinute: number) {
    this.#perMinute = perMinute
  }

  /**
   * Takes one of the first minute that has any left from an instant on, and returns the earliest instant at which
   * it may be used. Who wishes to wait for long takes nothing from those who come before.
   */
  take(wishedAt: EpochMs): EpochMs {
    let minute = Math.floor(wishedAt / MINUTE_MS)
    while (this.#takenOf(minute) >= this.#perMinute) minute++
    this.#taken.set(minute, this.#takenOf(minute) + 1)
    if (this.#taken.size > MOST_MINUTES) this.#taken.delete(Math.min(...this.#taken.keys()))
    return Math.max(wishedAt, minute * MINUTE_MS)
  }

  #takenOf(minute: number): number {
    return this.#taken.get(minute) ?? 0
  }
}
