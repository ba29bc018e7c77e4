// One caller of a gated fetch. Owns: the answer as a `Response`, and hearing in every way that nobody wants
// it any more. Must not know: when the call's turn comes, or what the answer says.
import { STATUS_CODES } from 'node:http'
import { Readable } from 'node:stream'
import type { Refusal } from '../core/refusal.ts'
import type { Caller } from '../dispatch/caller.ts'
import type { GovernedCall } from '../dispatch/governed-call.ts'
import type { OwnHeaders } from '../dispatch/limit-headers.ts'
import type { Headers as PlainHeaders, Provider } from '../providers/provider.ts'
import { endsEvent } from '../providers/sse-reader.ts'

type Controller = ReadableStreamDefaultController<Uint8Array>

export interface FetchCallerOptions {
  readonly id: string
  readonly provider: Provider
  /** Of the request. */
  readonly method: string
  /** Of the request; a stream is let go of with the call, sent or not. */
  readonly body: Buffer | Readable | null
  readonly signal: AbortSignal | null
  /** Called once, when nothing more happens. */
  readonly onOver: (caller: FetchCaller) => void
}

/** Resolves with the answer; rejects with the signal's reason, or when the gate is closed first. */
export type AnswerPromise = Pick<PromiseWithResolvers<Response>, 'resolve' | 'reject'>

/** So much of an answer comes without being read: one that nobody reads is over all the same. */
const READ_AHEAD_BYTES = 64 * 1024

/** Answers that nobody can read any more, since their program has forgotten them. */
const forgotten = new FinalizationRegistry<FetchCaller>((caller) => caller.leave())

export class FetchCaller implements Caller {
  readonly #options: FetchCallerOptions
  readonly #onAbort = (): void => this.breakOff(this.#options.signal?.reason)
  /** Gone once it has been answered: it would keep the answer in memory. */
  #promise: AnswerPromise | null
  #call: GovernedCall | null = null
  #body: WeakRef<Controller> | null = null
  /** The same, while somebody waits for more. Otherwise only those who can read it keep it in memory. */
  #wanted: Controller | null = null
  #isPaused = false
  #isEventStream = false
  /** Whether what was written so far ends with a whole event, so that another may follow. */
  #isBetweenEvents = true
  #isOver = false

  constructor(promise: AnswerPromise, options: FetchCallerOptions) {
    this.#promise = promise
    this.#options = options
    options.signal?.addEventListener('abort', this.#onAbort)
    if (options.body instanceof Readable) options.body.on('error', (error) => this.breakOff(error))
  }

  attach(call: GovernedCall): void {
    this.#call = call
    // It was left while it began.
    if (this.#isOver) call.abandon()
  }

  waiting(): void {}

  respond(status: number, headers: PlainHeaders, { trailer: _, ...own }: OwnHeaders): void {
    if (status > HIGHEST_STATUS) {
      const cause = new Error(`the provider answered with ${status}, which is no status`)
      this.#promise?.reject(new TypeError('fetch failed', { cause }))
      this.#promise = null
      return
    }
    const { id, method } = this.#options
    const returned = headersOf(headers)
    for (const name in own) returned.set(name, own[name] ?? '')
    returned.set('x-headgate-request-id', id)
    const packing = returned.get('content-encoding')?.toLowerCase() ?? null
    const isEvents = returned.get('content-type')?.startsWith('text/event-stream') ?? false
    this.#isEventStream = isEvents && packing === null
    const hasBody = method !== 'HEAD' && !NO_BODY.has(status)
    this.#answer(hasBody ? unpacked(this.#openBody(), packing) : null, {
      status,
      statusText: STATUS_CODES[status] ?? '',
      headers: returned,
    })
  }

  write(chunk: Buffer): boolean {
    const controller = this.#wanted ?? this.#body?.deref()
    if (!controller) return true
    this.#isBetweenEvents = endsEvent(chunk)
    // Whoever still waits for more than this says so while it is put in.
    this.#wanted = null
    controller.enqueue(chunk)
    this.#isPaused = (controller.desiredSize ?? 0) <= -READ_AHEAD_BYTES
    return !this.#isPaused
  }

  end(): void {
    this.#body?.deref()?.close()
    this.#end()
  }

  refuse(refusal: Refusal): void {
    const { id, provider } = this.#options
    this.#answer(...refusalInit(provider, refusal, id))
    this.#end()
  }

  fail(refusal: Refusal): void {
    const { id, provider } = this.#options
    const controller = this.#body?.deref()
    if (this.#isEventStream && this.#isBetweenEvents) {
      controller?.enqueue(Buffer.from(provider.renderStreamRefusal(refusal, id)))
      controller?.close()
    } else {
      // As `fetch` has it.
      const error = new TypeError('terminated', { cause: new Error(refusal.message) })
      this.#promise?.reject(error)
      controller?.error(error)
    }
    this.#end()
  }

  /** Nobody wants the answer any more. */
  leave(): void {
    if (this.#isOver) return
    this.#call?.abandon()
    this.#end()
  }

  /** As `leave`; whoever still waits for the answer, or for more of it, is told why. */
  breakOff(reason: unknown): void {
    if (this.#isOver) return
    this.#promise?.reject(reason)
    this.#body?.deref()?.error(reason)
    this.leave()
  }

  #answer(body: ReadableStream | string | null, init: ResponseInit): void {
    this.#promise?.resolve(new Response(body, init))
    this.#promise = null
  }

  #openBody(): ReadableStream<Uint8Array> {
    // Asks for more only when somebody reads, never to have something ready: so it is known who waits.
    const strategy = new ByteLengthQueuingStrategy({ highWaterMark: 0 })
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#body = new WeakRef(controller)
        },
        pull: (controller) => {
          this.#wanted = controller
          if (!this.#isPaused) return
          this.#isPaused = false
          this.#call?.resume()
        },
        cancel: () => this.leave(),
      },
      strategy,
    )
    forgotten.register(body, this, this)
    return body
  }

  #end(): void {
    this.#isOver = true
    this.#promise = null
    this.#body = null
    this.#wanted = null
    forgotten.unregister(this)
    const { signal, body, onOver } = this.#options
    signal?.removeEventListener('abort', this.#onAbort)
    if (body instanceof Readable) body.destroy()
    onOver(this)
  }
}

/** Of those that a `Response` can have. */
const HIGHEST_STATUS = 599

/** Answers that have none (Fetch, "null body status"). */
const NO_BODY = new Set([204, 205, 304])

/** Nobody was asked to pack an answer; whoever does so all the same is understood, as by any `fetch`. */
function unpacked(body: ReadableStream<Uint8Array>, packing: string | null): ReadableStream {
  return packing === 'gzip' || packing === 'deflate'
    ? body.pipeThrough(new DecompressionStream(packing))
    : body
}

function headersOf(headers: PlainHeaders): Headers {
  const returned = new Headers()
  for (const name in headers)
    for (const value of [headers[name] ?? []].flat()) returned.append(name, value)
  return returned
}

function refusalInit(
  provider: Provider,
  refusal: Refusal,
  id: string,
): [body: string, init: ResponseInit] {
  const { status, headers, body } = provider.renderRefusal(refusal, id)
  return [
    body,
    {
      status,
      statusText: STATUS_CODES[status] ?? '',
      headers: { ...headers, 'x-headgate-request-id': id },
    },
  ]
}

/** Headgate's own no to a request that never became a call. */
export function refusalResponse(provider: Provider, refusal: Refusal, id: string): Response {
  return new Response(...refusalInit(provider, refusal, id))
}
