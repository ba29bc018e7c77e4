// A place in line, and the lease it becomes. Owns: the one record that both are, and what callers
// ask for and get. Must not know: the order of the line (fair-queue.ts), who may pass (gate.ts).
import type { EpochMs } from './clock.ts'
import type { CostVector } from './cost.ts'
import type { Flow } from './fair-queue.ts'
import { LANES, type Lane } from './lane.ts'

/** A place that a caller had and left. Given back when the same request comes again. */
export interface Place {
  readonly enqueuedAt: EpochMs
  readonly lane: Lane
  readonly laneSince: EpochMs
  /** The virtual time at which its turn would have started. */
  readonly startTag: number
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
}

/**
 * `waiting`: in line. `parked`: aside, for `unpark` to bring back. `retrying`: aside until its
 * back-off is over and the retry budget allows. `held`: admitted, a lease.
 */
export type TicketState = 'waiting' | 'parked' | 'retrying' | 'held'

/** The working record of a ticket. Fields that another file owns say so. */
export class Ticket {
  readonly id: string
  readonly flowName: string
  readonly weight: number
  readonly deadlineAt: EpochMs
  estimate: CostVector
  /** The largest fraction that the estimate takes of any limit: what fairness is counted in. */
  share: number
  state: TicketState = 'waiting'
  enqueuedAt: EpochMs
  /** Which of two that came at the same instant came first. Given by the gate. */
  order = 0
  grantedAt: EpochMs = Number.NEGATIVE_INFINITY
  /** Output tokens that the provider has counted already; null while it has not answered. */
  produced: number | null = null
  /** While `retrying`: the instant at which the back-off ends. Ordered by `heapIndex`. */
  retryAt: EpochMs = 0
  heapIndex = -1

  // Kept by the fair queue, which also orders by `heapIndex` while `waiting`.
  laneIndex: number
  laneSince: EpochMs
  startTag = 0
  /** How many turns the line had served when it joined its lane. */
  joinedAtTurn = 0
  /** The start tag that a restored ticket brought along; Infinity for others. */
  earlyTag = Number.POSITIVE_INFINITY
  flow: Flow | null = null
  ahead: Ticket | null = null
  behind: Ticket | null = null

  constructor(request: TicketRequest, share: number, now: EpochMs) {
    this.id = request.id
    this.flowName = request.flow
    this.weight = request.weight
    this.deadlineAt = request.deadlineAt
    this.estimate = request.estimate
    this.share = share
    this.enqueuedAt = request.place?.enqueuedAt ?? now
    this.laneSince = request.place?.laneSince ?? now
    this.laneIndex = LANES.indexOf(request.place?.lane ?? request.lane)
  }

  get lane(): Lane {
    return LANES[this.laneIndex] ?? 'low'
  }
}
