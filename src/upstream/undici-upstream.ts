// The wire to the provider. Owns: the connection pools, and translating undici's events and errors.
// Must not know: what a request means, or whether it may be sent again.
import { Agent, type Dispatcher } from 'undici'
import type {
  Flight,
  Upstream,
  UpstreamFailure,
  UpstreamHandler,
  UpstreamRequest,
} from '../dispatch/upstream.ts'

export interface UndiciUpstreamOptions {
  /** Silence before the answer begins. The longest answers of providers take ten minutes. */
  readonly firstByteTimeoutMs: number
  /** Silence within an answer. */
  readonly idleTimeoutMs: number
}

const CONNECT_TIMEOUT_MS = 10_000

/** Errors that mean that no connection was made, so nothing can have been sent. */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

const TIMED_OUT = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])

export class UndiciUpstream implements Upstream {
  readonly #agent: Agent
  readonly #options: UndiciUpstreamOptions

  constructor(options: UndiciUpstreamOptions) {
    this.#options = options
    // One connection a request: where streams share one, a single reset ends them all.
    this.#agent = new Agent({
      allowH2: false,
      pipelining: 1,
      connect: { timeout: CONNECT_TIMEOUT_MS },
    })
  }

  send(request: UpstreamRequest, handler: UpstreamHandler): Flight {
    const answer = new Answer(handler)
    this.#agent.dispatch(
      {
        origin: request.origin,
        path: request.path,
        method: request.method,
        headers: request.headers as string[],
        body: request.body,
        headersTimeout: this.#options.firstByteTimeoutMs,
        bodyTimeout: this.#options.idleTimeoutMs,
      },
      answer,
    )
    return answer
  }

  /** Ends all connections at once. */
  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}

class Answer implements Dispatcher.DispatchHandler, Flight {
  readonly #handler: UpstreamHandler
  #controller: Dispatcher.DispatchController | null = null
  #isAborted = false

  constructor(handler: UpstreamHandler) {
    this.#handler = handler
  }

  resume(): void {
    this.#controller?.resume()
  }

  abort(): void {
    this.#isAborted = true
    this.#controller?.abort(new Error('the caller has gone'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isAborted) controller.abort(new Error('the caller has gone'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status >= 200 && !this.#isAborted) this.#handler.onHeaders(status, headers)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#isAborted && !this.#handler.onData(chunk)) controller.pause()
  }

  onResponseEnd(): void {
    if (!this.#isAborted) this.#handler.onEnd()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (!this.#isAborted) this.#handler.onFailure(failureOf(error))
  }
}

function failureOf(error: Error): UpstreamFailure {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null
  const detail = code ?? error.message
  if (code !== null && NOT_CONNECTED.has(code)) return { kind: 'unreachable', detail }
  if (code !== null && TIMED_OUT.has(code)) return { kind: 'timeout', detail }
  return { kind: 'broken', detail }
}
