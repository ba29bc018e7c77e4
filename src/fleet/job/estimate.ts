// What a job will use and cost, before anything is sent. Owns: the sums. Must not know: the job's files, or
// how anything is shown.
import type { Clock } from '../../core/clock.ts'
import type { Dimension } from '../../core/cost.ts'
import type { Limit } from '../../core/limit.ts'
import type { Usage } from '../../core/prompt.ts'
import { CallCost } from '../../dispatch/call-cost.ts'
import type { CallRules } from '../../dispatch/call-rules.ts'
import { Estimator } from '../../estimate/estimator.ts'
import { costOf } from '../../ledger/prices.ts'
import { directMs, fullLimit, leastMs } from '../batch/direct-time.ts'
import { bodyOf, messageRequest } from '../message-request.ts'
import type { MessageParams } from '../payload.ts'
import { type PriceTag, priceTag } from '../price-tag.ts'

/** One prompt, before anything was learnt from answers. */
export interface PromptForecast {
  readonly expected: Usage
  /** The group of models that shares limits. */
  readonly limitGroup: string
  /** Null where the model's price is not known. */
  readonly cost: ForecastCost | null
  /** The same in a batch; null where it is not known to be less there. */
  readonly batchCost: ForecastCost | null
}

/** In nano-dollars. */
export interface ForecastCost {
  readonly expected: number
  readonly worst: number
}

/** Whoever sends it: what a prompt costs does not depend on that. */
const ANYBODY = { apiKey: '', base: null, lane: 'low', flow: '', weight: 1 } as const

/** Forecasts single prompts. */
export class PromptForecaster {
  readonly #clock: Clock
  readonly #rules: CallRules
  readonly #estimator = new Estimator()

  constructor(clock: Clock, rules: CallRules) {
    this.#clock = clock
    this.#rules = rules
  }

  forecast(params: MessageParams): PromptForecast {
    const now = this.#clock.now()
    const request = messageRequest(bodyOf(params), ANYBODY, now)
    const { provider, operation, headers, body } = request
    const described = provider.describe(operation, headers, Buffer.isBuffer(body) ? body : null)
    const { limitGroup } = described
    const call = { ...described, provider, isMetered: true, scope: '', flow: '' }
    const { expected } = new CallCost(call, this.#estimator, now).forecast(now)
    const price = this.#rules.prices.priceOf(provider.name, params.model, now)
    const tag = priceTag(request, this.#rules, now)
    const costAs = (isBatch: boolean, worst: number | null): ForecastCost | null =>
      price && worst !== null ? { expected: costOf(price, expected, { isBatch }), worst } : null
    const cost = costAs(false, tag.worstNanoUsd)
    const inBatch = costAs(true, tag.worstInBatchNanoUsd)
    const batchCost = cost && inBatch && inBatch.worst < cost.worst ? inBatch : null
    return { expected, limitGroup, cost, batchCost }
  }

  /** What is known of a prompt's price. */
  tag(params: MessageParams): PriceTag {
    const now = this.#clock.now()
    return priceTag(messageRequest(bodyOf(params), ANYBODY, now), this.#rules, now)
  }
}

/** All prompts of a job. */
export class JobForecast {
  prompts = 0
  inputTokens = 0
  outputTokens = 0
  /** Nano-dollars of the prompts whose price is known. */
  expectedNanoUsd = 0
  worstNanoUsd = 0
  /** Prompts that cost less in a batch, and what they save there. */
  batchable = 0
  expectedSavingNanoUsd = 0
  worstSavingNanoUsd = 0
  /** Prompts by model, of models whose price is not known. */
  readonly unpriced = new Map<string, number>()
  /** What each limit group will be asked for. */
  readonly #groups = new Map<string, Partial<Record<Dimension, number>>>()

  add(model: string, { expected, limitGroup, cost, batchCost }: PromptForecast): void {
    const input = expected.inputTokens + expected.cacheReadTokens + expected.cacheWriteTokens
    const output = expected.outputTokens
    this.prompts++
    this.inputTokens += input
    this.outputTokens += output
    this.expectedNanoUsd += cost?.expected ?? 0
    this.worstNanoUsd += cost?.worst ?? 0
    if (cost && batchCost) {
      this.batchable++
      this.expectedSavingNanoUsd += cost.expected - batchCost.expected
      this.worstSavingNanoUsd += cost.worst - batchCost.worst
    }
    if (!cost) this.unpriced.set(model, (this.unpriced.get(model) ?? 0) + 1)
    const { requests = 0, input_tokens = 0, output_tokens = 0 } = this.#groups.get(limitGroup) ?? {}
    this.#groups.set(limitGroup, {
      requests: requests + 1,
      input_tokens: input_tokens + input,
      output_tokens: output_tokens + output,
      tokens: input_tokens + input + output_tokens + output,
    })
  }

  /**
   * The least time that limits let all of it take, in milliseconds, from full limits on; null where no limit
   * of any of its models is known.
   */
  leastMs(limitsOf: (limitGroup: string) => readonly Limit[]): number | null {
    const times = [...this.#groups].flatMap(
      ([group, asked]) => leastMs(asked, limitsOf(group).map(fullLimit)) ?? [],
    )
    return times.length === 0 ? null : Math.max(...times)
  }

  /** How long it takes one by one, as far as can be told, in milliseconds. */
  directMs(limitsOf: (limitGroup: string) => readonly Limit[]): number {
    const times = [...this.#groups].map(([group, asked]) =>
      directMs(asked, limitsOf(group).map(fullLimit)),
    )
    return Math.max(0, ...times)
  }
}
