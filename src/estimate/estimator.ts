// What a request will cost, before it is sent. Owns: the three estimates (input, cached input,
// output), their learning from answers, and their errors. Must not know: limits, queues, providers,
// any text: it sees sizes and hashes, and its instants are handed in.
import { LRUCache } from 'lru-cache'
import type { EpochMs } from '../core/clock.ts'
import { type CostVector, costOf } from '../core/cost.ts'
import type { Usage } from '../core/prompt.ts'
import { ErrorMeter, type EstimateError } from './error-meter.ts'
import { InputEstimator } from './input-estimator.ts'
import { modelKey } from './names.ts'
import { OutputEstimator, type OutputFigure } from './output-estimator.ts'
import {
  NOTHING_KNOWN,
  type PrefixForecast,
  PrefixMemory,
  type ScopedPrompt,
} from './prefix-memory.ts'

/** A call as estimates see it. One call is one object: it is known by its identity. */
export interface EstimatedCall extends ScopedPrompt {
  readonly model: string | null
  readonly flow: string
}

export interface Estimate {
  /** One request; input that the cache will not serve; output. No money: prices are the ledger's. */
  readonly cost: CostVector
  /** The whole prompt, `cachedTokens` included. */
  readonly totalInputTokens: number
  readonly cachedTokens: number
  /** When the cache forgets the part that it would serve; null where it would serve none. */
  readonly cachedUntil: EpochMs | null
  /** The part of the cost's input that is kept against the estimate being too low. */
  readonly marginTokens: number
}

export interface EstimatorOptions {
  /** Take no notice of prompt caches: every input token counts. For comparison. @default false */
  readonly blind?: boolean
  /** @default 'mean' */
  readonly outputFigure?: OutputFigure
}

/** How far off the estimates of one model have been, as they stood when the calls were sent. */
export interface ModelErrors {
  readonly model: string
  readonly input: EstimateError
  readonly uncachedInput: EstimateError
  readonly output: EstimateError
}

interface ModelMeters {
  /** Of the part of a prompt that no answer has told of: what the margin follows. */
  readonly guessed: ErrorMeter
  readonly input: ErrorMeter
  readonly uncachedInput: ErrorMeter
  readonly output: ErrorMeter
}

interface Sent {
  readonly forecast: PrefixForecast
  readonly estimate: Estimate
  hasBegun: boolean
  hasSettled: boolean
}

/** Names and prompts come from callers: what is kept of them is bounded, the least used goes. */
const MAX_MODELS = 500
const MAX_FLOWS = 2000
const MAX_SCOPES = 2000
const MAX_PREFIXES = 20_000

/**
 * How much is reserved beyond the expected input, in mean errors. A request that turns out larger
 * than what the provider has left is refused, and holds up all the others; a reservation that is too
 * large is given back as soon as the answer begins. So the margin costs a moment, and no throughput.
 */
const MARGIN_IN_MEAN_ERRORS = 2.5
const LARGEST_MARGIN = 0.5

/** No request has as many: what reports or asks for more is not believed. */
const MOST_TOKENS = 1e8

export class Estimator {
  readonly #input = new InputEstimator({ maxModels: MAX_MODELS, maxFlows: MAX_FLOWS })
  readonly #output: OutputEstimator
  readonly #prefixes: PrefixMemory | null
  readonly #sent = new WeakMap<EstimatedCall, Sent>()
  readonly #meters = new LRUCache<string, ModelMeters>({ max: MAX_MODELS })

