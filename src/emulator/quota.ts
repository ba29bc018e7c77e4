// The live limits of one pool: a model class, or the calls beside the models. Owns: its buckets, who
// fits, the headers. Must not know: prompts, organizations, HTTP.
import type { Clock, EpochMs } from '../core/clock.ts'
import type { TokenBucketLimit } from '../core/limit.ts'
import { TokenBucket } from '../core/meters/token-bucket.ts'
import { ExternalTraffic } from './external-traffic.ts'
import type { ClassLimits } from './settings.ts'

export type LimitedDimension = 'requests' | 'input_tokens' | 'output_tokens'

/** Why a request does not fit: the limit that frees last, and when. */
export interface Shortage {
  readonly dimension: LimitedDimension
  readonly amount: number
  readonly freeAt: EpochMs
}

/** A limit's name, amount and deepest level so far: below zero, more was admitted than it allows. */
export interface LimitState {
  readonly dimension: LimitedDimension
  readonly amount: number
  readonly lowest: number
}

export interface QuotaOptions {
  readonly limits: Pick<ClassLimits, 'requests'> & Partial<ClassLimits>
  readonly windowMs: number
  readonly requestBurst: number | undefined
  readonly externalShare: number
}

interface Meter {
  readonly dimension: LimitedDimension
  readonly bucket: TokenBucket
  /** A minute enforced in slices is not what the headers tell. */
  readonly isShown: boolean
  lowest: number
}

export class Quota {
  readonly #clock: Clock
  readonly #meters: Meter[] = []
  readonly #external: ExternalTraffic | null
  #externalTokens = 0

  constructor(options: QuotaOptions, clock: Clock, random: () => number) {
    this.#clock = clock
    const { limits, windowMs, requestBurst } = options
    this.#add('requests', limits.requests, windowMs)
    if (requestBurst !== undefined) this.#add('requests', limits.requests, windowMs, requestBurst)
    const { requests, inputTokens, outputTokens } = limits
    if (inputTokens !== undefined) this.#add('input_tokens', inputTokens, windowMs)
    if (outputTokens !== undefined) this.#add('output_tokens', outputTokens, windowMs)
    this.#external =
      options.externalShare > 0 && inputTokens !== undefined && outputTokens !== undefined
        ? new ExternalTraffic(
            {
              share: options.externalShare,
              limits: { requests, inputTokens, outputTokens },
              windowMs,
            },
            random,
            clock.now(),
          )
        : null
  }

  #add(
    dimension: LimitedDimension,
    amount: number,
    windowMs: number,
    burst: number | null = null,
  ): void {
    const limit: TokenBucketLimit = {
      algorithm: 'token_bucket',
      dimension,
      amount,
      windowMs,
      source: 'configured',
      burst: burst ?? amount,
    }
    const bucket = new TokenBucket(limit, this.#clock.now())
    this.#meters.push({ dimension, bucket, isShown: burst === null, lowest: bucket.capacity })
  }

  /**
   * Why a request of so many counted input tokens does not fit now, or null when it does. One that is
   * larger than the whole bucket fits when the bucket is full, and leaves a debt; otherwise it would
   * wait for ever.
   */
  shortage(inputTokens: number): Shortage | null {
    this.#letOthersIn()
    return this.#shortageAt(inputTokens, this.#clock.now())
  }

  /** Takes one request and its input. Output is taken as it is generated. */
  take(inputTokens: number): void {
    this.#takeAt(inputTokens, this.#clock.now())
  }

  /** Output counts as it is generated, whatever there is: the bucket may go into debt. */
  generated(tokens: number): void {
    this.#letOthersIn()
    const now = this.#clock.now()
    for (const meter of this.#meters) {
      if (meter.dimension === 'output_tokens') lower(meter, tokens, now)
    }
  }

  /** Input that the outside consumer has taken so far. */
  get externalTokens(): number {
    return this.#externalTokens
  }

  /** The `anthropic-ratelimit-*` headers at this instant. */
  headers(): Record<string, string> {
    this.#letOthersIn()
    const now = this.#clock.now()
    const headers: Record<string, string> = {}
    const total = { limit: 0, remaining: 0, fullAt: now }
    for (const { dimension, bucket, isShown } of this.#meters) {
      if (!isShown) continue
      const level = {
        limit: bucket.capacity,
        remaining: Math.max(0, bucket.remaining(now)),
        fullAt: bucket.readyAt(bucket.capacity, now),
      }
      if (dimension === 'requests') {
        writeTrio(headers, 'requests', { ...level, remaining: Math.floor(level.remaining) })
        continue
      }
      writeTrio(headers, dimension.replace('_', '-'), { ...level, remaining: rounded(level) })
      total.limit += level.limit
      total.remaining += level.remaining
      total.fullAt = Math.max(total.fullAt, level.fullAt)
    }
    if (total.limit > 0) writeTrio(headers, 'tokens', { ...total, remaining: rounded(total) })
    return headers
  }

  state(): LimitState[] {
    return this.#meters
      .filter((meter) => meter.isShown)
      .map(({ dimension, bucket, lowest }) => ({ dimension, amount: bucket.capacity, lowest }))
  }

  #shortageAt(inputTokens: number, now: EpochMs): Shortage | null {
    let shortage: Shortage | null = null
    for (const { dimension, bucket } of this.#meters) {
      const needed = dimension === 'input_tokens' ? inputTokens : 1
      const freeAt = bucket.readyAt(needed, now)
      if (freeAt > now && freeAt > (shortage?.freeAt ?? now)) {
        shortage = { dimension, amount: bucket.limit.amount, freeAt }
      }
    }
    return shortage
  }

  #takeAt(inputTokens: number, now: EpochMs): void {
    for (const meter of this.#meters) {
      if (meter.dimension === 'requests') lower(meter, 1, now)
      if (meter.dimension === 'input_tokens') lower(meter, inputTokens, now)
    }
  }

  /** Plays the outside consumer's requests up to now; it is refused like anyone else. */
  #letOthersIn(): void {
    if (!this.#external) return
    const now = this.#clock.now()
    for (let other = this.#external.next(now); other; other = this.#external.next(now)) {
      if (this.#shortageAt(other.inputTokens, other.at)) continue
      this.#takeAt(other.inputTokens, other.at)
      this.#externalTokens += other.inputTokens
    }
  }
}

function lower(meter: Meter, amount: number, now: EpochMs): void {
  meter.bucket.take(amount, now)
  meter.lowest = Math.min(meter.lowest, meter.bucket.remaining(now))
}

interface Trio {
  readonly limit: number
  readonly remaining: number
  readonly fullAt: EpochMs
}

/** Token counts are told to the nearest thousand. */
function rounded({ limit, remaining }: Trio): number {
  return Math.min(limit, Math.round(remaining / 1000) * 1000)
}

/** The reset is the instant of full refill, in whole seconds, never too early. */
function writeTrio(headers: Record<string, string>, name: string, trio: Trio): void {
  const reset = new Date(Math.ceil(trio.fullAt / 1000) * 1000).toISOString()
  headers[`anthropic-ratelimit-${name}-limit`] = String(trio.limit)
  headers[`anthropic-ratelimit-${name}-remaining`] = String(trio.remaining)
  headers[`anthropic-ratelimit-${name}-reset`] = reset.replace('.000Z', 'Z')
}
