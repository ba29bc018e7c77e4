// The gate of one resource: a state machine that decides who passes, and when. Owns: what becomes of
// tickets and leases. Must not know: clocks, sockets, other resources, any store.
//
// Every operation takes the present instant, first ends what holders had who have died by then, and
// leaves the gate pumped: whoever may pass has passed. Those admitted are collected by `takeGrants`;
// `wakeAt` is when to call `pump` again.
import type {
  Bounce,
  GateSettings,
  GateSnapshot,
  LimitRefusal,
  Placement,
  Prediction,
  Refused,
} from './admission.ts'
import type { EpochMs } from './clock.ts'
import { type CostVector, isNothing } from './cost.ts'
import { FairQueue } from './fair-queue.ts'
import { Leases } from './leases.ts'
import { LimitStack } from './limit-stack.ts'
import { Ticket } from './line.ts'
import type { Observation } from './observation.ts'
import { Restraints } from './restraints.ts'
import { Retries } from './retries.ts'
import { Roll } from './roll.ts'
import type { OwnTicket, Place, TicketRequest, TicketView } from './ticket.ts'
import { Underway } from './underway.ts'

/** What was learnt of a provider's limits is worth keeping for so long without news. */
const LEARNT_IS_KEPT_MS = 3_600_000

const NEVER = Number.POSITIVE_INFINITY

export class Gate {
  #settings: GateSettings
  readonly #queue: FairQueue
  readonly #roll = new Roll()
  readonly #retries: Retries
  readonly #limits: LimitStack
  readonly #restraints: Restraints
  readonly #leases: Leases
  #grants: Ticket[] = []
  #nextAt: EpochMs = NEVER

  constructor(settings: GateSettings, now: EpochMs) {
    this.#settings = settings
    this.#queue = new FairQueue(settings.agingMs)
    this.#retries = new Retries(now)
    this.#limits = new LimitStack(settings.limits, settings.floors, now, settings.used)
    // Nobody else asks what a statement can have counted.
    const underway = settings.learns ? new Underway() : null
    this.#restraints = new Restraints(this.#limits, underway)
    this.#leases = new Leases(this.#limits, underway, this.#queue)
  }

  /** When the next ticket can be admitted without any further event; Infinity when none can. */
  get nextAt(): EpochMs {
    return this.#nextAt
  }

