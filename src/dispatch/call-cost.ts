// What one call costs: expected before it is sent, followed while its answer comes, known at its end.
// Owns: the call's dealings with the estimator and the usage tap. Must not know: the line, the store.
import type { EpochMs } from '../core/clock.ts'
import { type CostVector, costOf } from '../core/cost.ts'
import type { Usage } from '../core/prompt.ts'
import type { EstimatedCall, Estimator } from '../estimate/estimator.ts'
import type { Headers, Provider, UsageTap } from '../providers/provider.ts'
import type { UsageForecast } from './call-money.ts'
import type { Outcome } from './events.ts'

/** An estimate that has grown by less while the call waited is within its error. */
const DEARER_BY = 1.2
/** A prompt is worth keeping warm when it would cost so many times as much without the cache. */
const WORTH_KEEPING_WARM = 4
/** A running stream's reservation follows it in steps of so many tokens. */
const REVISE_EVERY_TOKENS = 200

/** No model of today writes faster. */
const MOST_TOKENS_PER_SECOND = 250
/** How far a prompt may have more tokens than its bytes let expect, before anything was learnt. */
const INPUT_AT_WORST = 1.5
const FIVE_MINUTES_MS = 300_000

export interface CostedCall extends EstimatedCall {
  readonly provider: Provider
  readonly limitGroup: string
  /** Whether the answer reports tokens that limits count. */
  readonly isMetered: boolean
  /** Of the usual price, as it asks for. */
  readonly pricePercent: number
}

/** A reservation that has changed, and the output tokens of it that have come. */
export interface Revision {
  readonly cost: CostVector
  readonly producedTokens: number | null
  /** Whether the answer has just reported its input. */
  readonly isFirst: boolean
}

export interface Settlement {
  readonly actual: CostVector
  /** Tokens by kind; null where nothing was used. */
  readonly used: Usage | null
  /** Whether it is known, rather than guessed from an answer that was cut or kept silent. */
  readonly isExact: boolean
}

export class CallCost {
  readonly #call: CostedCall
  readonly #estimator: Estimator
  #reserved: CostVector
  #tap: UsageTap | null = null
  #openedAt: EpochMs | null = null
  #hasBegun = false
  #revisedAtTokens = 0

  constructor(call: CostedCall, estimator: Estimator, now: EpochMs) {
    this.#call = call
    this.#estimator = estimator
    this.#reserved = call.isMetered ? estimator.estimate(call, now).cost : costOf({ requests: 1 })
  }

  /** What the call's ticket or lease stands for at present. */
  get reserved(): CostVector {
    return this.#reserved
  }

  get hasFailed(): boolean {
    return this.#tap?.hasFailed ?? false
  }

