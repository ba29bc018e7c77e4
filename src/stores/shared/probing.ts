// Asking again and again whether the shared store is back, and no more than that: nothing else here
// polls. Owns: when to ask. Must not know: how it is asked, or what is done then.
import type { Clock, Timer } from '../../core/clock.ts'

const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 2000

export interface ProbingOptions {
  readonly clock: Clock
  readonly random: () => number
  /** Never rejects. */
  readonly attempt: () => Promise<void>
  readonly isNeeded: () => boolean
}

export class Probing {
  readonly #options: ProbingOptions
  #timer: Timer | null = null
  #isTrying = false
  #waitMs = FIRST_WAIT_MS

  constructor(options: ProbingOptions) {
    this.#options = options
  }

  start(): void {
    if (this.#timer || this.#isTrying || !this.#options.isNeeded()) return
    this.#waitMs = FIRST_WAIT_MS
    this.#arm()
  }

  /** Attempts at once: there is reason to hope. */
  async hurry(): Promise<void> {
    if (this.#isTrying || !this.#options.isNeeded()) return
    this.stop()
    this.#isTrying = true
    await this.#options.attempt()
    this.#isTrying = false
    if (this.#options.isNeeded()) this.#arm()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  /** Drawn from the upper half, so that processes which lost it together do not come in step. */
  #arm(): void {
    const { clock, random } = this.#options
    const waitMs = this.#waitMs * (0.5 + random() / 2)
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS)
    this.#timer = clock.schedule(clock.now() + waitMs, () => void this.hurry())
  }
}
