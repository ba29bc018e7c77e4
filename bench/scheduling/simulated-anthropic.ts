// The emulator's model of the provider on virtual time, without sockets. Owns: what an answer's
// headers and events are, and when they come. Every contender talks to it.

import type { Clock } from '../../src/core/clock.ts'
import { type Account, EmulatedProvider } from '../../src/emulator/emulated-provider.ts'
import type { CachedPrefix } from '../../src/emulator/emulator.ts'
import { type EmulatorOptions, resolveEmulatorSettings } from '../../src/emulator/settings.ts'

/** What one request really is: the provider's side of it, which no caller can know. */
export interface Work {
  readonly model: string
  readonly inputTokens: number
  readonly prefixes: readonly CachedPrefix[]
  readonly outputTokens: number
  /** From arrival to first token. */
  readonly ttftMs: number
  readonly tokensPerSecond: number
}

export interface AnswerListener {
  headers(status: number, headers: Record<string, string>): void
  data(chunk: Buffer): void
  end(): void
}

export interface SimulatedAnswer {
  abort(): void
}

/** How often a running stream's tokens are told: fine enough for limits a minute. */
const STEP_MS = 500
/** One way, each way. */
const NETWORK_MS = 15

const event = (type: string, data: object): Buffer =>
  Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`)

export class SimulatedAnthropic {
  readonly #provider: EmulatedProvider
  readonly #clock: Clock

  constructor(clock: Clock, random: () => number, options: EmulatorOptions) {
    this.#clock = clock
    this.#provider = new EmulatedProvider(resolveEmulatorSettings(options), clock, random)
  }

  report() {
    return this.#provider.report()
  }

  /** What the outside consumer has taken so far. */
  externalTokens(): number {
    return this.#provider.report().externalTokens
  }

  /** Lets a request arrive. The listener hears of the answer as it comes. */
  arrive(account: Account, work: Work, listener: AnswerListener): SimulatedAnswer {
    const clock = this.#clock
    let isAborted = false
    const later = (delayMs: number, run: () => void): void => {
      clock.schedule(clock.now() + delayMs, () => {
        if (!isAborted) run()
      })
    }
    later(NETWORK_MS, () => {
      const admission = this.#provider.admit({
        ...account,
        model: work.model,
        promptTokens: work.inputTokens,
        prefixes: work.prefixes,
      })
      if (admission.kind === 'refused') {
        const headers = {
          ...this.#headers(account, work.model),
          'content-type': 'application/json',
          'retry-after': String(Math.max(1, Math.ceil(admission.retryAfterMs / 1000))),
        }
        later(NETWORK_MS, () => {
          listener.headers(429, headers)
          listener.data(
            Buffer.from(
              JSON.stringify({
                type: 'error',
                error: { type: 'rate_limit_error', message: `limit of ${admission.dimension}` },
              }),
            ),
          )
          listener.end()
        })
        return
      }
      const { call } = admission
      later(work.ttftMs, () => {
        call.begun()
        const headers = {
          ...this.#headers(account, work.model),
          'content-type': 'text/event-stream',
        }
        const usage = {
          input_tokens: call.usage.inputTokens,
          cache_creation_input_tokens: call.usage.cacheWriteTokens,
          cache_read_input_tokens: call.usage.cacheReadTokens,
          output_tokens: 1,
        }
        later(NETWORK_MS, () => {
          listener.headers(200, headers)
          listener.data(event('message_start', { message: { model: work.model, usage } }))
        })
        let produced = 0
        const generate = (): void => {
          const next = Math.min(
            work.outputTokens - produced,
            Math.max(1, Math.round((work.tokensPerSecond * STEP_MS) / 1000)),
          )
          produced += next
          call.generated(next)
          const text = 'word'.repeat(next)
          later(NETWORK_MS, () =>
            listener.data(
              event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } }),
            ),
          )
          if (produced < work.outputTokens) later(STEP_MS, generate)
          else {
            call.ended()
            later(NETWORK_MS, () => {
              listener.data(
                Buffer.concat([
                  event('message_delta', {
                    delta: { stop_reason: 'end_turn' },
                    usage: { output_tokens: work.outputTokens },
                  }),
                  event('message_stop', {}),
                ]),
              )
              listener.end()
            })
          }
        }
        generate()
      })
    })
    return {
      abort: () => {
        isAborted = true
      },
    }
  }

  #headers(account: Account, model: string): Record<string, string> {
    return {
      ...this.#provider.modelHeaders(account, model),
      'anthropic-organization-id': account.organization,
      date: new Date(Math.floor(this.#clock.now() / 1000) * 1000).toUTCString(),
    }
  }
}

/** How long a request takes that need not wait, as its caller sees it. */
export function serviceMs(work: Work): number {
  const perStep = Math.max(1, Math.round((work.tokensPerSecond * STEP_MS) / 1000))
  const steps = Math.max(0, Math.ceil(work.outputTokens / perStep) - 1)
  return work.ttftMs + steps * STEP_MS + 2 * NETWORK_MS
}
