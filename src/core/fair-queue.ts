// The line. Owns: whose turn is next: lanes by priority with aging, and inside a lane weighted
// start-time fair queueing over cost. Must not know: limits, meters, time beyond what it is told.
//
// Each lane keeps a virtual time: the start tag of the turn served last. A flow's next turn starts
// where its last one finished, and never before the virtual time at which the flow came to the line;
// the smallest tag goes first, the longest waiting among equals. A turn of share s moves its flow's
// tag on by s / weight, so two flows that both have work stay within their largest turns of each
// other, for ever. (Goyal, Vin, Cheng: Start-time Fair Queueing, 1996.)
import type { EpochMs } from './clock.ts'
import { LANES } from './lane.ts'
import { Backlog, byAge, Flow, LaneQueue, type Ticket } from './line.ts'
import type { Place } from './ticket.ts'

/** Rested flows whose lead is remembered while others wait; more make the lane's time move on. */
const REMEMBERED_LEADS = 1000

/**
 * Virtual time is counted in whole ticks, so that sums of turns are exact, and a turn that is taken
 * back leaves nothing behind: fractions would, and equals would then go in another order. A double
 * holds two million turns of a whole limit each.
 */
const TICKS = 2 ** 32

export class FairQueue {
  /** How long a ticket waits in a lane before it rises to the next. */
  agingMs: number
  readonly #lanes = LANES.map(() => new LaneQueue())
  #waiting = 0
  #turns = 0

  constructor(agingMs: number) {
    this.agingMs = agingMs
  }

  get waiting(): number {
    return this.#waiting
  }

  /** When the next ticket rises a lane, unless its lane is served before; Infinity if none does. */
  get nextRiseAt(): EpochMs {
    let riseAt = Number.POSITIVE_INFINITY
    for (const lane of this.#lanes.slice(1)) {
      const oldest = lane.byAge.peek()
      if (oldest && this.#wasPassedOver(oldest))
        riseAt = Math.min(riseAt, oldest.laneSince + this.agingMs)
    }
    return riseAt
  }

  /** Flows that are remembered, for bounds and tests. */
  get flows(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.flows.size, 0)
  }

  /** Puts a ticket in line, in its lane: in its flow by age, which for a new one is the end. */
  append(ticket: Ticket): void {
    this.#join(ticket, Number.POSITIVE_INFINITY)
  }

  /**
   * Puts a ticket back among its flow's by age, with a turn that starts as early as its start tag
   * was. Its flow's other turns start no earlier for that.
   */
  restore(ticket: Ticket, startTag: number): void {
    this.#join(ticket, startTag)
  }

  /** Takes a waiting ticket out of line, and returns the place it had. */
  remove(ticket: Ticket): Place {
    const flow = flowOf(ticket)
    const { enqueuedAt, lane, laneSince } = ticket
    const startTag = flow.first === ticket ? flow.turnTag : ticket.startTag
    const wasFirst = flow.first === ticket
    this.#unlink(flow, ticket)
    ticket.flow = null
    if (flow.first === null) this.#rest(flow)
    else if (wasFirst) retag(flow)
    return { enqueuedAt, lane, laneSince, startTag }
  }

  /** Moves a waiting ticket to the end of its flow in the next higher lane. False in the highest. */
  raise(ticket: Ticket, now: EpochMs): boolean {
    if (ticket.laneIndex === 0) return false
    this.remove(ticket)
    ticket.laneIndex--
    ticket.laneSince = now
    this.append(ticket)
    return true
  }

