// Whether a job goes on. Owns: what has ended it, and that this is told once. Must not know: payloads, or what
// is under way.
import type { FleetResult } from './payload.ts'

/** Says why nothing more is sent, and comes last. */
export type Marker = Extract<FleetResult, { kind: 'budget_exceeded' | 'quota_exhausted' }>

export interface EndingOptions {
  /** Aborted when nothing more is to be sent; null: never. */
  readonly stop: AbortSignal | null
  /** Nothing more is sent; what is on its way is waited for. */
  readonly onStop: () => void
  /** Nothing is waited for any more. */
  readonly onOver: () => void
}

export class Ending {
  readonly #options: EndingOptions
  #marker: Marker | null = null
  #problem: { readonly why: unknown } | null = null
  #isGivenUp = false
  #isBrokenOff = false
  #isOver = false

  constructor(options: EndingOptions) {
    this.#options = options
  }

  /** Whether nothing more is to be begun. */
  get isStopping(): boolean {
    const isToldTo = this.#options.stop?.aborted === true
    return this.#isOver || this.#isGivenUp || this.#marker !== null || isToldTo
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Whether nobody hears of results any more. */
  get isBrokenOff(): boolean {
    return this.#isBrokenOff
  }

  get marker(): Marker | null {
    return this.#marker
  }

  /** What whoever reads results is told in the end. */
  get problem(): { readonly why: unknown } | null {
    return this.#problem
  }

  /** Nothing more is begun. */
  stop(marker: Marker): void {
    if (this.isStopping) return
    this.#marker = marker
    this.#options.onStop()
  }

  /** What is under way is finished; then whoever reads results is told why there are no more. */
  fail(why: unknown): void {
    this.#problem ??= { why }
  }

  /** Nothing more is begun; whoever reads results is told why, once what is on its way has ended. */
  giveUp(why: unknown): void {
    if (this.#isOver) return
    this.fail(why)
    this.#isGivenUp = true
    this.#options.onStop()
  }

  /** All ends at once; whoever reads results is told why. */
  breakOff(why: unknown): void {
    if (this.#isOver) return
    this.#isBrokenOff = true
    this.#problem = { why }
    this.end()
  }

  /** Nothing is under way any more. */
  finish(): void {
    this.#isOver = true
  }

  /** Whatever is under way ends at once. */
  end(): void {
    this.#isOver = true
    this.#options.onOver()
  }
}
