// A prompt that is with workers, over all its sendings. Owns: what they have cost together. Must not know: where
// it is, or whether it is sent again.
import type { EpochMs } from '../../core/clock.ts'
import type { Answered, Failed, Payload } from '../payload.ts'
import type { Outcome } from './entry.ts'

export interface PromptStart {
  readonly id: string
  readonly index: number
  readonly takenAt: EpochMs
}

/** What is known of a prompt that this run has from its source. */
export interface Known {
  readonly payload: Payload
  /** The most that one sending can cost, in nano-dollars; null where that is not known. */
  readonly worstNanoUsd: number | null
  /** Why it is not sent, or not again; what an earlier run has put into the queue may still be answered. */
  readonly problem: Failed['error'] | null
  /** About its size in memory. */
  readonly bytes: number
}

export class PromptTask {
  readonly id: string
  readonly index: number
  readonly #takenAt: EpochMs
  /** Null where an earlier run has put it into the queue, and this run's source has not come to it yet. */
  known: Known | null = null
  /** Its entry in the queue; null while it waits to be sent again. */
  entryName: string | null = null
  /**
   * The most that this can cost, in nano-dollars, and is set aside; null where nobody knows. An earlier run has
   * counted what it has put there.
   */
  riskNanoUsd: number | null = 0
  /** Whether this run has noted that it is sent. */
  isNoted = false
  /** Whether a worker was seen to have begun it. */
  isBegun = false
  /** When it is to be sent again. */
  dueAt: EpochMs = 0
  retries = 0
  /** How many workers were lost with it. */
  losses = 0
  lastError: Failed['error'] | null = null
  #attempts = 0
  #costNanoUsd: number | null = 0

  constructor({ id, index, takenAt }: PromptStart) {
    this.id = id
    this.index = index
    this.#takenAt = takenAt
  }

  /** @param nanoUsd null where it is not known: then the whole is not known either */
  count(attempts: number, nanoUsd: number | null): void {
    this.#attempts += attempts
    const before = this.#costNanoUsd
    this.#costNanoUsd = nanoUsd === null || before === null ? null : before + nanoUsd
  }

  /** Whether any of it was sent. */
  get wasSent(): boolean {
    return this.#attempts > 0
  }

  answered({ response, tokens }: Extract<Outcome, { kind: 'answered' }>, now: EpochMs): Answered {
    return { kind: 'answered', response, tokens, ...this.#outcome(now) }
  }

  failed(error: Failed['error'], now: EpochMs): Failed {
    return { kind: 'failed', error, tokens: null, ...this.#outcome(now) }
  }

  #outcome(now: EpochMs) {
    const { id, index } = this
    const costNanoUsd = this.#costNanoUsd
    const costUsd = costNanoUsd === null ? null : costNanoUsd / 1e9
    const latencyMs = now - this.#takenAt
    return { id, index, latencyMs, attempts: this.#attempts, costNanoUsd, costUsd }
  }
}
