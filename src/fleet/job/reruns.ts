// Prompts that are sent again in the same run, after all others: for those that failed it was mostly the moment.
// Owns: which these are, and when. Must not know: how anything is sent.
import type { Clock, EpochMs } from '../../core/clock.ts'
import { NOT_SUBMITTED } from '../batch/batch-result.ts'
import type { Failed } from '../payload.ts'
import { isPassing } from './failure-kinds.ts'

/** Before each further time that prompts are sent which nothing got through for. */
const PAUSES_MS: readonly number[] = [60_000, 600_000]

/** All others are done, and so many prompts are to be sent again at an instant. */
export interface Pause {
  readonly prompts: number
  readonly until: EpochMs
}

export class Reruns {
  readonly #clock: Clock
  #pause: Pause | null = null
  /** Came back from a batch without an answer or a bill. */
  #unbatched = 0
  /** Failed because nothing got through. */
  #passing = 0
  #pauses = 0
  /** Whether what came back from a batch was really sent. */
  #wasBatchInVain = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get pause(): Pause | null {
    return this.#pause
  }

  /** Whether prompts may go as a batch once more. */
  get mayWait(): boolean {
    return !this.#wasBatchInVain
  }

  /** Whether the prompt is sent again in this run, so that this failure is not its outcome. */
  claims({ error, via, costNanoUsd }: Failed): boolean {
    if (via === 'batch' && error.isRetryable && costNanoUsd === 0) {
      this.#unbatched++
      this.#wasBatchInVain ||= error.type !== NOT_SUBMITTED.type
      return true
    }
    // The provider may bill what a batch has lost: that is not for this run to pay twice.
    if (via === 'batch') return false
    if (!isPassing(error) || this.#pauses === PAUSES_MS.length) return false
    this.#passing++
    return true
  }

  /** Once all others are done: whether any are to be sent again, as soon as it is time for that. */
  async due(stop: AbortSignal): Promise<boolean> {
    const [unbatched, passing] = [this.#unbatched, this.#passing]
    this.#unbatched = this.#passing = 0
    const pauseMs = PAUSES_MS[this.#pauses]
    // What a batch has brought back can't wait for what nothing gets through for.
    if (unbatched === 0 && passing > 0 && pauseMs !== undefined && !stop.aborted) {
      this.#pauses++
      const until = this.#clock.now() + pauseMs
      this.#pause = { prompts: passing, until }
      await sleep(this.#clock, until, stop)
      this.#pause = null
    }
    return unbatched + passing > 0 && !stop.aborted
  }
}

/** Resolves at that instant, or with the signal. */
async function sleep(clock: Clock, until: EpochMs, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = clock.schedule(until, resolve)
  const onAbort = (): void => resolve()
  signal.addEventListener('abort', onAbort)
  await promise
  signal.removeEventListener('abort', onAbort)
  timer.cancel()
}
