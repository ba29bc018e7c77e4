// The line. Owns: whose turn is next: lanes by priority with aging, and inside a lane weighted
// start-time fair queueing over cost. Must not know: limits, meters, time beyond what it is told.
//
// Each lane keeps a virtual time: the start tag of the turn served last. A flow's next turn starts
// where its last one finished, and never before the virtual time at which the flow came to the line;
// the smallest tag goes first. A turn of share s moves its flow's tag on by s / weight, so two flows
// that both have work stay within their largest turns of each other, for ever.
// (Goyal, Vin, Cheng: Start-time Fair Queueing, 1996.)
import type { EpochMs } from './clock.ts'
import type { CostVector } from './cost.ts'
import { Heap } from './heap.ts'
import { LANES } from './lane.ts'
import type { Place, Ticket } from './ticket.ts'

/** One flow's turns in one lane. */
export class Flow {
  readonly name: string
  readonly lane: LaneQueue
  /** The virtual time at which its next turn starts. */
  tag: number
  /** Turns admitted and not yet settled: a correction may still come. */
  held = 0
  waiting = 0
  first: Ticket | null = null
  last: Ticket | null = null
  heapIndex = -1
  readonly order: number

  constructor(name: string, lane: LaneQueue, tag: number, order: number) {
    this.name = name
    this.lane = lane
    this.tag = tag
    this.order = order
  }
}

const byTag = (a: Flow, b: Flow): number => a.tag - b.tag || a.order - b.order

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
    this.addCost(other, part)
  }

  addCost(cost: CostVector, part: number): void {
    this.requests += cost.requests * part
    this.input_tokens += cost.input_tokens * part
    this.output_tokens += cost.output_tokens * part
    this.tokens += cost.tokens * part
    this.cost += cost.cost * part
  }
}

/** The part of a lane that goes before a flow's last turn: as many turns of every flow as it has itself. */
function fairFraction(lane: LaneQueue, flowName: string): number {
  if (lane.backlog.tickets === 0) return 0
  const turns = lane.flows.get(flowName)?.waiting || 1
  return Math.min(1, (turns * lane.backlogged.size) / lane.backlog.tickets)
}

class LaneQueue {
  readonly flows = new Map<string, Flow>()
  readonly backlogged = new Heap<Flow>(byTag)
  /** Flows without waiting turns whose tag is still ahead: remembered until time catches up. */
  readonly ahead = new Heap<Flow>(byTag)
  virtualTime = 0
  readonly backlog = new Backlog()
  oldest: Ticket | null = null
  youngest: Ticket | null = null
}

export class FairQueue {
  readonly #lanes = LANES.map(() => new LaneQueue())
  readonly #agingMs: number
  #flowOrder = 0
  #waiting = 0

  /** @param agingMs how long a ticket waits in a lane before it rises to the next. */
  constructor(agingMs: number) {
    this.#agingMs = agingMs
  }

  get waiting(): number {
    return this.#waiting
  }

