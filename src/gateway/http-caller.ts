// One HTTP caller. Owns: how an answer, a refusal and signs of life are written to its socket.
// Must not know: when its turn comes, or what the answer says.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock, EpochMs } from '../core/clock.ts'
import type { Deadlines } from '../core/deadlines.ts'
import type { Refusal } from '../core/refusal.ts'
import type { Caller } from '../dispatch/caller.ts'
import type { GovernedCall } from '../dispatch/governed-call.ts'
import type { OwnHeaders } from '../dispatch/limit-headers.ts'
import type { Headers, Provider } from '../providers/provider.ts'
import { endsEvent } from '../providers/sse-reader.ts'
import { returnedHeaders } from './headers.ts'
import { type Patience, PING_EVERY_MS } from './patience.ts'

export interface HttpCallerOptions {
  readonly id: string
  readonly provider: Provider
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly patience: Patience | null
  readonly clock: Clock
  readonly lifeSigns: Deadlines<HttpCaller>
  /** Called once, when nothing more will be written. */
  readonly onOver: () => void
}

export class HttpCaller implements Caller {
  // Kept by the schedule of signs of life.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly #options: HttpCallerOptions
  readonly #response: ServerResponse
  #call: GovernedCall | null = null
  readonly #silentSince: EpochMs
  /** A stream's answer has begun, with status 200, before the provider's has. */
  #isCommitted = false
  #isEventStream = false
  /** The provider's error, held until it is whole, to be told inside a stream that has begun. */
  #lateError: Buffer[] | null = null
  #hasDrainListener = false
  /** Whether what was written so far ends with a whole event, so that another may follow. */
  #isBetweenEvents = true
  /** What can be said beside a stream that has to begin before its answer. */
  #own: OwnHeaders = {}
  #isOver = false

  constructor(options: HttpCallerOptions) {
    this.#options = options
    this.#response = options.response
    this.#silentSince = options.clock.now()
    // The one listener that tells of every way in which a caller can go.
    options.response.on('close', () => this.#closed())
  }

  attach(call: GovernedCall): void {
    this.#call = call
    if (this.#isOver) call.abandon()
  }

  waiting(own: OwnHeaders): void {
    this.#own = own
    if (this.heapIndex < 0) this.#scheduleLifeSign()
  }

  /** It is time to show life. Called by the schedule. */
  showLife(): void {
    if (this.#isOver || (this.#response.headersSent && !this.#isCommitted)) return
    const { patience, clock, provider } = this.#options
    const commitAfterMs = this.#call?.isStream ? (patience?.commitStreamAfterMs ?? null) : null
    const silentMs = clock.now() - this.#silentSince
    if (this.#isCommitted) this.#response.write(provider.streamKeepalive)
    else if (commitAfterMs !== null && silentMs >= commitAfterMs) this.#commit()
    else this.#response.writeProcessing()
    this.#scheduleLifeSign()
  }

  respond(status: number, headers: Headers, own: OwnHeaders): void {
    this.#options.lifeSigns.clear(this)
    if (this.#isCommitted) {
      if (status >= 400) this.#lateError = []
      return
    }
    const returned = returnedHeaders(headers)
    for (const name in own) returned[name] = own[name] ?? ''
    returned['x-headgate-request-id'] = this.#options.id
    // Only an answer whose length is not told beforehand can have something after it.
    if (this.#takesTrailers) delete returned['content-length']
    else delete returned.trailer
    this.#response.writeHead(status, returned)
    this.#isEventStream = String(headers['content-type']).startsWith('text/event-stream')
    if (this.#isEventStream) this.#response.flushHeaders()
  }

  write(chunk: Buffer): boolean {
    if (this.#lateError) {
      this.#lateError.push(chunk)
      return true
    }
    this.#isBetweenEvents = endsEvent(chunk)
    if (this.#response.write(chunk)) return true
    if (!this.#hasDrainListener) {
      this.#hasDrainListener = true
      this.#response.on('drain', () => this.#call?.resume())
    }
    return false
  }

  end(trailers: OwnHeaders): void {
    if (this.#takesTrailers && !this.#isCommitted) this.#response.addTrailers({ ...trailers })
    if (this.#lateError) {
      const error = Buffer.concat(this.#lateError).toString('utf8')
      this.#response.end(this.#options.provider.wrapStreamError(error))
    } else {
      this.#response.end()
    }
  }

  refuse(refusal: Refusal): void {
    this.#options.lifeSigns.clear(this)
    const { id, provider } = this.#options
    if (this.#isCommitted) {
      this.#response.end(provider.renderStreamRefusal(refusal, id))
      return
    }
    sendRefusal(this.#response, provider, refusal, id)
  }

  fail(refusal: Refusal): void {
    const { id, provider } = this.#options
    if (this.#isEventStream && this.#isBetweenEvents)
      this.#response.end(provider.renderStreamRefusal(refusal, id))
    // What broke off in the middle must not look whole.
    else this.#response.destroy()
  }

  /** Whether the caller says that it reads what comes after a body. */
  get #takesTrailers(): boolean {
    return this.#options.request.headers.te?.includes('trailers') ?? false
  }

  #commit(): void {
    this.#isCommitted = this.#isEventStream = true
    this.#response.writeHead(200, {
      ...withoutTrailer(this.#own),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-headgate-request-id': this.#options.id,
    })
    this.#response.write(this.#options.provider.streamKeepalive)
  }

  #scheduleLifeSign(): void {
    const { clock, lifeSigns, patience } = this.#options
    if (!patience) return
    const now = clock.now()
    const commitAfterMs = this.#call?.isStream === false ? null : patience.commitStreamAfterMs
    const commitAt =
      commitAfterMs === null ? Number.POSITIVE_INFINITY : this.#silentSince + commitAfterMs
    const processingAt =
      patience.processingEveryMs === null
        ? Number.POSITIVE_INFINITY
        : now + patience.processingEveryMs
    lifeSigns.set(this, this.#isCommitted ? now + PING_EVERY_MS : Math.min(commitAt, processingAt))
  }

  #closed(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#options.lifeSigns.clear(this)
    if (!this.#response.writableFinished) this.#call?.abandon()
    this.#options.onOver()
  }
}

function withoutTrailer({ trailer: _, ...own }: OwnHeaders): OwnHeaders {
  return own
}

/** Answers with a refusal in the provider's dialect. */
export function sendRefusal(
  response: ServerResponse,
  provider: Provider,
  refusal: Refusal,
  requestId: string,
): void {
  writeRefusal(response, provider, refusal, requestId)
  response.end()
}

/** The whole of a refusal, after which the response still has to be ended. */
export function writeRefusal(
  response: ServerResponse,
  provider: Provider,
  refusal: Refusal,
  requestId: string,
): void {
  const { status, headers, body } = provider.renderRefusal(refusal, requestId)
  response.writeHead(status, {
    ...headers,
    'content-length': Buffer.byteLength(body),
    'x-headgate-request-id': requestId,
  })
  response.write(body)
}