  /** The ticket whose turn it is, or null. */
  head(now: EpochMs): Ticket | null {
    if (this.#waiting === 0) return null
    this.#age(now)
    for (const lane of this.#lanes) {
      const ticket = lane.backlogged.peek()?.first
      if (ticket) return ticket
    }
    return null
  }

  /** Takes the head out of line as served: its flow has had a turn of its share. */
  serve(ticket: Ticket): void {
    const flow = flowOf(ticket)
    const { lane } = flow
    lane.lastTurn = ++this.#turns
    lane.virtualTime = Math.max(lane.virtualTime, flow.turnTag)
    ticket.startTag = flow.turnTag
    this.#unlink(flow, ticket)
    flow.held++
    flow.tag += turnOf(ticket)
    if (flow.first) retag(flow)
    else this.#rest(flow)
    forgetPassed(lane)
  }

  /** Corrects a served ticket's turn: it took `shareDelta` more, or less, than was thought. */
  correct(ticket: Ticket, shareDelta: number): void {
    const { flow } = ticket
    if (!flow || shareDelta === 0) return
    flow.tag += timeOf(ticket, shareDelta)
    if (flow.first) retag(flow)
    else this.#rest(flow)
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
    const lane = this.#laneOf(ticket)
    const flow = lane.flows.get(ticket.flowName)
    return flow ? Math.max(lane.virtualTime, flow.tag) + flow.waitingShare : lane.virtualTime
  }

  /**
   * What goes before a ticket, in line or about to join, as far as can be told at once: all of the
   * higher lanes, and of its own lane as many turns of every flow as it takes to reach its own.
   */
  aheadOf(ticket: Ticket): Backlog {
    const ahead = new Backlog()
    for (const lane of this.#lanes.slice(0, ticket.laneIndex)) ahead.add(lane.backlog, 1)
    const lane = this.#laneOf(ticket)
    const others = new Backlog()
    others.add(lane.backlog, 1)
    if (ticket.flow) others.addTicket(ticket, -1)
    const rounds = ticket.flow ? rankOf(ticket) : lane.flows.get(ticket.flowName)?.waiting || 1
    const before = rounds * lane.backlogged.size - (ticket.flow ? 1 : 0)
    if (others.tickets > 0) ahead.add(others, Math.min(1, before / others.tickets))
    return ahead
  }

  #laneOf(ticket: Ticket): LaneQueue {
    const lane = this.#lanes[ticket.laneIndex]
    if (!lane) throw new Error(`there is no lane ${ticket.laneIndex}`)
    return lane
  }

  #join(ticket: Ticket, earlyTag: number): void {
    const flow = this.#flowFor(ticket)
    const { lane } = flow
    const wasIdle = flow.first === null
    ticket.flow = flow
    ticket.earlyTag = earlyTag
    ticket.joinedAtTurn = this.#turns
    ticket.startTag = Math.min(earlyTag, flow.tag + flow.waitingShare)
    link(flow, ticket)
    lane.byAge.push(ticket)
    this.#count(flow, ticket, 1)
    if (wasIdle) {
      flow.turnTag = Math.min(flow.tag, earlyTag)
      lane.backlogged.push(flow)
    } else if (flow.first === ticket) retag(flow)
  }

