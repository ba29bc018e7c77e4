// What a caller asks a gate for. Owns: the request for a ticket, and the place that one leaves.
// Must not know: the working record of a ticket (line.ts).
import type { EpochMs } from './clock.ts'
import type { CostVector } from './cost.ts'
import type { Lane } from './lane.ts'

/** A place that a caller had and left. Given back when the same request comes again. */
export interface Place {
  readonly enqueuedAt: EpochMs
  readonly lane: Lane
  readonly laneSince: EpochMs
  /** The virtual time at which its turn would have started. */
  readonly startTag: number
}

/** Whose signs of life keep a ticket, or the lease that it became. */
export interface Holder {
  readonly id: string
  /** How long it is believed to live after each sign of life. */
  readonly ttlMs: number
}

export interface TicketRequest {
  /** Names the ticket, then its lease. Chosen by the caller, unique among those alive. */
  readonly id: string
  readonly resource: string
  /** The unit of fairness: an agent, a user, a key. */
  readonly flow: string
  readonly lane: Lane
  /** A flow of weight 2 gets twice the share of a flow of weight 1. */
  readonly weight: number
  readonly estimate: CostVector
  /** A ticket that cannot be admitted by then, as far as can be told, is refused at once. */
  readonly deadlineAt: EpochMs
  readonly place: Place | null
  /** Waits aside, blocking nobody, until `unpark`. */
  readonly parked: boolean
  /** Who must be alive for it to last; null: the process that asks, as its store sees it. */
  readonly holder: Holder | null
}

/** A ticket that its owner knows of, brought to a gate that may not know it (any more). */
export interface OwnTicket {
  readonly request: TicketRequest
  /** When it became a lease; null while it waits. */
  readonly grantedAt: EpochMs | null
  /** Which life of a gate has counted what it took; null when none has. See `Store.rejoin`. */
  readonly countedIn: string | null
}

/** A ticket, or the lease that it became, as its store sees it. */
export interface TicketView {
  readonly id: string
  readonly state: 'waiting' | 'held'
  readonly flow: string
  readonly lane: Lane
  readonly estimate: CostVector
  readonly enqueuedAt: EpochMs
  /** Null while it waits. */
  readonly grantedAt: EpochMs | null
  /** When it ends if its holder gives no further sign of life; Infinity where nobody has to. */
  readonly expiresAt: EpochMs
}
