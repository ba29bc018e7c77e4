// The one who asked, as dispatch sees it. Owns: what a door hands in, and how it is answered.
// Must not know: HTTP servers, iterators, or what else a door may be.
import type { Readable } from 'node:stream'
import type { EpochMs } from '../core/clock.ts'
import type { Lane } from '../core/lane.ts'
import type { Refusal } from '../core/refusal.ts'
import type { Headers, Operation, Provider } from '../providers/provider.ts'

/** A call as a door hands it in. */
export interface CallRequest {
  readonly id: string
  readonly provider: Provider
  readonly operation: Operation
  readonly method: string
  /** What the caller sent, for describing the call. */
  readonly headers: Headers
  /** What goes upstream: names and values in turn. */
  readonly forwardHeaders: readonly string[]
  /** A whole body may be sent again; a stream can be sent once. */
  readonly body: Buffer | Readable | null
  /** The unit of fairness, where the caller names it; else its session, else its credential. */
  readonly flow: string | null
  readonly lane: Lane
  /** When the caller will not wait any longer. */
  readonly deadlineAt: EpochMs
  /** How long a caller that wants no stream waits before it gives up and asks again. */
  readonly longestPlainWaitMs: number
}

/** Where the answer goes. Exactly one of `end`, `refuse` and `fail` comes last. */
export interface Caller {
  /** The call stands in line, for the first time or again. */
  waiting(): void
  /** The provider's answer begins. */
  respond(status: number, headers: Headers, queuedMs: number): void
  /** Returns false when no more should come until `GovernedCall.resume`. */
  write(chunk: Buffer): boolean
  end(): void
  /** Headgate's own no, before any answer has begun. */
  refuse(refusal: Refusal): void
  /** The answer broke off after it had begun. */
  fail(refusal: Refusal): void
}
