// The reverse proxy. Owns: the HTTP server, from a request's arrival to a governed call, and closing
// down without losing one. Must not know: limits, order, or how the provider is reached.
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, Server as NetServer } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { Deadlines } from '../core/deadlines.ts'
import { REFUSALS, type RefusalReason } from '../core/refusal.ts'
import { type CallerWishes, readWishes } from '../dispatch/caller-wishes.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import { type Identified, identify, type TrustRules } from '../policy/identity.ts'
import { type KeyRing, looksLikeSecret } from '../policy/key-ring.ts'
import type { Provider } from '../providers/provider.ts'
import { PROVIDERS, type Route, routeProvider } from '../providers/providers.ts'
import { BodyBudget, dropBody, readBody } from './body.ts'
import { forwardedHeaders } from './headers.ts'
import { HttpCaller, sendRefusal, writeRefusal } from './http-caller.ts'
import { patienceOf } from './patience.ts'

/** Who may come in. Replaced whole when the configuration changes. */
export interface DoorRules {
  readonly keys: KeyRing
  readonly trust: TrustRules
  /** In lower case. */
  readonly userHeader: string
  readonly maxWaitMs: number
  /** The gateway's own key for a provider, sent instead of the callers'; null lets theirs pass. */
  readonly ownKeyOf: (provider: Provider) => string | null
}

export interface GatewayOptions {
  readonly clock: Clock
  readonly dispatcher: Dispatcher
  readonly host: string
  readonly port: number
  readonly rules: DoorRules
  /** `auto`: waiting clients are shown life in the way that each understands. */
  readonly keepalive: 'auto' | 'off'
  readonly maxBodyMemory: number
  /** Answers the paths that are Headgate's own. Returns false for any other. */
  readonly control: (request: IncomingMessage, response: ServerResponse) => boolean
  /** Reads again which keys there are. Never rejects. */
  readonly lookForKeys: () => Promise<void>
  /** A request was refused before it became a call. */
  readonly turnedAway: (reason: RefusalReason) => void
  /** Somebody who is not trusted to has named a user. */
  readonly distrusted: (address: string | null) => void
  readonly failed: (error: unknown) => void
}

/** Connections that callers keep open between requests: longer than their own pools keep them. */
const KEEP_ALIVE_MS = 75_000
/** Receiving a body may take as long as waiting for its turn: large ones are read only then. */
const RECEIVE_TIMEOUT_MS = 30 * 60_000

/** What is known of a request once it may come in. */
interface Entry {
  readonly id: string
  readonly wishes: Extract<CallerWishes, { kind: 'read' }>
  readonly who: Extract<Identified, { kind: 'identified' }>
  readonly ownKey: string | null
}

export class Gateway {
  readonly #options: GatewayOptions
  readonly #server: Server
  readonly #bodies: BodyBudget
  readonly #lifeSigns: Deadlines<HttpCaller>
  /** Answers whose last byte has not gone, from the request's first byte on. */
  readonly #open = new Set<ServerResponse>()
  rules: DoorRules
  #isClosing = false
  #whenAnswered: () => void = () => {}

