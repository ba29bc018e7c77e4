// Requests to the coordinator, and what comes back. Owns: HTTP, the key, silence, and what counts as no
// answer at all. Must not know: what a lease is, or whether to ask again.
import type { Clock, Timer } from './clock.ts'
import type { Granted, Waiting } from './documents.ts'
import { NotUnderstood, readGranted, readProblem, readWaiting } from './documents.ts'
import { errorOf, type Problem } from './errors.ts'
import { EventReader, type ServerEvent } from './event-reader.ts'

/** What the client needs of `fetch`. That of Node, Deno, Bun and browsers fits, and so does undici's. */
export type Fetch = (url: string, init: FetchInit) => Promise<FetchResponse>

export interface FetchInit {
  method: string
  headers: Record<string, string>
  body?: string
  signal: AbortSignal
  redirect: 'error'
}

export interface FetchResponse {
  readonly status: number
  readonly headers: { get(name: string): string | null }
  readonly body: { getReader(): BodyReader } | null
  text(): Promise<string>
}

export interface BodyReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
}

/** No answer that can be used. Whoever asks again may have one. */
export class Lost extends Error {
  override readonly name = 'Lost'
  /** A refusal that another process, or the same one a little later, may not repeat. */
  readonly problem: Problem | null

  constructor(message: string, problem: Problem | null = null, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.problem = problem
  }
}

export interface Message {
  readonly method: 'POST' | 'DELETE'
  /** Below `/headgate/v1/`. */
  readonly path: string
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
}

export type Answer =
  | { readonly kind: 'done'; readonly text: string }
  | { readonly kind: 'refused'; readonly problem: Problem }

export type AskEvent =
  | ({ readonly kind: 'waiting' } & Waiting)
  | ({ readonly kind: 'granted' } & Granted)
  | { readonly kind: 'refused'; readonly problem: Problem }

export interface WireOptions {
  readonly url: string
  readonly key: string | null
  readonly fetch: Fetch
  readonly clock: Clock
}

export class Wire {
  readonly #base: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #fetch: Fetch
  readonly #clock: Clock

  constructor({ url, key, fetch, clock }: WireOptions) {
    this.#base = `${url.replace(/\/+$/, '')}/headgate/v1/`
    this.#headers = key === null ? {} : { authorization: `Bearer ${key}` }
    // Browsers refuse a fetch that is called as a method.
    this.#fetch = (address, init) => fetch(address, init)
    this.#clock = clock
  }

  /**
   * One question, one answer.
   *
   * @throws Lost, or the reason with which `signal` is aborted
   */
  async exchange(message: Message, withinMs: number, signal?: AbortSignal): Promise<Answer> {
    const attempt = new Attempt(this.#clock, signal)
    attempt.endsAfter(withinMs)
    try {
      const response = await this.#send(message, attempt.signal)
      const text = await orLost(response.text(), attempt.signal)
      if (response.status < 300) return { kind: 'done', text }
      return { kind: 'refused', problem: orLostProblem(readProblem(text, response.status)) }
    } finally {
      attempt.end()
    }
  }

  /**
   * What the coordinator tells whoever waits in line.
   *
   * @throws Lost, or the reason with which `signal` is aborted
   * @throws Refused, Invalid, Forbidden when no line is stood in at all
   */
  async *ask(
    message: Message,
    { answerMs, silenceMs }: AskPatience,
    signal: AbortSignal,
  ): AsyncGenerator<AskEvent> {
    const attempt = new Attempt(this.#clock, signal)
    attempt.endsAfter(answerMs)
    try {
      const accept = { accept: 'text/event-stream', ...message.headers }
      const response = await this.#send({ ...message, headers: accept }, attempt.signal)
      const isStream = response.headers.get('content-type')?.startsWith('text/event-stream')
      if (response.status !== 200 || !isStream || !response.body)
        throw await this.#refusal(response, attempt.signal)
      attempt.endsAfter(silenceMs)
      const body = response.body.getReader()
      const reader = new EventReader()
      for (;;) {
        const { done, value } = await orLost(body.read(), attempt.signal)
        if (done) return
        attempt.endsAfter(silenceMs)
        if (value) yield* understood(() => reader.read(value).flatMap(readEvent))
      }
    } finally {
      // Whoever has heard enough leaves nothing open.
      attempt.end()
    }
  }

  async #refusal(response: FetchResponse, signal: AbortSignal): Promise<Error> {
    const text = await orLost(response.text(), signal)
    if (response.status < 300) return new Lost('what answers there is no coordinator')
    return errorOf(orLostProblem(readProblem(text, response.status)))
  }

  #send({ method, path, body, headers }: Message, signal: AbortSignal): Promise<FetchResponse> {
    const json = body && { body: JSON.stringify(body) }
    const type = body && { 'content-type': 'application/json' }
    const sent = this.#fetch(this.#base + path, {
      method,
      headers: { ...this.#headers, ...type, ...headers },
      ...json,
      signal,
      // The key is for this address alone.
      redirect: 'error',
    })
    return orLost(sent, signal)
  }
}

export interface AskPatience {
  /** Until the first byte. */
  readonly answerMs: number
  /** From one byte to the next. */
  readonly silenceMs: number
}

/** A request under way: ended by silence, or by whoever made it. */
class Attempt {
  readonly #clock: Clock
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  readonly #leave = (): void => this.#controller.abort(this.#outer?.reason)
  #silence: Timer | null = null

  constructor(clock: Clock, outer: AbortSignal | undefined) {
    this.#clock = clock
    this.#outer = outer
    if (outer?.aborted) this.#leave()
    outer?.addEventListener('abort', this.#leave)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** From now on so long. */
  endsAfter(silenceMs: number): void {
    this.#silence?.cancel()
    const end = (): void => this.#controller.abort(new Lost(`nothing came for ${silenceMs} ms`))
    this.#silence = this.#clock.schedule(this.#clock.now() + silenceMs, end)
  }

  end(): void {
    this.#silence?.cancel()
    this.#outer?.removeEventListener('abort', this.#leave)
    this.#controller.abort()
  }
}

/** Platforms have an error each for a broken connection; the reason of an abort is the same on all. */
async function orLost<T>(operation: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await operation
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw new Lost(causeOf(error), null, error)
  }
}

/** Node says what happened in the cause only. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { message, cause } = error
  return cause instanceof Error && cause.message !== '' ? `${message}: ${cause.message}` : message
}

/** A balancer without a gate behind it has a 404 of its own: a gate's says what is not there. */
function orLostProblem(problem: Problem): Problem {
  const isNobodys = problem.status === 404 && problem.reason === 'http_404'
  if (problem.status >= 500 || isNobodys) throw new Lost(problem.detail, problem)
  return problem
}

/** What `read` makes of an answer. @throws Lost when it is not a coordinator's */
export function understood<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof NotUnderstood ? new Lost(error.message, null, error) : error
  }
}

function readEvent({ name, data }: ServerEvent): AskEvent[] {
  switch (name) {
    case 'waiting':
      return [{ kind: 'waiting', ...readWaiting(data) }]
    case 'granted':
      return [{ kind: 'granted', ...readGranted(data) }]
    case 'refused':
      return [{ kind: 'refused', problem: orLostProblem(readProblem(data)) }]
    default:
      return []
  }
}