  constructor({ blind = false, outputFigure = 'mean' }: EstimatorOptions = {}) {
    this.#output = new OutputEstimator({
      figure: outputFigure,
      maxModels: MAX_MODELS,
      maxFlows: MAX_FLOWS,
    })
    this.#prefixes = blind
      ? null
      : new PrefixMemory({ maxScopes: MAX_SCOPES, maxPrefixes: MAX_PREFIXES })
  }

  /** What the call would cost if it were sent now. Changes nothing. */
  estimate(call: EstimatedCall, now: EpochMs): Estimate {
    return this.#estimateWith(call, this.#forecast(call, now))
  }

  /** The prefix key of a call in flight that is worth waiting for until it begins, or null. */
  pendingLeader(call: EstimatedCall, now: EpochMs): string | null {
    return this.#prefixes?.pendingLeader(call, now) ?? null
  }

  /** The call leaves. Returns the estimate that it will be measured against. */
  sent(call: EstimatedCall, now: EpochMs): Estimate {
    return this.#send(call, now).estimate
  }

  /** The answer has begun and reports its input: a stream's first event. */
  began(call: EstimatedCall, usage: Usage, now: EpochMs): void {
    if (!isBelievable(usage)) {
      this.failed(call)
      return
    }
    const sent = this.#sent.get(call) ?? this.#send(call, now)
    if (sent.hasBegun) return
    sent.hasBegun = true
    const { forecast, estimate } = sent
    const totalTokens = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens
    const meters = this.#metersOf(call.model)
    meters.input.record(estimate.totalInputTokens, totalTokens)
    const expected = estimate.cost.input_tokens - estimate.marginTokens
    meters.uncachedInput.record(expected, totalTokens - usage.cacheReadTokens)
    this.#learnInput(call, forecast, totalTokens)
    this.#prefixes?.began(call, forecast, usage, now)
  }

  /** Output tokens still to come of a running stream that has brought `produced`. */
  remaining(call: EstimatedCall, produced: number): number {
    const expected = this.#output.remaining(call.model, call.flow, produced)
    return Math.round(Math.min(expected, Math.max(0, maxOutputOf(call) - produced)))
  }

  /** The answer is whole. An answer that was cut off has `failed`: its output teaches nothing. */
  settled(call: EstimatedCall, usage: Usage, now: EpochMs): void {
    this.began(call, usage, now)
    const sent = this.#sent.get(call)
    if (!sent || sent.hasSettled) return
    sent.hasSettled = true
    // A request for no output only fills the cache, and says nothing of other answers.
    if (maxOutputOf(call) === 0) return
    this.#metersOf(call.model).output.record(sent.estimate.cost.output_tokens, usage.outputTokens)
    this.#output.learn(call.model, call.flow, usage.outputTokens)
  }

  /** The call has ended without a whole answer, or will be sent again. */
  failed(call: EstimatedCall): void {
    this.#sent.delete(call)
    this.#prefixes?.failed(call)
  }

  errors(): ModelErrors[] {
    return [...this.#meters].map(([model, meters]) => ({
      model,
      input: meters.input.read(),
      uncachedInput: meters.uncachedInput.read(),
      output: meters.output.read(),
    }))
  }

  #send(call: EstimatedCall, now: EpochMs): Sent {
    const forecast = this.#forecast(call, now)
    const estimate = this.#estimateWith(call, forecast)
    const sent = { forecast, estimate, hasBegun: false, hasSettled: false }
    this.#sent.set(call, sent)
    this.#prefixes?.sent(call, now)
    return sent
  }

  #forecast(call: EstimatedCall, now: EpochMs): PrefixForecast {
    return this.#prefixes?.forecast(call, now) ?? NOTHING_KNOWN
  }

  #estimateWith(call: EstimatedCall, forecast: PrefixForecast): Estimate {
    const guessed = guessedPart(call, forecast)
    const textTokens = guessed.textBytes * this.#input.tokensPerByte(call.model, call.flow)
    const knownTokens = forecast.known?.tokens ?? 0
    const totalInputTokens = boundedTokens(knownTokens + guessed.fixedTokens + textTokens)
    const cachedTokens = Math.min(forecast.cachedTokens, totalInputTokens)
    const marginTokens = Math.round(Math.min(textTokens, MOST_TOKENS) * this.#marginOf(call.model))
    const outputTokens = this.remaining(call, 0)
    const cost = costOf({
      input_tokens: totalInputTokens - cachedTokens + marginTokens,
      output_tokens: outputTokens,
    })
    const cachedUntil = forecast.hit?.readableUntil ?? null
    return { cost, totalInputTokens, cachedTokens, cachedUntil, marginTokens }
  }

  #marginOf(model: string | null): number {
    const meters = this.#meters.get(modelKey(model))
    if (!meters) return 0
    return Math.min(LARGEST_MARGIN, MARGIN_IN_MEAN_ERRORS * meters.guessed.relativeError)
  }

  /** Learns the ratio from just the part that was guessed by it. */
  #learnInput(call: EstimatedCall, forecast: PrefixForecast, totalTokens: number): void {
    const isKnown = forecast.known?.isExact ?? false
    const guessed = guessedPart(call, isKnown ? forecast : NOTHING_KNOWN)
    const guessedTokens = totalTokens - (isKnown ? (forecast.known?.tokens ?? 0) : 0)
    // Where images outweigh the text, an error in their rule would pass for the text's.
    if (guessed.fixedTokens > guessedTokens / 2) return
    const textTokens = guessedTokens - guessed.fixedTokens
    if (this.#input.knows(call.model)) {
      const expected = guessed.textBytes * this.#input.tokensPerByte(call.model, call.flow)
      this.#metersOf(call.model).guessed.record(expected, textTokens)
    }
    this.#input.learn(call.model, call.flow, guessed.textBytes, textTokens)
  }

  #metersOf(model: string | null): ModelMeters {
    const key = modelKey(model)
    let meters = this.#meters.get(key)
    if (!meters) {
      meters = {
        guessed: new ErrorMeter(),
        input: new ErrorMeter(),
        uncachedInput: new ErrorMeter(),
        output: new ErrorMeter(),
      }
      this.#meters.set(key, meters)
    }
    return meters
  }
}

/** What of a prompt lies beyond its longest known prefix. */
function guessedPart(
  { prompt }: EstimatedCall,
  { known }: PrefixForecast,
): { textBytes: number; fixedTokens: number } {
  return {
    textBytes: Math.max(0, prompt.textBytes - (known?.textBytes ?? 0)),
    fixedTokens: Math.max(0, prompt.fixedTokens - (known?.fixedTokens ?? 0)),
  }
}

function maxOutputOf({ prompt }: EstimatedCall): number {
  const max = prompt.maxOutputTokens
  return max !== null && max >= 0 ? max : MOST_TOKENS
}

/** NaN, which no comparison holds for, counts as nothing. */
function boundedTokens(tokens: number): number {
  return tokens > 0 ? Math.round(Math.min(tokens, MOST_TOKENS)) : 0
}

function isBelievable(usage: Usage): boolean {
  return [
    usage.inputTokens,
    usage.cacheReadTokens,
    usage.cacheWriteTokens,
    usage.outputTokens,
  ].every((tokens) => tokens >= 0 && tokens <= MOST_TOKENS)
}
