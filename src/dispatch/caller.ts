// The one who asked, as dispatch sees it. Owns: what a door hands in, and how it is answered.
// Must not know: HTTP servers, iterators, or what else a door may be.
import type { Readable } from 'node:stream'
import type { EpochMs } from '../core/clock.ts'
import type { Lane } from '../core/lane.ts'
import type { Refusal } from '../core/refusal.ts'
import type { Identity } from '../policy/subject.ts'
import type { Headers, Operation, Provider } from '../providers/provider.ts'
import type { OwnHeaders } from './limit-headers.ts'
import type { Again } from './tries.ts'
import type { UpstreamBase } from './upstream.ts'

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
  /** Where it goes; null: where the provider's calls go. */
  readonly base: UpstreamBase | null
  /** A whole body may be sent again; a stream can be sent once. */
  readonly body: Buffer | Readable | null
  readonly identity: Identity
  /** Whether a body that names its user is believed, where nothing else names one. */
  readonly believesBody: boolean
  /** The unit of fairness, where the caller names it: for callers whose user is not known. */
  readonly flow: string | null
  /** Null where the caller asks for none. */
  readonly lane: Lane | null
  /** A flow of weight 2 gets twice the share of a flow of weight 1. @default the subject's */
  readonly weight?: number
  /** When the caller will not wait any longer. */
  readonly deadlineAt: EpochMs
  /** How long a caller that wants no stream waits before it gives up and asks again. */
  readonly longestPlainWaitMs: number
  /**
   * Whether the ledger has the call before it is sent, at the most that it can cost, and what it used before
   * the answer ends: for callers that can wait, and may be killed. A ledger that is out of reach holds nobody
   * up for long. @default false
   */
  readonly waitsForLedger?: boolean
}

/** Where the answer goes. Exactly one of `end`, `refuse` and `fail` comes last. */
export interface Caller {
  /**
   * The call stands in line, for the first time or again. `own` is what can be said by now; `after` is why it is
   * sent once more, where it was sent before.
   */
  waiting(own: OwnHeaders, after?: Again['reason']): void
  /**
   * The call was sent, the connection broke before any answer, and it is sent again: what was sent may
   * cost as much as an answer does.
   */
  lost?(): void
  /** The provider's answer begins. `own` is what Headgate has to say beside it. */
  respond(status: number, headers: Headers, own: OwnHeaders): void
  /** Returns false when no more should come until `GovernedCall.resume`. */
  write(chunk: Buffer): boolean
  /** @param trailers what is known only now. */
  end(trailers: OwnHeaders): void
  /** Headgate's own no, before any answer has begun. */
  refuse(refusal: Refusal): void
  /** The answer broke off after it had begun. */
  fail(refusal: Refusal): void
}