  #flowFor(ticket: Ticket): Flow {
    const lane = this.#laneOf(ticket)
    const known = lane.flows.get(ticket.flowName)
    if (!known) {
      const flow = new Flow(ticket.flowName, lane, lane.virtualTime)
      lane.flows.set(flow.name, flow)
      return flow
    }
    if (known.first === null) {
      lane.ahead.remove(known)
      known.tag = Math.max(known.tag, lane.virtualTime)
    }
    return known
  }

  /**
   * A flow has no waiting ticket. Its lead over the lane's time is remembered while others wait.
   * When nobody does, time moves on to the furthest tag, and all start equal again. It also moves on
   * when leads grow too many: else a line of ever new flows, which all start at the lane's time,
   * would hold that time still, and every flow that has had a turn back.
   */
  #rest(flow: Flow): void {
    const { lane } = flow
    lane.backlogged.remove(flow)
    lane.ahead.remove(flow)
    if (flow.tag > lane.virtualTime) lane.ahead.push(flow)
    else forgetUnheld(flow)
    const mostAhead = lane.backlogged.size === 0 ? 0 : REMEMBERED_LEADS
    for (let next = lane.ahead.peek(); next && lane.ahead.size > mostAhead; ) {
      lane.virtualTime = next.tag
      forgetPassed(lane)
      next = lane.ahead.peek()
    }
  }

  /** Lets tickets rise that have waited their time in a lane; from the lowest, since one may rise twice. */
  #age(now: EpochMs): void {
    for (let index = this.#lanes.length - 1; index > 0; index--) {
      const lane = this.#lanes[index]
      for (;;) {
        const ticket = lane?.byAge.peek()
        if (!ticket || ticket.laneSince + this.agingMs > now) break
        if (!this.#wasPassedOver(ticket)) break
        this.remove(ticket)
        ticket.laneIndex = index - 1
        ticket.laneSince += this.agingMs
        this.append(ticket)
      }
    }
  }

  /**
   * Whether a higher lane was served while a ticket waited. Where none was, its own lane's fair order
   * is all that it waits for, and rising would only upset that. Those behind it joined later, so what
   * is not true of it is not true of them.
   */
  #wasPassedOver(ticket: Ticket): boolean {
    const higher = this.#lanes.slice(0, ticket.laneIndex)
    return higher.some(({ lastTurn }) => lastTurn > ticket.joinedAtTurn)
  }

  #count(flow: Flow, ticket: Ticket, sign: 1 | -1): void {
    flow.waiting += sign
    flow.waitingShare = flow.waiting === 0 ? 0 : flow.waitingShare + sign * turnOf(ticket)
    flow.lane.backlog.addTicket(ticket, sign)
    this.#waiting += sign
  }

  #unlink(flow: Flow, ticket: Ticket): void {
    const { ahead, behind } = ticket
    if (ahead) ahead.behind = behind
    else flow.first = behind
    if (behind) behind.ahead = ahead
    else flow.last = ahead
    ticket.ahead = ticket.behind = null
    flow.lane.byAge.remove(ticket)
    this.#count(flow, ticket, -1)
  }
}

/** How much of virtual time a share of a ticket's weight moves on, or back. */
function timeOf(ticket: Ticket, share: number): number {
  return Math.trunc((share / ticket.weight) * TICKS) / TICKS
}

const turnOf = (ticket: Ticket): number => timeOf(ticket, ticket.share)

function flowOf(ticket: Ticket): Flow {
  if (!ticket.flow) throw new Error(`ticket ${ticket.id} is not in line`)
  return ticket.flow
}

/** Puts a ticket among its flow's, behind all that are older. */
function link(flow: Flow, ticket: Ticket): void {
  const { first } = flow
  let ahead = first && byAge(ticket, first) < 0 ? null : flow.last
  while (ahead && byAge(ticket, ahead) < 0) ahead = ahead.ahead
  ticket.ahead = ahead
  ticket.behind = ahead ? ahead.behind : first
  if (ticket.behind) ticket.behind.ahead = ticket
  else flow.last = ticket
  if (ahead) ahead.behind = ticket
  else flow.first = ticket
}

/** A backlogged flow's tag or first ticket has changed. */
function retag(flow: Flow): void {
  flow.turnTag = Math.min(flow.tag, flow.first?.earlyTag ?? Number.POSITIVE_INFINITY)
  flow.lane.backlogged.update(flow)
}

/** One for the first ticket of a flow, and so on; the last, which is asked for most, is known at once. */
function rankOf(ticket: Ticket): number {
  if (ticket.behind === null) return ticket.flow?.waiting ?? 1
  let rank = 1
  for (let ahead = ticket.ahead; ahead; ahead = ahead.ahead) rank++
  return rank
}

function forgetUnheld(flow: Flow): void {
  if (flow.held === 0) flow.lane.flows.delete(flow.name)
}

/** Forgets the leads that the lane's time has caught up with. */
function forgetPassed(lane: LaneQueue): void {
  for (let flow = lane.ahead.peek(); flow && flow.tag <= lane.virtualTime; ) {
    lane.ahead.remove(flow)
    forgetUnheld(flow)
    flow = lane.ahead.peek()
  }
}
