// One answer being generated at its pace. Owns: its timer. Must not know: what becomes of the tokens.
import type { Clock, EpochMs, Timer } from '../core/clock.ts'

export interface Pace {
  readonly ttftMs: number
  readonly tokensPerSecond: number
}

export interface GenerationEvents {
  /** The prompt has been read; the first token follows at once. */
  begun(): void
  /** So many more tokens have come. Returns false to hear of no more until `resume`. */
  generated(tokens: number): boolean
  done(): void
}

/** A stream's deltas come in steps of a few tokens, and not more often than a socket needs. */
const TOKENS_PER_STEP = 4
const SHORTEST_STEP_MS = 5

export class Generation {
  readonly #clock: Clock
  readonly #pace: Pace
  readonly #totalTokens: number
  readonly #events: GenerationEvents
  readonly #stepMs: number
  #timer: Timer | null
  #begunAt: EpochMs = 0
  #sentTokens = 0
  #isStopped = false

  constructor(clock: Clock, pace: Pace, totalTokens: number, events: GenerationEvents) {
    this.#clock = clock
    this.#pace = pace
    this.#totalTokens = totalTokens
    this.#events = events
    this.#stepMs = Math.max(SHORTEST_STEP_MS, (TOKENS_PER_STEP * 1000) / pace.tokensPerSecond)
    this.#timer = clock.schedule(clock.now() + pace.ttftMs, () => this.#begin())
  }

  /** Goes on after `generated` returned false. What fell due meanwhile comes in one step. */
  resume(): void {
    if (!this.#isStopped) this.#timer ??= this.#scheduleStep(this.#clock.now())
  }

  /** Ends it: nothing more is generated, nothing more is heard. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#timer = null
  }

  /** The first token comes as the answer begins, so the last is one token's time early. */
  get #finishedAt(): EpochMs {
    return this.#begunAt + ((this.#totalTokens - 1) * 1000) / this.#pace.tokensPerSecond
  }

  #begin(): void {
    this.#begunAt = this.#clock.now()
    this.#events.begun()
    if (!this.#isStopped) this.#step()
  }

  #scheduleStep(at: EpochMs): Timer {
    return this.#clock.schedule(at, () => this.#step())
  }

  #step(): void {
    this.#timer = null
    const tokens = this.#dueTokens() - this.#sentTokens
    this.#sentTokens += tokens
    const goesOn = tokens === 0 || this.#events.generated(tokens)
    if (this.#isStopped) return
    if (this.#sentTokens === this.#totalTokens) {
      this.#isStopped = true
      this.#events.done()
    } else if (goesOn) {
      const nextAt = this.#clock.now() + this.#stepMs
      this.#timer = this.#scheduleStep(Math.min(nextAt, this.#finishedAt))
    }
  }

  /** Never judged by a fraction alone: at the end instant all are due, however it was rounded. */
  #dueTokens(): number {
    if (this.#clock.now() >= this.#finishedAt) return this.#totalTokens
    const elapsedMs = this.#clock.now() - this.#begunAt
    return 1 + Math.floor((elapsedMs * this.#pace.tokensPerSecond) / 1000)
  }
}
