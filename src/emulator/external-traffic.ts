// Someone else who uses the same organization, unseen by any gateway. Must not know: buckets.
import type { EpochMs } from '../core/clock.ts'
import type { ClassLimits } from './settings.ts'

export interface ExternalRequest {
  readonly inputTokens: number
  readonly at: EpochMs
}

/** Poisson arrivals of requests with exponential sizes that use up a share of an input limit. */
export class ExternalTraffic {
  readonly #random: () => number
  readonly #windowMs: number
  readonly #meanGapMs: number
  readonly #meanTokens: number
  #nextAt: EpochMs

  constructor(
    load: { readonly share: number; readonly limits: ClassLimits; readonly windowMs: number },
    random: () => number,
    now: EpochMs,
  ) {
    this.#random = random
    this.#windowMs = load.windowMs
    // A mean request takes equal shares of the request limit and of the input limit.
    this.#meanTokens = load.limits.inputTokens / load.limits.requests
    this.#meanGapMs = load.windowMs / (load.limits.requests * load.share)
    this.#nextAt = now + this.#exponential(this.#meanGapMs)
  }

  /** The next request that came up to `now`, or null. Each is given once. */
  next(now: EpochMs): ExternalRequest | null {
    // After two windows of silence what came before them has been refilled: no need to replay it.
    this.#nextAt = Math.max(this.#nextAt, now - 2 * this.#windowMs)
    if (this.#nextAt > now) return null
    const at = this.#nextAt
    this.#nextAt += this.#exponential(this.#meanGapMs)
    return { inputTokens: Math.ceil(this.#exponential(this.#meanTokens)), at }
  }

  #exponential(mean: number): number {
    return -mean * Math.log(1 - this.#random())
  }
}