  /** Flows that are remembered, for bounds and tests. */
  get flows(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.flows.size, 0)
  }

  /** Puts a ticket at the end of its flow, in its lane. */
  append(ticket: Ticket): void {
    const flow = this.#join(ticket)
    ticket.startTag = flow.tag
    this.#linkLast(flow, ticket)
    this.#linkYoungest(flow.lane, ticket)
    if (flow.first === ticket) flow.lane.backlogged.push(flow)
  }

  /** Puts a ticket back at the front of its flow, as early as its start tag was. */
  restore(ticket: Ticket, startTag: number): void {
    const flow = this.#join(ticket)
    const wasIdle = flow.first === null
    if (wasIdle) flow.tag = Math.min(flow.tag, startTag)
    ticket.startTag = flow.tag
    this.#linkFirst(flow, ticket)
    this.#linkOldest(flow.lane, ticket)
    if (wasIdle) flow.lane.backlogged.push(flow)
  }

  /** Takes a waiting ticket out of line, and returns the place it had. */
  remove(ticket: Ticket): Place {
    const { flow } = ticket
    if (!flow) throw new Error(`ticket ${ticket.id} is not in line`)
    const place: Place = {
      enqueuedAt: ticket.enqueuedAt,
      lane: ticket.lane,
      laneSince: ticket.laneSince,
      startTag: flow.first === ticket ? flow.tag : ticket.startTag,
    }
    this.#unlink(flow, ticket)
    ticket.flow = null
    if (flow.first === null) this.#rest(flow)
    return place
  }

  /** The ticket whose turn it is, or null. */
  head(now: EpochMs): Ticket | null {
    this.#age(now)
    for (const lane of this.#lanes) {
      const ticket = lane.backlogged.peek()?.first
      if (ticket) return ticket
    }
    return null
  }

  /** Takes the head out of line as served: its flow has had a turn of its share. */
  serve(ticket: Ticket): void {
    const { flow } = ticket
    if (!flow) throw new Error(`ticket ${ticket.id} is not in line`)
    const { lane } = flow
    lane.virtualTime = Math.max(lane.virtualTime, flow.tag)
    ticket.startTag = flow.tag
    this.#unlink(flow, ticket)
    flow.held++
    flow.tag += ticket.share / ticket.weight
    if (flow.first) lane.backlogged.update(flow)
    else this.#rest(flow)
    this.#forgetPassed(lane)
  }

  /** Corrects a served ticket's turn: it took `shareDelta` more, or less, than was thought. */
  correct(ticket: Ticket, shareDelta: number): void {
    const { flow } = ticket
    if (!flow || shareDelta === 0) return
    flow.tag += shareDelta / ticket.weight
    if (flow.first) flow.lane.backlogged.update(flow)
    else flow.lane.ahead.update(flow)
  }

  /** A served ticket's turn is over: no correction will come. */
  finish(ticket: Ticket): void {
    const { flow } = ticket
    if (!flow) return
    ticket.flow = null
    flow.held--
    if (flow.first === null) this.#rest(flow)
  }

  /** The virtual time at which a ticket's turn would start if it joined now. */
  startTagOf(ticket: Ticket): number {
    const lane = this.#lanes[ticket.laneIndex]
    if (!lane) throw new Error(`there is no lane ${ticket.laneIndex}`)
    return Math.max(lane.virtualTime, lane.flows.get(ticket.flowName)?.tag ?? 0)
  }

  /** What would be served before a ticket that joined the end of a flow now, as far as can be told at once. */
  aheadOf(laneIndex: number, flowName: string): Backlog {
    const ahead = new Backlog()
    for (const [index, lane] of this.#lanes.entries()) {
      if (index > laneIndex) break
      const part = index < laneIndex ? 1 : fairFraction(lane, flowName)
      ahead.add(lane.backlog, part)
    }
    return ahead
  }

  /**
   * Visits every waiting ticket of every lane in no particular order. For snapshots and merging, not
   * for deciding.
   */
  *[Symbol.iterator](): Generator<Ticket> {
    for (const lane of this.#lanes) {
      for (let ticket = lane.oldest; ticket; ticket = ticket.younger) yield ticket
    }
  }

  /** The flow of a ticket, which from here on has a ticket waiting. */
  #join(ticket: Ticket): Flow {
    const lane = this.#lanes[ticket.laneIndex]
    if (!lane) throw new Error(`there is no lane ${ticket.laneIndex}`)
    let flow = lane.flows.get(ticket.flowName)
    if (!flow) {
      flow = new Flow(ticket.flowName, lane, lane.virtualTime, this.#flowOrder++)
      lane.flows.set(flow.name, flow)
    } else if (flow.first === null) {
      lane.ahead.remove(flow)
      flow.tag = Math.max(flow.tag, lane.virtualTime)
    }
    ticket.flow = flow
    this.#count(flow, ticket, 1)
    return flow
  }

  /** A flow has no waiting ticket any more. */
  #rest(flow: Flow): void {
    const { lane } = flow
    lane.backlogged.remove(flow)
    if (lane.backlog.tickets === 0) this.#endBusyPeriod(lane, flow)
    if (flow.tag > lane.virtualTime) {
      if (flow.heapIndex < 0) lane.ahead.push(flow)
    } else if (flow.held === 0) {
      lane.ahead.remove(flow)
      lane.flows.delete(flow.name)
    }
  }

  /** Nobody waits: all flows start equal again at the furthest tag. */
  #endBusyPeriod(lane: LaneQueue, last: Flow): void {
    lane.virtualTime = Math.max(lane.virtualTime, last.tag)
    this.#forgetPassed(lane)
  }

  #forgetPassed(lane: LaneQueue): void {
    for (;;) {
      const flow = lane.ahead.peek()
      if (!flow || flow.tag > lane.virtualTime) return
      lane.ahead.pop()
      if (flow.held === 0) lane.flows.delete(flow.name)
    }
  }

  /** Lets tickets rise that have waited their time in a lane. */
  #age(now: EpochMs): void {
    for (let index = 1; index < this.#lanes.length; index++) {
      const lane = this.#lanes[index]
      for (;;) {
        const ticket = lane?.oldest
        if (!ticket || ticket.laneSince + this.#agingMs > now) break
        this.remove(ticket)
        ticket.laneIndex = index - 1
        ticket.laneSince = now
        this.append(ticket)
      }
    }
  }

  #count(flow: Flow, ticket: Ticket, sign: 1 | -1): void {
    const { lane } = flow
    flow.waiting += sign
    lane.backlog.tickets += sign
    lane.backlog.addCost(ticket.estimate, sign)
    this.#waiting += sign
  }

  #linkLast(flow: Flow, ticket: Ticket): void {
    ticket.ahead = flow.last
    ticket.behind = null
    if (flow.last) flow.last.behind = ticket
    else flow.first = ticket
    flow.last = ticket
  }

  #linkFirst(flow: Flow, ticket: Ticket): void {
    ticket.ahead = null
    ticket.behind = flow.first
    if (flow.first) flow.first.ahead = ticket
    else flow.last = ticket
    flow.first = ticket
  }

  #linkYoungest(lane: LaneQueue, ticket: Ticket): void {
    ticket.older = lane.youngest
    ticket.younger = null
    if (lane.youngest) lane.youngest.younger = ticket
    else lane.oldest = ticket
    lane.youngest = ticket
  }

  #linkOldest(lane: LaneQueue, ticket: Ticket): void {
    ticket.older = null
    ticket.younger = lane.oldest
    if (lane.oldest) lane.oldest.older = ticket
    else lane.youngest = ticket
    lane.oldest = ticket
  }

  #unlink(flow: Flow, ticket: Ticket): void {
    const { lane } = flow
    if (ticket.ahead) ticket.ahead.behind = ticket.behind
    else flow.first = ticket.behind
    if (ticket.behind) ticket.behind.ahead = ticket.ahead
    else flow.last = ticket.ahead
    if (ticket.older) ticket.older.younger = ticket.younger
    else lane.oldest = ticket.younger
    if (ticket.younger) ticket.younger.older = ticket.older
    else lane.youngest = ticket.older
    ticket.ahead = ticket.behind = ticket.older = ticket.younger = null
    this.#count(flow, ticket, -1)
  }
}