  /** When to call `pump` again if nothing happens: `nextAt`, or when a ticket rises a lane or expires. */
  get wakeAt(): EpochMs {
    return Math.min(this.#nextAt, this.#queue.nextRiseAt, this.#roll.nextExpiryAt)
  }

  get inFlight(): number {
    return this.#leases.held
  }

  /** Tickets that wait, those aside included. */
  get queued(): number {
    return this.#roll.size - this.#leases.held
  }

  /**
   * Puts other settings in force, for those who wait too. Whether limits are learnt stays as it was;
   * so does what is used, wherever only an amount has changed.
   */
  configure(settings: GateSettings, now: EpochMs): void {
    this.#expire(now)
    this.#settings = settings
    this.#queue.agingMs = settings.agingMs
    this.#limits.configure(settings.limits, settings.floors, now)
    this.pump(now)
  }

  /** The tickets admitted since the last call, in order. */
  takeGrants(): readonly Ticket[] {
    const grants = this.#grants
    if (grants.length > 0) this.#grants = []
    return grants
  }

  /** A ticket that is here already, since its first answer was lost, is answered as it stands. */
  enqueue(request: TicketRequest, now: EpochMs): Placement {
    const known = this.#find(request.id, now)
    if (known) this.#roll.heardOf(request.holder, now)
    const ticket = known ?? this.#ticketFor(request, now)
    const refusal = known ? null : this.#judge(ticket, request, now)
    this.pump(now)
    if (refusal) return refusal
    if (ticket.state === 'held') return { kind: 'admitted' }
    return { kind: 'waiting', ...this.#predict(ticket, now) }
  }

  /** Takes a ticket out of line. Returns its place, or null when it is not waiting here. */
  cancel(id: string, now: EpochMs): Place | null {
    const ticket = this.#find(id, now)
    const place = ticket && ticket.state !== 'held' ? this.#leaveLine(ticket) : null
    if (ticket && place) this.#roll.remove(ticket)
    this.pump(now)
    return place
  }

  /** Takes a ticket out: one that waits leaves its line, a lease gives back all that it took. */
  leave(id: string, now: EpochMs): boolean {
    const ticket = this.#find(id, now)
    if (ticket) {
      if (ticket.state === 'held') this.#leases.refund(ticket, now)
      else this.#leaveLine(ticket)
      this.#roll.remove(ticket)
    }
    this.pump(now)
    return ticket !== null
  }

  /** Raises a waiting ticket one lane. False when it is not in line, or in the highest lane. */
  raise(id: string, now: EpochMs): boolean {
    const ticket = this.#find(id, now)
    const isRaised = ticket?.state === 'waiting' && this.#queue.raise(ticket, now)
    this.pump(now)
    return isRaised
  }

  /** Brings a parked ticket back in line, where it would be by now, with a fresh estimate. */
  unpark(id: string, estimate: CostVector, now: EpochMs): boolean {
    const ticket = this.#find(id, now)
    const isParked = ticket?.state === 'parked'
    if (isParked) {
      this.#reprice(ticket, estimate)
      this.#restore(ticket)
    }
    this.pump(now)
    return isParked
  }

  /**
   * Ends a lease with what it really cost. A lease that is not here any more is left alone, so
   * settling twice is harmless.
   *
   * @param exact whether the provider reported it; an estimate may charge more but refunds nothing.
   */
  settle(id: string, actual: CostVector, exact: boolean, now: EpochMs): boolean {
    const lease = this.#findLease(id, now)
    if (lease) {
      this.#leases.settle(lease, actual, exact, now)
      this.#roll.remove(lease)
    }
    this.pump(now)
    return lease !== null
  }

  /** Ends a lease that cost nothing: all that it took is given back. */
  release(id: string, now: EpochMs): boolean {
    const lease = this.#findLease(id, now)
    if (lease) {
      this.#leases.refund(lease, now)
      this.#roll.remove(lease)
    }
    this.pump(now)
    return lease !== null
  }

  /**
   * Follows a lease as its answer comes: what it is now thought to cost in all, and how many output
   * tokens of that the provider has counted already; null while it has not answered.
   */
  revise(id: string, estimate: CostVector, produced: number | null, now: EpochMs): boolean {
    const lease = this.#findLease(id, now)
    if (lease) this.#leases.revise(lease, estimate, produced, now)
    this.pump(now)
    return lease !== null
  }

  /** The provider has begun to answer a lease: news for the ramp and for the bounds on load. */
  answered(firstAnswerMs: number | null, now: EpochMs): void {
    this.#expire(now)
    this.#restraints.answered(firstAnswerMs, now)
    this.#retries.succeeded(now)
    this.pump(now)
  }

  /** A lease could not be used. Its ticket goes back to the front of its flow, for nothing. */
  bounce(id: string, bounce: Bounce, now: EpochMs): boolean {
    const lease = this.#findLease(id, now)
    if (lease) this.#putBack(lease, bounce, now)
    this.pump(now)
    return lease !== null
  }

  /** Takes in what an answer says of the provider's limits. */
  observe(observation: Observation, now: EpochMs): void {
    this.#expire(now)
    this.#restraints.observe(observation, now)
    this.pump(now)
  }

  /** The provider refused a request for a limit's sake, and nobody waits for that one here. */
  refused(refusal: LimitRefusal, now: EpochMs): void {
    this.#expire(now)
    this.#restraints.refused(refusal, now)
    this.pump(now)
  }

  /** Admits nobody before `until`. An earlier pause is never shortened. */
  pause(until: EpochMs, now: EpochMs): void {
    this.#expire(now)
    this.#restraints.pause(until, now)
    this.pump(now)
  }

  /** A holder lives, and is believed to for so long. False when it has nothing here (any more). */
  renew(holderId: string, ttlMs: number, now: EpochMs): boolean {
    this.#expire(now)
    const isKnown = this.#roll.renew(holderId, now + ttlMs)
    this.pump(now)
    return isKnown
  }

  /**
   * Takes in tickets that their owners know of and this gate may not. See `Store.rejoin`.
   *
   * @param life names what this gate remembers: a lease that was counted in it is not counted twice.
   * @returns those that are leases by now. Their grants are not told again.
   */
  rejoin(
    tickets: readonly OwnTicket[],
    spent: CostVector,
    life: string | null,
    now: EpochMs,
  ): readonly string[] {
    this.#expire(now)
    if (!isNothing(spent)) this.#limits.charge(spent, now)
    for (const own of tickets) this.#rejoin(own, life, now)
    this.pump(now)
    const ids = tickets.map(({ request }) => request.id)
    const held = new Set(ids.filter((id) => this.#roll.findLease(id)))
    this.#grants = this.#grants.filter(({ id }) => !held.has(id))
    return [...held]
  }

  /** Admits from the head of the line while the limits allow, and works out `nextAt`. */
  pump(now: EpochMs): void {
    this.#expire(now)
    for (;;) {
      this.#releaseRetries(now)
      const ticket = this.#queue.head(now)
      if (!ticket) {
        this.#restraints.bindNobody()
        this.#nextAt = this.#retries.nextAt(now)
        return
      }
      const readyAt = this.#restraints.readyAt(ticket.estimate, this.#leases.held, now)
      if (readyAt > now) {
        this.#nextAt = Math.min(readyAt, this.#retries.nextAt(now))
        return
      }
      this.#admit(ticket, now)
    }
  }

  /** Where a waiting ticket stands, or null when it does not wait here. */
  position(id: string, now: EpochMs): Prediction | null {
    const ticket = this.#roll.find(id)
    return !ticket || ticket.state === 'held' ? null : this.#predict(ticket, now)
  }

  /** One of those who are here, or null. */
  ticket(id: string): TicketView | null {
    return this.#roll.view(id)
  }

  /** Who is here, in order of arrival; no more than `most` of them. */
  tickets(most: number): readonly TicketView[] {
    return this.#roll.views(most)
  }

  /** Gives up all tickets and leases, in arrival order, for another gate to take in. */
  takeAll(): readonly Ticket[] {
    const all = this.#roll.takeAll()
    for (const ticket of all) {
      if (ticket.state === 'held') this.#leases.giveUp(ticket)
      else this.#leaveLine(ticket)
      ticket.flow = null
    }
    this.#restraints.bindNobody()
    this.#nextAt = NEVER
    return all
  }

  /**
   * Takes in what another gate gave up, bounds and deadlines aside: nobody is lost, and what leases
   * consume is not taken for somebody else's. The other line's virtual time means nothing here, so
   * each flow starts as if it came now.
   */
  adopt(tickets: readonly Ticket[], now: EpochMs): void {
    this.#expire(now)
    this.#limits.forgetOthers(now)
    for (const ticket of tickets) {
      this.#roll.adopt(ticket)
      ticket.share = this.#limits.shareOf(ticket.estimate)
      if (ticket.state === 'held') {
        this.#leases.take(ticket, now)
        continue
      }
      ticket.startTag = this.#queue.startTagOf(ticket)
      if (ticket.state === 'waiting') this.#queue.append(ticket)
      else if (ticket.state === 'retrying') this.#retries.add(ticket)
    }
    this.pump(now)
  }

  /** Whether nothing would be lost by forgetting this gate: nobody waits, holds or owes, and no news is kept. */
  isIdle(now: EpochMs): boolean {
    return (
      this.#roll.size === 0 &&
      this.#restraints.isIdle(now) &&
      this.#retries.isUnspent(now) &&
      this.#limits.isFull(now) &&
      this.#limits.learntAt + LEARNT_IS_KEPT_MS <= now
    )
  }

  snapshot(now: EpochMs): GateSnapshot {
    const { boundBy, concurrencyLimit, pausedUntil } = this.#restraints
    return {
      inFlight: this.#leases.held,
      queued: this.queued,
      nextAt: this.#nextAt === NEVER ? null : this.#nextAt,
      boundBy,
      pausedUntil: pausedUntil > now ? pausedUntil : null,
      concurrencyLimit: concurrencyLimit === NEVER ? null : Math.floor(concurrencyLimit),
      oldestEnqueuedAt: this.#roll.oldestEnqueuedAt,
      limits: this.#limits.snapshot(now),
    }
  }

  /** What dead holders had leaves the line, or ends as used: what it took stays counted. */
  #expire(now: EpochMs): void {
    while (this.#roll.nextExpiryAt <= now) {
      for (const ticket of this.#roll.takeExpired(now)) {
        if (ticket.state === 'held') this.#leases.end(ticket, now)
        else this.#leaveLine(ticket)
      }
    }
  }

  #find(id: string, now: EpochMs): Ticket | null {
    this.#expire(now)
    return this.#roll.find(id)
  }

  #findLease(id: string, now: EpochMs): Ticket | null {
    this.#expire(now)
    return this.#roll.findLease(id)
  }

  #ticketFor(request: TicketRequest, now: EpochMs): Ticket {
    return new Ticket(request, this.#limits.shareOf(request.estimate), now)
  }

  /** Takes a newcomer in, unless it is to be refused. */
  #judge(ticket: Ticket, request: TicketRequest, now: EpochMs): Refused | null {
    const passes = !request.parked && this.#passesAtOnce(ticket, now)
    // Whoever had a place before is taken back: the wait that a newcomer faces is not its own.
    const refusal = passes || request.place ? null : this.#refusalOf(ticket, now)
    if (!refusal) this.#take(ticket, request, now)
    if (passes) this.#admit(ticket, now)
    return refusal
  }

