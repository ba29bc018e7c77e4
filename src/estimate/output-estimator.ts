// How long an answer will be. Owns: what each model and flow has produced so far, and the figure
// that a reservation takes from it. Must not know: how limits count output, clocks.
import { LRUCache } from 'lru-cache'
import { flowKey, modelKey } from './names.ts'
import { BUCKET_COUNT, meanBeyond, OutputHistogram, quantileBeyond } from './output-histogram.ts'

/**
 * Which figure of the distribution is expected: its mean, or a quantile between 0 and 1.
 *
 * A reservation is charged at the start and corrected at the end, so what counts is the sum over all
 * that run at once: only the mean makes that sum right whatever the shape of the distribution.
 * Outputs of coding agents have a long tail. Over 26,000 recorded ones the mean reserves 0.99 of
 * what is produced; the 0.6 quantile reserves 0.67, and so lets half as many again begin as the
 * limit has room for; the 0.8 quantile reserves 1.25, which holds back a fifth of the limit. (About 0.74
 * would do for that traffic, but for other shapes it would be another number.)
 */
export type OutputFigure = 'mean' | number

export interface OutputEstimatorSettings {
  readonly figure: OutputFigure
  readonly maxModels: number
  readonly maxFlows: number
}

/** Before anything is known. Common between chat answers (a few hundred) and agents' (mean 450). */
const PRIOR_OUTPUT_TOKENS = 500

/** How many outputs the distribution above a level counts as. */
const PARENT_WEIGHT = 8

/** About the last fifty outputs of a flow count, and the last five hundred of a model. */
const KEPT_PER_OUTPUT = { flow: 0.98, model: 0.998 } as const

/**
 * What is still to come, relative to what has come, of an output longer than any known one. Long
 * outputs go on for long: recorded ones of over 3,000 tokens went on for half as many again.
 */
const UNKNOWN_REMAINDER = 0.5

const PRIOR = new OutputHistogram()
PRIOR.record(PRIOR_OUTPUT_TOKENS, 1)

const NONE = new OutputHistogram()

export class OutputEstimator {
  readonly #figure: OutputFigure
  readonly #models: LRUCache<string, OutputHistogram>
  readonly #flows: LRUCache<string, OutputHistogram>
  readonly #mixed = new Float64Array(BUCKET_COUNT)

  constructor(settings: OutputEstimatorSettings) {
    this.#figure = settings.figure
    this.#models = new LRUCache({ max: settings.maxModels })
    this.#flows = new LRUCache({ max: settings.maxFlows })
  }

  /** Tokens still to come of an output of which `produced` have come: at 0, the whole output. */
  remaining(model: string | null, flow: string, produced: number): number {
    const mixed = this.#mix(model, flow)
    const expected =
      this.#figure === 'mean'
        ? meanBeyond(mixed, produced)
        : quantileBeyond(mixed, produced, this.#figure)
    return expected === null ? produced * UNKNOWN_REMAINDER : Math.max(0, expected - produced)
  }

  /** Takes in a whole output. One that was cut off says little of how long it would have been. */
  learn(model: string | null, flow: string, tokens: number): void {
    histogramOf(this.#models, modelKey(model)).record(tokens, KEPT_PER_OUTPUT.model)
    histogramOf(this.#flows, flowKey(model, flow)).record(tokens, KEPT_PER_OUTPUT.flow)
  }

  /** The flow's outputs, filled up with its model's, filled up with the prior. */
  #mix(model: string | null, flow: string): Float64Array {
    const ofModel = this.#models.get(modelKey(model)) ?? NONE
    const ofFlow = this.#flows.get(flowKey(model, flow)) ?? NONE
    const modelShare = PARENT_WEIGHT / (ofModel.total + PARENT_WEIGHT)
    const priorShare = PARENT_WEIGHT * modelShare
    const mixed = this.#mixed
    const flowWeights = ofFlow.weights
    const modelWeights = ofModel.weights
    const priorWeights = PRIOR.weights
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      mixed[bucket] =
        (flowWeights[bucket] ?? 0) +
        (modelWeights[bucket] ?? 0) * modelShare +
        (priorWeights[bucket] ?? 0) * priorShare
    }
    return mixed
  }
}

function histogramOf(histograms: LRUCache<string, OutputHistogram>, key: string): OutputHistogram {
  let histogram = histograms.get(key)
  if (!histogram) {
    histogram = new OutputHistogram()
    histograms.set(key, histogram)
  }
  return histogram
}
