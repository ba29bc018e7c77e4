// The first outcomes of a run, where they are all one failure: a model that is not there, say. Owns: when that is
// no accident. Must not know: what is done about it.
import type { Answered, Failed } from '../payload.ts'

const NO_ACCIDENT = 20

export class FirstFailures {
  #error: Failed['error'] | null = null
  #count = 0
  #isOver = false

  /** Takes the next outcome. Returns the failure that so many were by now, and all, or null. */
  take(outcome: Answered | Failed): { prompts: number; error: Failed['error'] } | null {
    if (this.#isOver) return null
    if (outcome.kind === 'answered' || !this.#isLikeOthers(outcome.error)) {
      this.#isOver = true
      return null
    }
    this.#error = outcome.error
    this.#count++
    return this.#count < NO_ACCIDENT ? null : { prompts: this.#count, error: outcome.error }
  }

  #isLikeOthers({ status, type, message }: Failed['error']): boolean {
    const error = this.#error
    if (!error) return true
    return error.status === status && error.type === type && error.message === message
  }
}
