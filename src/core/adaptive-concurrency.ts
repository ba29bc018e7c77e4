// How many requests an overloaded provider bears. Owns: the number that follows its overload
// answers. Must not know: rate limits, which are another kind of no.
import type { EpochMs } from './clock.ts'

/** What one answer weighs among those before it: about the last twenty count. */
const NEWS = 0.05
/** Where so many of them are overload answers, there is too much under way. Fewer have other reasons. */
const STRAINED = 0.125
/** Of a place, by one overload. */
const MOST_TAKEN = 0.5
/** What was borne before is come back to quickly, up to this part of it. */
const QUICKLY_UP_TO = 0.9
/** Without another overload for so long, the provider is trusted as before. */
const FORGET_AFTER_MS = 300_000
/** First answers this much slower than usual say that more load is unwelcome. */
const SLOW_BY = 2
const SHORT_TERM = 0.2
const LONG_TERM = 0.02

/**
 * Additive increase, and a decrease that follows the share of overload answers: providers give some whatever
 * is sent to them, and a bound that bends to each of those costs more than they do. Unlimited up to the first
 * strain.
 */
export class AdaptiveConcurrency {
  #limit = Number.POSITIVE_INFINITY
  #overloadedAt: EpochMs = Number.NEGATIVE_INFINITY
  /** Of overload answers among the last ones. */
  #share = 0
  /** How many were under way when the last strain began. */
  #borne = 0
  #usualMs: number | null = null
  #recentMs = 0

  get limit(): number {
    return this.#limit
  }

  /** Whether an overload is recent enough to matter. */
  remembers(now: EpochMs): boolean {
    return now - this.#overloadedAt <= FORGET_AFTER_MS
  }

  admits(inFlight: number): boolean {
    return inFlight === 0 || inFlight + 1 <= this.#limit
  }

  overloaded(inFlight: number, now: EpochMs): void {
    this.#overloadedAt = now
    const wasStrained = this.#isStrained
    this.#share += (1 - this.#share) * NEWS
    if (this.#isStrained && !wasStrained)
      this.#limit = this.#borne = Math.min(this.#limit, inFlight)
    // So that a round of nothing else halves it. Rare ones take less.
    const taken = MOST_TAKEN * Math.min(1, this.#share / STRAINED)
    this.#limit = Math.max(1, this.#limit - taken)
  }

  /** @param firstAnswerMs how long the answer took to begin, where that says something of load. */
  succeeded(firstAnswerMs: number | null, now: EpochMs): void {
    if (firstAnswerMs !== null) this.#learn(firstAnswerMs)
    this.#share -= this.#share * NEWS
    if (this.#limit === Number.POSITIVE_INFINITY) return
    if (!this.remembers(now)) this.#forget()
    else if (!this.#isSlow()) this.#grow()
  }

  get #isStrained(): boolean {
    return this.#share >= STRAINED
  }

  #forget(): void {
    this.#limit = Number.POSITIVE_INFINITY
    this.#share = 0
  }

  #grow(): void {
    const isUntried = this.#isStrained || this.#limit >= this.#borne * QUICKLY_UP_TO
    this.#limit += isUntried ? 1 / this.#limit : 1
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