  /**
   * Looks again after a wait, in which a cached prefix may have expired. Returns whether the call
   * would now cost more than is reserved; then the new cost is to be reserved first.
   */
  isDearer(now: EpochMs): boolean {
    if (!this.#call.isMetered) return false
    const { cost } = this.#estimator.estimate(this.#call, now)
    if (cost.input_tokens <= this.#reserved.input_tokens * DEARER_BY) return false
    this.#reserved = cost
    return true
  }

  /** Tokens of the whole prompt and of the longest answer that is allowed. */
  largestTokens(now: EpochMs): number {
    const { totalInputTokens } = this.#estimator.estimate(this.#call, now)
    const { maxOutputTokens, unseenTokens } = this.#call.prompt
    return totalInputTokens + unseenTokens + (maxOutputTokens ?? 0)
  }

  /** What the call is likely to use by kind, and the most that it can. */
  forecast(now: EpochMs): UsageForecast {
    const { cost, totalInputTokens, cachedTokens } = this.#estimator.estimate(this.#call, now)
    const { maxOutputTokens, prefixes, unseenTokens } = this.#call.prompt
    const input = Math.ceil(totalInputTokens * INPUT_AT_WORST) + unseenTokens
    const isCached = prefixes.length > 0
    const isHour = prefixes.some(({ cacheForMs }) => cacheForMs > FIVE_MINUTES_MS)
    const { pricePercent } = this.#call
    return {
      expected: {
        inputTokens: totalInputTokens - cachedTokens,
        cacheReadTokens: cachedTokens,
        cacheWriteTokens: 0,
        cacheWriteHourTokens: 0,
        outputTokens: cost.output_tokens,
        pricePercent,
      },
      worst: {
        inputTokens: isCached ? 0 : input,
        cacheReadTokens: 0,
        cacheWriteTokens: isCached ? input : 0,
        cacheWriteHourTokens: isHour ? input : 0,
        outputTokens: maxOutputTokens ?? cost.output_tokens,
        pricePercent,
      },
    }
  }

  /** When the cache forgets so much of the prompt that the call should be sent before; null if never. */
  cachedUntil(now: EpochMs): EpochMs | null {
    if (!this.#call.isMetered) return null
    const { cost, cachedTokens, cachedUntil } = this.#estimator.estimate(this.#call, now)
    const isWorthIt = cachedTokens >= (WORTH_KEEPING_WARM - 1) * cost.input_tokens
    return isWorthIt ? cachedUntil : null
  }

  /** Whether a call under way writes to the cache what this one could read a moment later. */
  hasLeader(now: EpochMs): boolean {
    return this.#call.isMetered && this.#estimator.pendingLeader(this.#call, now) !== null
  }

  /** Looks again at what the call would cost. */
  reprice(now: EpochMs): CostVector {
    this.#reserved = this.#estimator.estimate(this.#call, now).cost
    return this.#reserved
  }

  /** The call leaves. Returns what to reserve from now on, or null where that is unchanged. */
  sent(now: EpochMs): Revision | null {
    if (!this.#call.isMetered) return null
    const { cost } = this.#estimator.sent(this.#call, now)
    if (isSame(cost, this.#reserved)) return null
    this.#reserved = cost
    return { cost, producedTokens: null, isFirst: false }
  }

  /** The answer begins. */
  open(headers: Headers, now: EpochMs): void {
    this.#openedAt = now
    if (this.#call.isMetered) this.#tap = this.#call.provider.openUsageTap(headers)
  }

  /** The next bytes of the answer. Returns a revision when they change what is expected. */
  read(chunk: Buffer, now: EpochMs): Revision | null {
    const tap = this.#tap
    if (!tap) return null
    tap.read(chunk)
    const { usage, producedTokens } = tap
    if (!usage) return null
    const isFirst = !this.#hasBegun
    if (isFirst) {
      this.#hasBegun = true
      this.#estimator.began(this.#call, usage, now)
    } else if (producedTokens - this.#revisedAtTokens < REVISE_EVERY_TOKENS) {
      return null
    }
    this.#revisedAtTokens = producedTokens
    const output = producedTokens + this.#estimator.remaining(this.#call, producedTokens)
    this.#reserved = this.#counted(usage, output)
    return { cost: this.#reserved, producedTokens, isFirst }
  }

  end(): void {
    this.#tap?.end()
  }

  /** The call ends without an answer, or will be sent again. */
  failed(): void {
    this.#tap = null
    this.#hasBegun = false
    if (this.#call.isMetered) this.#estimator.failed(this.#call)
  }

  /** What the call has cost, as far as it is known; the estimator learns what is certain. */
  settle(outcome: Outcome, status: number, now: EpochMs): Settlement {
    const usage = this.#tap?.usage ?? null
    const isExact = this.#isExact(outcome, status)
    if (this.#call.isMetered) {
      if (usage && outcome === 'answered' && isExact)
        this.#estimator.settled(this.#call, usage, now)
      else this.#estimator.failed(this.#call)
    }
    return { actual: this.#actual(usage, status), used: this.#used(usage, status, now), isExact }
  }

  #isExact(outcome: Outcome, status: number): boolean {
    if (!this.#call.isMetered) return true
    if (outcome === 'answered') return this.#tap?.isComplete ?? false
    return outcome === 'provider_error' && status >= 400
  }

  #actual(usage: Usage | null, status: number): CostVector {
    if (!this.#call.isMetered || status >= 400) return costOf({ requests: 1 })
    return usage ? this.#counted(usage, this.#outputOf(usage)) : this.#reserved
  }

  /** What has come of an answer that was cut is only guessed from its bytes. */
  #outputOf({ outputTokens }: Usage): number {
    const { isComplete = false, producedTokens = 0 } = this.#tap ?? {}
    return isComplete ? outputTokens : Math.max(outputTokens, producedTokens)
  }

  /** What is paid for: errors are not, and an answer that kept silent is taken for what was expected. */
  #used(usage: Usage | null, status: number, now: EpochMs): Usage | null {
    if (!this.#call.isMetered || status >= 400) return null
    if (!usage) return this.forecast(now).expected
    const seen = this.#outputOf(usage)
    const isWhole = this.#tap?.isComplete ?? false
    return { ...usage, outputTokens: isWhole ? seen : Math.max(seen, this.#hidden(now)) }
  }

  /** What an answer that was cut may have had besides what was seen: thinking, as fast as models think. */
  #hidden(now: EpochMs): number {
    if (!this.#call.prompt.hidesOutput || this.#openedAt === null) return 0
    const thought = Math.ceil(((now - this.#openedAt) / 1000) * MOST_TOKENS_PER_SECOND)
    const expected = this.#estimator.estimate(this.#call, now).cost.output_tokens
    const most = this.#call.prompt.maxOutputTokens ?? Number.POSITIVE_INFINITY
    return Math.min(most, Math.max(thought, expected))
  }

  #counted(usage: Usage, outputTokens: number): CostVector {
    const { provider, limitGroup } = this.#call
    return costOf({
      input_tokens: provider.countedInput(limitGroup, usage),
      output_tokens: outputTokens,
    })
  }
}

const isSame = (a: CostVector, b: CostVector): boolean =>
  a.input_tokens === b.input_tokens && a.output_tokens === b.output_tokens
