// When a batch is to be asked for again, and when no more. Owns: the pauses, after a failure and between looks, and
// how often something may fail. Must not know: what is asked.
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { Later } from './batch-api.ts'

/** A tenth of the batch's age, within bounds: a look that comes late costs a tenth of the time at most. */
const LOOKS_PER_AGE = 10
const SOONEST_LOOK_MS = 10_000
const LATEST_LOOK_MS = 300_000

/** After a failure, doubled with each in a row. */
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 300_000

/** In a row, of a batch that does not exist yet: about an hour. A full queue does not count. */
const MOST_FAILURES = 15

/** For so long a batch that does not exist yet waits for room in the queue. */
const LONGEST_WAIT_MS = 86_400_000

/** In a row, that there is no such batch, or no such result: what the provider forgets it may remember. */
const MOST_DENIALS = 5

export interface PaceOptions {
  readonly clock: Clock
  /** From 0 up to 1: jobs that began together do not ask together. */
  readonly random: () => number
}

export class Pace {
  readonly #options: PaceOptions
  readonly #begunAt: EpochMs
  /** When the next step is due. */
  nextAt: EpochMs
  /** In a row, whatever the reason. */
  #delays = 0
  /** In a row, of those that were no lack of room. */
  #failures = 0
  #denials = 0

  constructor(options: PaceOptions) {
    this.#options = options
    this.#begunAt = options.clock.now()
    this.nextAt = this.#begunAt
  }

  /** Whether a batch that does not exist yet is waited for no more. */
  get isGivenUp(): boolean {
    const waitedMs = this.#options.clock.now() - this.#begunAt
    return this.#failures > MOST_FAILURES || waitedMs > LONGEST_WAIT_MS
  }

  /** Once more something was said not to be there. Returns whether it was often enough to be believed. */
  isDenied(): boolean {
    return ++this.#denials >= MOST_DENIALS
  }

  /** There is another one to ask for. The next step is due at once. */
  goOn(): void {
    this.#denials = 0
    this.nextAt = this.#options.clock.now()
  }

  waitUntil(at: EpochMs): void {
    this.nextAt = at
  }

  /** Something has come; more may be asked for as soon. */
  succeed(): void {
    this.#delays = 0
    this.#failures = 0
  }

  /** It is there, and has not ended. @param ageMs of the batch */
  lookLater(ageMs: number): void {
    this.succeed()
    this.#denials = 0
    this.#pause(Math.min(Math.max(ageMs / LOOKS_PER_AGE, SOONEST_LOOK_MS), LATEST_LOOK_MS))
  }

  delay({ isRateLimited, retryAfterMs }: Later): void {
    this.#delays++
    if (!isRateLimited) this.#failures++
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (this.#delays - 1), LONGEST_PAUSE_MS)
    this.#pause(Math.max(pauseMs, retryAfterMs ?? 0))
  }

  #pause(ms: number): void {
    const { clock, random } = this.#options
    this.nextAt = clock.now() + ms * (1 + random() / 5)
  }
}
