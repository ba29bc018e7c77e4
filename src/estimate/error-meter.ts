// How good an estimate is. Owns: the decayed error of one kind of estimate.
// Must not know: what is estimated, or how.

/** Errors in relation to the sum of what was estimated, so that large requests weigh more. */
export interface EstimateError {
  /** Mean absolute error over mean actual: 0.05 is five per cent off. */
  readonly relativeError: number
  /** Mean error over mean actual: positive where estimates are too high. */
  readonly bias: number
  /** How many estimates the figures rest on, with old ones fading out. */
  readonly weight: number
}

/** About the last hundred estimates count. */
const KEPT_PER_ESTIMATE = 0.99

export class ErrorMeter {
  #error = 0
  #absoluteError = 0
  #actual = 0
  #weight = 0

  record(estimated: number, actual: number): void {
    const error = estimated - actual
    this.#error = this.#error * KEPT_PER_ESTIMATE + error
    this.#absoluteError = this.#absoluteError * KEPT_PER_ESTIMATE + Math.abs(error)
    this.#actual = this.#actual * KEPT_PER_ESTIMATE + actual
    this.#weight = this.#weight * KEPT_PER_ESTIMATE + 1
  }

  get relativeError(): number {
    return this.#absoluteError / this.#mostlyActual
  }

  read(): EstimateError {
    return {
      relativeError: this.relativeError,
      bias: this.#error / this.#mostlyActual,
      weight: this.#weight,
    }
  }

  /** At least one token in all: a run of empty answers has an error, but nothing to divide it by. */
  get #mostlyActual(): number {
    return Math.max(1, this.#actual)
  }
}
