// One HTTP request and its answer, with the headers that every answer carries. Owns: identity of the
// caller and of the request. Must not know: endpoints.
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../core/clock.ts'
import { type ApiError, errorBody, statusOf } from './api-error.ts'
import { type Account, organizationId } from './emulated-provider.ts'

export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly #clock: Clock
  #account: Account | null = null

  constructor(request: IncomingMessage, response: ServerResponse, clock: Clock, id: string) {
    this.request = request
    this.response = response
    this.requestId = `req_01${id}`
    this.#clock = clock
    // The date must be the injected clock's: clients measure resets against it.
    response.sendDate = false
  }

  /** From now on answers name the organization. */
  identify(account: Account): void {
    this.#account = account
  }

  get path(): string {
    return (this.request.url ?? '/').split('?', 1)[0] ?? '/'
  }

  get query(): URLSearchParams {
    return new URLSearchParams((this.request.url ?? '').split('?')[1])
  }

  /** True when nobody is left to answer. */
  get isAbandoned(): boolean {
    return this.response.destroyed
  }

  json(status: number, body: unknown, headers: Record<string, string> = {}): void {
    this.#send(status, JSON.stringify(body), headers)
  }

  error(error: ApiError, headers: Record<string, string> = {}): void {
    const retryAfter =
      error.retryAfterSeconds === undefined
        ? {}
        : { 'retry-after': String(error.retryAfterSeconds) }
    this.#send(statusOf(error), errorBody(error, this.requestId), { ...headers, ...retryAfter })
  }

  /** Sends the head of an answer whose body follows in pieces. */
  begin(status: number, contentType: string, headers: Record<string, string>): void {
    this.response.writeHead(status, { ...this.#commonHeaders(contentType), ...headers })
  }

  /** Drops the connection as a broken network does, without a goodbye. */
  reset(): void {
    this.request.socket.resetAndDestroy()
  }

  #send(status: number, body: string, headers: Record<string, string>): void {
    if (this.isAbandoned) return
    // A client that is still sending reads its answer only if the rest is taken off its hands.
    this.request.resume()
    const length = String(Buffer.byteLength(body))
    this.begin(status, 'application/json', { ...headers, 'content-length': length })
    this.response.end(body)
  }

  #commonHeaders(contentType: string): Record<string, string> {
    const organization = this.#account
      ? { 'anthropic-organization-id': organizationId(this.#account.organization) }
      : {}
    return {
      'content-type': contentType,
      date: new Date(this.#clock.now()).toUTCString(),
      'request-id': this.requestId,
      ...organization,
    }
  }
}

/** The caller's credential, or null. */
export function credentialOf({ headers }: IncomingMessage): string | null {
  const key = headers['x-api-key']
  if (typeof key === 'string' && key !== '') return key
  return /^Bearer\s+(\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? null
}

/** What a report calls a credential, which may be a real one: never by itself. */
export function credentialName(credential: string): string {
  return `key-${createHash('sha256').update(credential).digest('hex').slice(0, 10)}`
}
