// What the answers of a job are like: how long they take, and what they use. Owns: the means. Must not know:
// limits, or what follows from it.
import type { Dimension } from '../core/cost.ts'

/** What answers of one resource are like. */
export interface AnswerMeans {
  /** From when one is sent up to its end. */
  readonly latencyMs: number
  readonly inputTokens: number
  readonly outputTokens: number
}

/** Means of what was measured; later answers count for more. */
export class AnswerMeter {
  #count = 0
  #means: AnswerMeans = { latencyMs: 0, inputTokens: 0, outputTokens: 0 }

  /** Null before the first answer. */
  get means(): AnswerMeans | null {
    return this.#count === 0 ? null : this.#means
  }

  record(answer: AnswerMeans): void {
    this.#count++
    const weight = Math.max(1 / this.#count, 0.05)
    const moved = (mean: number, value: number): number => mean + (value - mean) * weight
    const { latencyMs, inputTokens, outputTokens } = this.#means
    this.#means = {
      latencyMs: moved(latencyMs, answer.latencyMs),
      inputTokens: moved(inputTokens, answer.inputTokens),
      outputTokens: moved(outputTokens, answer.outputTokens),
    }
  }
}

/** What one answer takes of a limit on a dimension; 0 where that is not known. */
export function amountOf(means: AnswerMeans, dimension: Dimension): number {
  switch (dimension) {
    case 'requests':
      return 1
    case 'input_tokens':
      return means.inputTokens
    case 'output_tokens':
      return means.outputTokens
    case 'tokens':
      return means.inputTokens + means.outputTokens
    default:
      return 0
  }
}
