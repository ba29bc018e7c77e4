// When a payload is sent again. Owns: its pause, and the retries a minute that all payloads of a fleet share. Must not know: what is tried again.
import type { EpochMs } from '../core/clock.ts'

const MINUTE_MS = 60_000
const FIRST_PAUSE_MS = 2000
const LONGEST_PAUSE_MS = 30_000

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
  #minuteEndsAt: EpochMs = Number.NEGATIVE_INFINITY
  #left = 0

  constructor(perMinute: number) {
    this.#perMinute = perMinute
  }

  /**
   * Takes one of the first minute that has any left, and returns the earliest instant at which it may be
   * used. Minutes begin with the first retry that finds none running.
   */
  take(now: EpochMs): EpochMs {
    if (now >= this.#minuteEndsAt) this.#beginMinute(now)
    else if (this.#left === 0) this.#beginMinute(this.#minuteEndsAt)
    this.#left--
    return Math.max(now, this.#minuteEndsAt - MINUTE_MS)
  }

  #beginMinute(at: EpochMs): void {
    this.#minuteEndsAt = at + MINUTE_MS
    this.#left = this.#perMinute
  }
}
