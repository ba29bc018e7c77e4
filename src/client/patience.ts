// How long, and how often, one tries to reach the coordinator. Owns: the pauses, and when to give up.
// Must not know: what is to be sent.
import { type Clock, type PauseOptions, pause } from './clock.ts'
import { Unreachable } from './errors.ts'
import type { Lost } from './wire.ts'

export interface Timings {
  /** Without a byte for so long a connection counts as broken. Signs of life come every 10 s. */
  readonly silenceMs: number
  /** An answer that needs no waiting in line comes sooner, or not at all. */
  readonly answerMs: number
  readonly firstPauseMs: number
  readonly longestPauseMs: number
}

export const TIMINGS: Timings = {
  silenceMs: 30_000,
  answerMs: 5_000,
  firstPauseMs: 100,
  longestPauseMs: 2_000,
}

export interface PatienceOptions {
  readonly url: string
  readonly clock: Clock
  /** From 0 up to 1. */
  readonly random: () => number
  readonly timings: Timings
  readonly unreachableAfterMs: number
}

/** The pause after so many failures in a row, drawn so that those who lost it together do not come back together. */
export function pauseMs(failures: number, { timings, random }: PatienceOptions): number {
  const full = Math.min(timings.longestPauseMs, timings.firstPauseMs * 2 ** (failures - 1))
  return full * (0.5 + random() / 2)
}

export class Patience {
  readonly #options: PatienceOptions
  /** Since when it has not been reached; null: it has. */
  #lostAt: number | null
  #failures = 0

  constructor(options: PatienceOptions) {
    this.#options = options
    this.#lostAt = options.clock.now()
  }

  /** In a row. */
  get failures(): number {
    return this.#failures
  }

  /** What is left of it, in milliseconds. */
  get leftMs(): number {
    const { clock, unreachableAfterMs } = this.#options
    const now = clock.now()
    return (this.#lostAt ?? now) + unreachableAfterMs - now
  }

  reached(): void {
    this.#lostAt = null
    this.#failures = 0
  }

  /** Waits until it is time to try again, or a signal is aborted. @throws Unreachable when it is time to give up */
  async outlast(lost: Lost, how: PauseOptions = {}): Promise<void> {
    const { clock, unreachableAfterMs } = this.#options
    const now = clock.now()
    this.#lostAt ??= now
    this.#failures++
    const waitMs = Math.max(pauseMs(this.#failures, this.#options), lost.problem?.retryAfterMs ?? 0)
    if (now + waitMs >= this.#lostAt + unreachableAfterMs) throw outOfReach(this.#options, lost)
    await pause(clock, waitMs, how)
  }
}

export const outOfReach = ({ url }: PatienceOptions, lost: Lost): Unreachable =>
  new Unreachable(`the gate at ${url} is out of reach: ${lost.message}`, lost.problem, lost)
