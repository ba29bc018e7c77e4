// One payload from the moment that it was taken up to its result. Owns: what all its sendings have used
// together. Must not know: when it is sent.
import type { EpochMs } from '../core/clock.ts'
import type { Usage } from '../core/prompt.ts'
import type { MessageRequest } from './message-request.ts'
import type { Answered, Failed, TokensUsed } from './payload.ts'

const NANO_PER_USD = 1e9

export interface TaskStart {
  readonly id: string
  readonly index: number
  readonly model: string
  readonly request: MessageRequest
  /** The most that one sending can cost; null where the price is not known. */
  readonly worstNanoUsd: number | null
  readonly takenAt: EpochMs
}

export class Task {
  readonly id: string
  readonly index: number
  readonly model: string
  readonly request: MessageRequest
  readonly worstNanoUsd: number | null
  readonly #takenAt: EpochMs
  attempts = 0
  /** How often it was sent after the gate had given it up. */
  retries = 0
  /** Why it is sent again; null where only the gate knows. */
  lastError: Failed['error'] | null = null
  #tokens: TokensUsed | null = null
  #costNanoUsd: number | null = 0

  constructor({ id, index, model, request, worstNanoUsd, takenAt }: TaskStart) {
    this.id = id
    this.index = index
    this.model = model
    this.request = request
    this.worstNanoUsd = worstNanoUsd
    this.#takenAt = takenAt
  }

  /** Of what is kept for it. */
  get bytes(): number {
    const { body } = this.request
    return Buffer.isBuffer(body) ? body.length : 0
  }

  /** @param nanoUsd null where it is not known: then the whole is not known either */
  cost(nanoUsd: number | null): void {
    if (nanoUsd === null || this.#costNanoUsd === null) this.#costNanoUsd = null
    else this.#costNanoUsd += nanoUsd
  }

  use({ inputTokens, cacheReadTokens, cacheWriteTokens, outputTokens }: Usage): void {
    const { input, cacheRead, cacheWrite, output } = this.#tokens ?? NO_TOKENS
    this.#tokens = {
      input: input + inputTokens,
      cacheRead: cacheRead + cacheReadTokens,
      cacheWrite: cacheWrite + cacheWriteTokens,
      output: output + outputTokens,
    }
  }

  answered(response: unknown, now: EpochMs): Answered {
    return { kind: 'answered', response, ...this.#outcome(now) }
  }

  failed(error: Failed['error'], now: EpochMs): Failed {
    return { kind: 'failed', error, ...this.#outcome(now) }
  }

  #outcome(now: EpochMs) {
    const { id, index, attempts } = this
    const cost = this.#costNanoUsd
    return {
      id,
      index,
      attempts,
      latencyMs: now - this.#takenAt,
      tokens: this.#tokens,
      costNanoUsd: cost,
      costUsd: cost === null ? null : cost / NANO_PER_USD,
    }
  }
}

const NO_TOKENS: TokensUsed = { input: 0, cacheRead: 0, cacheWrite: 0, output: 0 }
