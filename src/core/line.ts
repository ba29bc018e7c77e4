// The records that a line is made of: tickets, which become leases, their holders, flows and lanes.
// Owns: what each remembers. Must not know: the order that they are kept in (fair-queue.ts), who may
// pass (gate.ts).
import type { EpochMs } from './clock.ts'
import type { CostVector } from './cost.ts'
import { Heap } from './heap.ts'
import { LANES, type Lane } from './lane.ts'
import type { TicketRequest } from './ticket.ts'

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

  /** Whose it is until it ends; null when it lasts whoever lives. Kept by `Holders`. */
  holder: LiveHolder | null = null

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

/** One who must be alive for its tickets to last. */
export class LiveHolder {
  readonly id: string
  /** It is believed to live until just before. */
  expiresAt: EpochMs
  /** In order of arrival. */
  readonly tickets = new Set<Ticket>()
  heapIndex = -1

  constructor(id: string, expiresAt: EpochMs) {
    this.id = id
    this.expiresAt = expiresAt
  }
}

/** One flow's turns in one lane. */
export class Flow {
  readonly name: string
  readonly lane: LaneQueue
  /** The virtual time at which its turns so far have finished. */
  tag: number
  /** The virtual time at which its first ticket's turn starts: `tag`, or earlier for a restored one. */
  turnTag: number
  /** Turns admitted and not yet settled: a correction may still come. */
  held = 0
  waiting = 0
  /** What its waiting tickets will add to its tag. */
  waitingShare = 0
  first: Ticket | null = null
  last: Ticket | null = null
  heapIndex = -1

  constructor(name: string, lane: LaneQueue, tag: number) {
    this.name = name
    this.lane = lane
    this.tag = this.turnTag = tag
  }
}

/** The longest waiting first. */
export const byAge = (a: Ticket, b: Ticket): number =>
  a.laneSince - b.laneSince || a.order - b.order

const byTag = (a: Flow, b: Flow): number => a.tag - b.tag

const byTurn = (a: Flow, b: Flow): number =>
  a.turnTag - b.turnTag || (a.first && b.first ? byAge(a.first, b.first) : 0)

/** How much waits: the sum of some tickets' estimates. */
export class Backlog {
  tickets = 0
  requests = 0
  input_tokens = 0
  output_tokens = 0
  tokens = 0
  cost = 0

  /** Adds `part` of another backlog. */
  add(other: Backlog, part: number): void {
    this.tickets += other.tickets * part
    this.#addCost(other, part)
  }

  addTicket(ticket: Ticket, sign: 1 | -1): void {
    this.tickets += sign
    this.#addCost(ticket.estimate, sign)
  }

  #addCost(cost: CostVector, part: number): void {
    this.requests += cost.requests * part
    this.input_tokens += cost.input_tokens * part
    this.output_tokens += cost.output_tokens * part
    this.tokens += cost.tokens * part
    this.cost += cost.cost * part
  }
}

/** The tickets and flows of one lane. */
export class LaneQueue {
  readonly flows = new Map<string, Flow>()
  readonly backlogged = new Heap<Flow>(byTurn)
  /** Flows without waiting turns whose tag is still ahead: remembered until time catches up. */
  readonly ahead = new Heap<Flow>(byTag)
  readonly byAge = new Heap<Ticket>(byAge)
  readonly backlog = new Backlog()
  virtualTime = 0
  /** The number of the turn that it was served last. */
  lastTurn = 0
}