  constructor(options: GatewayOptions) {
    this.#options = options
    this.rules = options.rules
    this.#bodies = new BodyBudget(options.maxBodyMemory)
    this.#lifeSigns = new Deadlines(options.clock, (caller) => caller.showLife())
    this.#server = createServer(
      { keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: RECEIVE_TIMEOUT_MS },
      (request, response) => this.#receive(request, response),
    )
  }

  /** Bytes of request bodies in memory. */
  get bodyBytes(): number {
    return this.#bodies.used
  }

  /** Starts to listen. Returns the URL. Rejects when the address cannot be had. */
  async listen(): Promise<string> {
    const { host, port } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    const address: AddressInfo | string | null = this.#server.address()
    const listening = typeof address === 'object' && address ? address.port : port
    return `http://${host.includes(':') ? `[${host}]` : host}:${listening}`
  }

  /** Takes no new calls, refuses those that wait, and resolves when those under way have ended. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.once('close', () => resolve()))
    // Not the HTTP server's own `close`: that ends connections whose last bytes are still to be sent.
    NetServer.prototype.close.call(this.#server)
    this.#isClosing = true
    for (const response of this.#open) response.shouldKeepAlive = false
    await this.#options.dispatcher.drain()
    // Who has not sent a whole request by now has no place to lose.
    for (const response of this.#open) if (!response.headersSent) response.destroy()
    await this.#allAnswered()
    // What is left has nothing under way: idle, or never used.
    this.#server.closeAllConnections()
    await closed
    this.#lifeSigns.stop()
  }

  /** Ends everything at once, calls under way included. */
  closeNow(): void {
    this.#options.dispatcher.abortAll()
    this.#server.closeAllConnections()
  }

  /** Resolves when the last byte of every answer has gone, or its caller has. */
  async #allAnswered(): Promise<void> {
    if (this.#open.size === 0) return
    await new Promise<void>((resolve) => {
      this.#whenAnswered = resolve
    })
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    this.#open.add(response)
    if (this.#isClosing) response.shouldKeepAlive = false
    response.once('close', () => {
      this.#open.delete(response)
      if (this.#open.size === 0) this.#whenAnswered()
    })
    if (this.#options.control(request, response)) return
    const id = `hg_${randomUUID()}`
    const url = request.url ?? '/'
    const route = routeProvider(request.method ?? 'GET', url, request.headers)
    if (request.headers.upgrade?.toLowerCase() === 'websocket') {
      response.writeHead(426, { connection: 'close' }).end()
    } else if (!route) {
      const message = `Headgate knows no provider for ${request.method} ${url.slice(0, 200)}. Anthropic's paths, such as /v1/messages, are served; /anthropic/… forces that provider.`
      this.#refuse(request, response, anyProvider(), id, 'unknown_path', message)
    } else {
      this.#admit(request, response, route, id).catch((error: unknown) => {
        this.#options.failed(error)
        response.destroy()
      })
    }
  }

  async #admit(
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    id: string,
  ): Promise<void> {
    const { provider } = route
    const ownKey = this.rules.ownKeyOf(provider)
    if (ownKey !== null && request.headers.origin !== undefined) {
      const message =
        'Headgate holds the key, so it does not answer web pages: any page could spend with it.'
      this.#refuse(request, response, provider, id, 'forbidden', message)
      return
    }
    const address = request.socket.remoteAddress ?? null
    const wishes = readWishes(request.headers, this.rules.trust.trusts(address))
    if (wishes.kind === 'bad') {
      this.#refuse(request, response, provider, id, 'bad_request', wishes.message)
      return
    }
    let who = this.#identify(request, provider, address)
    if (who.kind === 'refused' && who.reason === 'key_unknown') {
      // It may have been made a moment ago, by another process.
      await this.#options.lookForKeys()
      who = this.#identify(request, provider, address)
    }
    if (who.kind === 'refused') {
      this.#refuse(request, response, provider, id, who.reason, `Headgate: ${who.message}.`)
      return
    }
    if (!who.scopes.has('requests')) {
      const message = `Headgate: the key ${who.identity.key} does not open requests: ask for one with the scope requests.`
      this.#refuse(request, response, provider, id, 'scope_missing', message)
      return
    }
    if (who.isDistrusted) this.#options.distrusted(address)
    if (who.isVirtual && ownKey === null) {
      this.#refuse(request, response, provider, id, 'forbidden', noKeyFor(provider))
      return
    }
    const entry: Entry = { id, wishes, who, ownKey }
    if (route.operation.body === 'read') {
      const read = await readBody(request, route.operation.maxBodyBytes, this.#bodies)
      if (read.kind === 'caller_gone') return
      if (read.kind !== 'whole') {
        const message = this.#bodyMessage(read.kind, route.operation.maxBodyBytes)
        this.#refuse(request, response, provider, id, read.kind, message)
        return
      }
      this.#start(request, response, route, entry, read.body)
    } else {
      this.#start(request, response, route, entry, null)
    }
  }

  #start(
    request: IncomingMessage,
    response: ServerResponse,
    { provider, operation }: Route,
    { id, wishes, who, ownKey }: Entry,
    body: Buffer | null,
  ): void {
    const { clock, dispatcher, keepalive } = this.#options
    const { maxWaitMs, trust } = this.rules
    const now = clock.now()
    const patience = keepalive === 'auto' ? patienceOf(request.headers, request.httpVersion) : null
    const caller = new HttpCaller({
      id,
      provider,
      request,
      response,
      patience,
      clock,
      lifeSigns: this.#lifeSigns,
      onOver: () => this.#bodies.giveBack(body?.length ?? 0),
    })
    const call = dispatcher.start(
      {
        id,
        provider,
        operation,
        method: request.method ?? 'GET',
        headers: ownKey === null ? request.headers : { ...request.headers, 'x-api-key': ownKey },
        forwardHeaders: forwardedHeaders(
          request.rawHeaders,
          request.headers,
          ownKey,
          operation.body === 'stream',
        ),
        base: null,
        body: operation.body === 'stream' ? request : body,
        identity: who.identity,
        believesBody: trust.metadataUser && who.maySayWho,
        flow: wishes.flow,
        lane: wishes.lane,
        deadlineAt: Math.min(now + Math.min(maxWaitMs, wishes.maxWaitMs), wishes.deadlineAt),
        longestPlainWaitMs: patience?.longestPlainWaitMs ?? Number.POSITIVE_INFINITY,
      },
      caller,
    )
    caller.attach(call)
  }

  #identify(request: IncomingMessage, provider: Provider, address: string | null): Identified {
    const { keys, trust, userHeader } = this.rules
    const { headers } = request
    const claims = {
      key: textOf(headers['x-headgate-key']) ?? bearerOfOurs(headers.authorization),
      credential: provider.credential(headers),
      user: textOf(headers[userHeader]),
      address,
    }
    return identify(claims, keys, trust, this.#options.clock.now())
  }

  /** Refuses before the body is read: the connection cannot be used again after that. */
  #refuse(
    request: IncomingMessage,
    response: ServerResponse,
    provider: Provider,
    id: string,
    reason: RefusalReason,
    message: string,
  ): void {
    this.#options.turnedAway(reason)
    const retryAfterMs = REFUSALS[reason].retryable ? 1000 : null
    const refusal = { reason, message, retryAfterMs }
    if (request.complete) {
      sendRefusal(response, provider, refusal, id)
      return
    }
    response.setHeader('connection', 'close')
    writeRefusal(response, provider, refusal, id)
    void dropBody(request, this.#options.clock).then(() => response.end())
  }

  #bodyMessage(kind: 'body_too_large' | 'memory_full', maxBytes: number): string {
    if (kind === 'body_too_large')
      return `The request's body is larger than the ${maxBytes} bytes that the provider accepts.`
    return `Headgate holds ${this.#bodies.used} bytes of waiting requests and takes no more now.`
  }
}

/** The dialect of refusals for paths that are nobody's. */
function anyProvider(): Provider {
  const [first] = PROVIDERS
  if (!first) throw new Error('there is no provider')
  return first
}

const textOf = (value: string | string[] | undefined): string | null =>
  value === undefined ? null : String(value)

/** A Headgate key beside another's key: some clients always send one of their own. */
function bearerOfOurs(authorization: string | undefined): string | null {
  const words = authorization?.split(/\s+/) ?? []
  return words.find(looksLikeSecret) ?? null
}

const noKeyFor = ({ name }: Provider): string =>
  `Headgate: a Headgate key came with this request, but the gate has no key of its own for ${name}: set providers.${name}.api_key.`
