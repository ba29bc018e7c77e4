// How many requests an overloaded provider bears. Owns: the number that follows its overload
// answers. Must not know: rate limits, which are another kind of no.
import type { EpochMs } from './clock.ts'

/** One burst of refusals is one message: cut once for all that were in flight together. */
const CUT_AT_MOST_EVERY_MS = 1000
const CUT_TO = 0.7
/** Without another overload for so long, the provider is trusted as before. */
const FORGET_AFTER_MS = 300_000
/** First answers this much slower than usual say that more load is unwelcome. */
const SLOW_BY = 2
const SHORT_TERM = 0.2
const LONG_TERM = 0.02

/** Additive increase, multiplicative decrease; unlimited until the first overload. */
export class AdaptiveConcurrency {
  #limit = Number.POSITIVE_INFINITY
  #cutAt: EpochMs = Number.NEGATIVE_INFINITY
  #usualMs: number | null = null
  #recentMs = 0

  get limit(): number {
    return this.#limit
  }

  /** Whether an overload is recent enough to matter. */
  remembers(now: EpochMs): boolean {
    return now - this.#cutAt <= FORGET_AFTER_MS
  }

  admits(inFlight: number): boolean {
    return inFlight === 0 || inFlight + 1 <= this.#limit
  }

  overloaded(inFlight: number, now: EpochMs): void {
    if (now - this.#cutAt < CUT_AT_MOST_EVERY_MS) return
    this.#cutAt = now
    this.#limit = Math.max(1, Math.min(this.#limit, inFlight) * CUT_TO)
  }

  /** @param firstAnswerMs how long the answer took to begin, where that says something of load. */
  succeeded(firstAnswerMs: number | null, now: EpochMs): void {
    if (firstAnswerMs !== null) this.#learn(firstAnswerMs)
    if (this.#limit === Number.POSITIVE_INFINITY) return
    if (!this.remembers(now)) this.#limit = Number.POSITIVE_INFINITY
    else if (!this.#isSlow()) this.#limit += 1 / this.#limit
  }

  #learn(firstAnswerMs: number): void {
    if (this.#usualMs === null) this.#usualMs = this.#recentMs = firstAnswerMs
    this.#recentMs += (firstAnswerMs - this.#recentMs) * SHORT_TERM
    this.#usualMs += (firstAnswerMs - this.#usualMs) * LONG_TERM
  }

  #isSlow(): boolean {
    return this.#usualMs !== null && this.#recentMs > this.#usualMs * SLOW_BY
  }
}