  /** Nobody is before it and nothing restrains: a ticket passes as if there were no gate. */
  #passesAtOnce(ticket: Ticket, now: EpochMs): boolean {
    if (this.#queue.waiting > 0) return false
    return this.#restraints.readyAt(ticket.estimate, this.#leases.held, now) <= now
  }

  #refusalOf(ticket: Ticket, now: EpochMs): Refused | null {
    const prediction = this.#predict(ticket, now)
    if (this.queued >= this.#settings.maxQueued)
      return { kind: 'refused', reason: 'queue_full', ...prediction }
    const { expectedAt } = prediction
    if (expectedAt > ticket.deadlineAt && expectedAt !== NEVER)
      return { kind: 'refused', reason: 'wait_too_long', ...prediction }
    return null
  }

  #take(ticket: Ticket, { parked, place, holder }: TicketRequest, now: EpochMs): void {
    this.#roll.add(ticket, holder, now)
    if (parked) {
      ticket.state = 'parked'
      ticket.startTag = place?.startTag ?? this.#queue.startTagOf(ticket)
    } else if (place) {
      this.#queue.restore(ticket, place.startTag)
    } else {
      this.#queue.append(ticket)
    }
  }

  #rejoin(own: OwnTicket, life: string | null, now: EpochMs): void {
    const { request, grantedAt } = own
    const known = this.#roll.find(request.id)
    if (known) this.#roll.heardOf(request.holder, now)
    if (known?.state === 'held' || (known && grantedAt === null)) return
    const ticket = known ?? this.#ticketFor(request, now)
    if (grantedAt === null) {
      this.#take(ticket, request, now)
      return
    }
    if (known) {
      ticket.startTag = this.#leaveLine(known).startTag
    } else {
      this.#roll.add(ticket, request.holder, now)
      ticket.startTag = this.#queue.startTagOf(ticket)
    }
    const isCounted = !known && life !== null && own.countedIn === life
    if (isCounted) this.#leases.takeBack(ticket, grantedAt, now)
    else this.#leases.grant(ticket, now)
  }

  #admit(ticket: Ticket, now: EpochMs): void {
    this.#queue.serve(ticket)
    this.#leases.grant(ticket, now)
    this.#restraints.admitted(now)
    this.#grants.push(ticket)
  }

  #reprice(ticket: Ticket, estimate: CostVector): void {
    ticket.estimate = estimate
    ticket.share = this.#limits.shareOf(estimate)
  }

  #putBack(ticket: Ticket, bounce: Bounce, now: EpochMs): void {
    if (bounce.kind === 'overloaded') this.#restraints.overloaded(this.#leases.held, now)
    if (bounce.kind === 'repriced') this.#leases.undo(ticket, now)
    else this.#leases.refund(ticket, now)
    if (bounce.kind === 'rate_limited') this.#restraints.refused(bounce, now)
    if (bounce.kind === 'repriced') this.#reprice(ticket, bounce.estimate)
    if (bounce.kind === 'overloaded' || bounce.kind === 'disconnected') {
      ticket.state = 'retrying'
      ticket.retryAt = now + bounce.backoffMs
      this.#retries.add(ticket)
    } else {
      this.#restore(ticket)
    }
  }

  /** A ticket that stood aside, or was a lease, is back in line with the turn that it had. */
  #restore(ticket: Ticket): void {
    ticket.state = 'waiting'
    this.#queue.restore(ticket, ticket.startTag)
  }

  #leaveLine(ticket: Ticket): Place {
    if (ticket.state === 'waiting') return this.#queue.remove(ticket)
    this.#retries.remove(ticket)
    const { enqueuedAt, lane, laneSince, startTag } = ticket
    return { enqueuedAt, lane, laneSince, startTag }
  }

  /** Lets retries rejoin the line whose back-off is over, as far as the shared budget goes. */
  #releaseRetries(now: EpochMs): void {
    for (let ticket = this.#retries.takeReady(now); ticket; ticket = this.#retries.takeReady(now))
      this.#restore(ticket)
  }

  /** Adds up what goes before a ticket, and asks when all of that and the ticket could have passed. */
  #predict(ticket: Ticket, now: EpochMs): Prediction {
    return this.#restraints.predict(this.#queue.aheadOf(ticket), ticket.estimate, now)
  }
}
