// One payload from the moment that it was taken up to its result. Owns: what all its sendings have used
// together. Must not know: when it is sent.
import type { EpochMs } from '../core/clock.ts'
import { NANO_PER_USD } from '../core/money.ts'
import type { Usage } from '../core/prompt.ts'
import type { MessageRequest } from './message-request.ts'
import type { Answered, Failed, TokensUsed } from './payload.ts'

export interface TaskStart {
  readonly id: string
  readonly index: number
  readonly model: string
  readonly request: MessageRequest
  /** The most that one sending can cost; null where the price is not known. */
  readonly worstNanoUsd: number | null
  /** Of the usual price, as it asks for. */
  readonly pricePercent: number
  readonly takenAt: EpochMs
}

export class Task {
  readonly id: string
  readonly index: number
  readonly model: string
  readonly request: MessageRequest
  readonly worstNanoUsd: number | null
  readonly pricePercent: number
  readonly #takenAt: EpochMs
  attempts = 0
  /** How often it was sent after the gate had given it up. */
  retries = 0
  /** Why it is sent again; null where only the gate knows. */
  lastError: Failed['error'] | null = null
  #tokens: TokensUsed | null = null
  #costNanoUsd: number | null = 0

  constructor(start: TaskStart) {
    this.id = start.id
    this.index = start.index
    this.model = start.model
    this.request = start.request
    this.worstNanoUsd = start.worstNanoUsd
    this.pricePercent = start.pricePercent
    this.#takenAt = start.takenAt
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
