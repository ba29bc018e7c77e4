// Calls of the provider's batches, through the gate. Owns: the call's headers, and its answer as a stream. Must
// not know: what is asked, or what the answer says.
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Refusal } from '../core/refusal.ts'
import type { Caller } from '../dispatch/caller.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { GovernedCall } from '../dispatch/governed-call.ts'
import { anthropic } from '../providers/anthropic/anthropic.ts'
import type { Headers } from '../providers/provider.ts'
import type { Call, CallAnswer } from './batch/batch-api.ts'
import { callRequest, type RequestTerms } from './message-request.ts'

export function batchCall(dispatcher: Dispatcher, terms: RequestTerms): Call {
  return async (method, path, body, signal) => {
    const operation = anthropic.match(method, path, {})
    if (!operation) throw new Error(`the provider knows no ${path}`)
    // A stream is sent once: what creates something must not be sent again by whoever does not know whether
    // it was created.
    const sent = body && Readable.from([body])
    const length = body ? { 'content-length': String(body.length) } : {}
    const what = { operation, method, body: sent, more: length }
    const request = callRequest(what, terms, dispatcher.clock.now())
    const caller = new StreamedAnswer(signal)
    caller.attach(dispatcher.start({ ...request, id: `hg_${randomUUID()}` }, caller))
    return await caller.answer
  }
}

class StreamedAnswer implements Caller {
  readonly #answer = Promise.withResolvers<CallAnswer>()
  readonly #body: Readable
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = (): void => this.#break(this.#signal?.reason)
  #call: GovernedCall | null = null
  #isPaused = false
  #isOver = false

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal
    this.#body = new Readable({
      read: () => {
        const wasPaused = this.#isPaused
        // More may come, and be too much, before this returns.
        this.#isPaused = false
        if (wasPaused) this.#call?.resume()
      },
      destroy: (error, done) => {
        this.#leave()
        done(error)
      },
    })
    // Whoever reads is told; nobody else has to be.
    this.#body.on('error', () => {})
    signal?.addEventListener('abort', this.#onAbort)
  }

  attach(call: GovernedCall): void {
    this.#call = call
    if (this.#signal?.aborted) this.#onAbort()
  }

  get answer(): Promise<CallAnswer> {
    return this.#answer.promise
  }

  waiting(): void {}

  respond(status: number, headers: Headers): void {
    this.#answer.resolve({ status, headers, body: this.#body })
  }

  write(chunk: Buffer): boolean {
    this.#isPaused = !this.#body.push(chunk)
    return !this.#isPaused
  }

  end(): void {
    this.#over()
    this.#body.push(null)
  }

  refuse(refusal: Refusal): void {
    const { status, headers, body } = anthropic.renderRefusal(refusal, '')
    this.respond(status, headers)
    this.#body.push(body)
    this.end()
  }

  fail({ message }: Refusal): void {
    this.#break(new Error(message))
  }

  #break(why: unknown): void {
    this.#answer.reject(why)
    this.#body.destroy(why instanceof Error ? why : new Error(String(why)))
  }

  /** Nobody wants the rest. */
  #leave(): void {
    if (!this.#isOver) this.#call?.abandon()
    this.#over()
  }

  #over(): void {
    this.#isOver = true
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }
}
