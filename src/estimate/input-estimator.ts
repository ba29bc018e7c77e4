// How many tokens a text will be. Owns: the ratio of tokens to bytes, learnt from answers.
// Must not know: prompt caches, images (their tokens are counted by rule), clocks.
import { LRUCache } from 'lru-cache'
import { flowKey, modelKey } from './names.ts'

export interface InputEstimatorSettings {
  readonly maxModels: number
  readonly maxFlows: number
}

/**
 * Before a model has answered: 2.6 bytes a token. Claude since 4.7 makes a token of 2.7 to 3 bytes
 * of English and of fewer of code, other models of 3.5 and more: the first guess is high, not low.
 */
const PRIOR_TOKENS_PER_BYTE = 1 / 2.6

/** How much text the ratio above a level counts as: a few kilobytes of its own text outvote it. */
const PARENT_WEIGHT_BYTES = 4096

/** What one answer weighs at most, so that one huge prompt is not the only teacher for long. */
const MAX_WEIGHT_BYTES = 65_536

/** About the last twenty answers of a flow count, and the last hundred of a model. */
const KEPT_PER_ANSWER = { flow: 0.95, model: 0.99 } as const

/** The furthest that one answer's ratio may lie from the learnt one and be believed to be so far. */
const BELIEVABLE_FACTOR = 4

/** A token has at least one byte, save for a short text's framing; no real text has this few a byte. */
const BOUNDS = { lowest: 0.01, highest: 2 } as const

/** A ratio of decayed sums. Both sums are in the unit of the text that they came from. */
class Ratio {
  #tokens = 0
  #bytes = 0

  /** The ratio, drawn to `parent` as long as there is little text behind it. */
  under(parent: number): number {
    return (this.#tokens + parent * PARENT_WEIGHT_BYTES) / (this.#bytes + PARENT_WEIGHT_BYTES)
  }

  learn(tokensPerByte: number, weightBytes: number, kept: number): void {
    this.#tokens = this.#tokens * kept + tokensPerByte * weightBytes
    this.#bytes = this.#bytes * kept + weightBytes
  }
}

/** Tokens of text, by model and, once a flow has sent some, by flow: prose and JSON differ. */
export class InputEstimator {
  readonly #models: LRUCache<string, Ratio>
  readonly #flows: LRUCache<string, Ratio>

  constructor(settings: InputEstimatorSettings) {
    this.#models = new LRUCache({ max: settings.maxModels })
    this.#flows = new LRUCache({ max: settings.maxFlows })
  }

  tokensPerByte(model: string | null, flow: string): number {
    const ofModel = this.#models.get(modelKey(model))?.under(PRIOR_TOKENS_PER_BYTE)
    const parent = ofModel ?? PRIOR_TOKENS_PER_BYTE
    return this.#flows.get(flowKey(model, flow))?.under(parent) ?? parent
  }

  /** Whether the ratio of a model rests on answers, and not on the first guess alone. */
  knows(model: string | null): boolean {
    return this.#models.has(modelKey(model))
  }

  /** Takes in that `textBytes` were `tokens`. A report that can't be true moves the ratio little. */
  learn(model: string | null, flow: string, textBytes: number, tokens: number): void {
    if (!(textBytes > 0) || !(tokens > 0)) return
    const known = this.tokensPerByte(model, flow)
    const near = clamp(tokens / textBytes, known / BELIEVABLE_FACTOR, known * BELIEVABLE_FACTOR)
    const seen = clamp(near, BOUNDS.lowest, BOUNDS.highest)
    const weight = Math.min(textBytes, MAX_WEIGHT_BYTES)
    ratioOf(this.#models, modelKey(model)).learn(seen, weight, KEPT_PER_ANSWER.model)
    ratioOf(this.#flows, flowKey(model, flow)).learn(seen, weight, KEPT_PER_ANSWER.flow)
  }
}

function ratioOf(ratios: LRUCache<string, Ratio>, key: string): Ratio {
  let ratio = ratios.get(key)
  if (!ratio) {
    ratio = new Ratio()
    ratios.set(key, ratio)
  }
  return ratio
}

function clamp(value: number, lowest: number, highest: number): number {
  return Math.min(Math.max(value, lowest), highest)
}
