// The way to the provider, as dispatch sees it. Owns: the contract of a transport. Must not know:
// which library or wire carries it.
import type { Readable } from 'node:stream'
import type { Headers } from '../providers/provider.ts'

/** Where a provider's calls go. */
export interface UpstreamBase {
  readonly origin: string
  /** Comes before every path; empty, or begins with a slash and does not end with one. */
  readonly pathPrefix: string
}

export interface UpstreamRequest {
  readonly origin: string
  readonly method: string
  readonly path: string
  /** Names and values in turn, as they came. */
  readonly headers: readonly string[]
  readonly body: Buffer | Readable | null
}

/**
 * Why no answer, or no more of it, will come. `unreachable`: no connection, so nothing was sent.
 * `timeout`: silence. `broken`: anything else, such as a reset or an answer that is not HTTP.
 */
export interface UpstreamFailure {
  readonly kind: 'unreachable' | 'timeout' | 'broken'
  /** For a person; names no secret. */
  readonly detail: string
}

/** Is told of an answer as it comes. After `onEnd` or `onFailure` nothing follows. */
export interface UpstreamHandler {
  onHeaders(status: number, headers: Headers): void
  /** Returns false when it wants no more until `resume`. */
  onData(chunk: Buffer): boolean
  onEnd(): void
  onFailure(failure: UpstreamFailure): void
}

/** A request under way. */
export interface Flight {
  resume(): void
  /** Ends it at once. The handler hears nothing more. */
  abort(): void
}

export interface Upstream {
  send(request: UpstreamRequest, handler: UpstreamHandler): Flight
}
