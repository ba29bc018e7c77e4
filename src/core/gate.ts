// The gate of one resource: a state machine that decides who passes, and when. Owns: tickets,
// leases, and the order of checks. Must not know: clocks, sockets, other resources, any store.
//
// Every operation takes the present instant and leaves the gate pumped: whoever may pass has passed.
// Those admitted are collected by `takeGrants`; `nextAt` is when to call `pump` again.
import { AdaptiveConcurrency } from './adaptive-concurrency.ts'
import type {
  Binding,
  Bounce,
  GateSettings,
  GateSnapshot,
  LimitRefusal,
  Placement,
  Prediction,
  Refused,
} from './admission.ts'
import type { EpochMs } from './clock.ts'
import type { CostVector } from './cost.ts'
import { FairQueue } from './fair-queue.ts'
import { Heap } from './heap.ts'
import { LimitStack } from './limit-stack.ts'
import { Ticket } from './line.ts'
import { TokenBucket } from './meters/token-bucket.ts'
import type { Observation } from './observation.ts'
import { AFTER_REFUSAL, COLD_START, Ramp } from './ramp.ts'
import type { Place, TicketRequest } from './ticket.ts'
import { Underway } from './underway.ts'

/** A pause that the provider gave no length for: doubled at each refusal in a row, up to the most. */
const FIRST_PAUSE_MS = 1000
const LONGEST_GUESSED_PAUSE_MS = 60_000
const LONGEST_PAUSE_MS = 3_600_000

/** Retries after overload, shared by all callers: so many at once, so many a minute, and one for each success. */
const RETRY_BURST = 10
const RETRIES_PER_MINUTE = 20

/** What was learnt of a provider's limits is worth keeping for so long without news. */
const LEARNT_IS_KEPT_MS = 3_600_000

const NEVER = Number.POSITIVE_INFINITY

export class Gate {
  readonly #settings: GateSettings
  readonly #queue: FairQueue
  readonly #tickets = new Map<string, Ticket>()
  readonly #retrying = new Heap<Ticket>((a, b) => a.retryAt - b.retryAt || a.order - b.order)
  readonly #limits: LimitStack
  /** Only where limits are learnt: nobody else asks what a statement can have counted. */
  readonly #underway: Underway | null
  readonly #ramp = new Ramp()
  readonly #concurrency = new AdaptiveConcurrency()
  readonly #retryBudget: TokenBucket
  #grants: Ticket[] = []
  #arrivals = 0
  #held = 0
  #pausedUntil: EpochMs = Number.NEGATIVE_INFINITY
  #refusedInARow = 0
  /** When the provider's limits were heard of for the first time. */
  #knownSince: EpochMs = NEVER
  #refusedAt: EpochMs = Number.NEGATIVE_INFINITY
  #nextAt: EpochMs = NEVER
  #boundBy: Binding | null = null

  constructor(settings: GateSettings, now: EpochMs) {
    this.#settings = settings
    this.#queue = new FairQueue(settings.agingMs)
    this.#limits = new LimitStack(settings.limits, settings.floors, now)
    this.#underway = settings.learns ? new Underway() : null
    this.#retryBudget = new TokenBucket(
      {
        algorithm: 'token_bucket',
        dimension: 'requests',
        amount: RETRIES_PER_MINUTE,
        windowMs: 60_000,
        burst: RETRY_BURST,
        source: 'configured',
      },
      now,
    )
    if (settings.learns) this.#ramp.start(COLD_START)
  }

  /** When the next ticket can be admitted without any further event; Infinity when none can. */
  get nextAt(): EpochMs {
    return this.#nextAt
  }

  /** When to call `pump` again if nothing happens: `nextAt`, or when a ticket rises a lane. */
  get wakeAt(): EpochMs {
    return Math.min(this.#nextAt, this.#queue.nextRiseAt)
  }

  get inFlight(): number {
    return this.#held
  }

  /** Tickets that wait, those aside included. */
  get queued(): number {
    return this.#tickets.size - this.#held
  }

  /** The tickets admitted since the last call, in order. */
  takeGrants(): readonly Ticket[] {
    if (this.#grants.length === 0) return this.#grants
    const grants = this.#grants
    this.#grants = []
    return grants
  }

  enqueue(request: TicketRequest, now: EpochMs): Placement {
    if (this.#tickets.has(request.id)) throw new Error(`ticket ${request.id} is already here`)
    const ticket = new Ticket(request, this.#limits.shareOf(request.estimate), now)
    ticket.order = this.#arrivals++
    const passes = !request.parked && this.#passesAtOnce(ticket, now)
    // Whoever had a place before is taken back: the wait that a newcomer faces is not its own.
    const refusal = passes || request.place ? null : this.#refusalOf(ticket, now)
    if (!refusal) this.#take(ticket, request)
    if (passes) this.#admit(ticket, now)
    this.pump(now)
    if (refusal) return refusal
    if (ticket.state === 'held') return { kind: 'admitted' }
    return { kind: 'waiting', ...this.#predict(ticket, now) }
  }

  /** Takes a ticket out of line. Returns its place, or null when it is not waiting here. */
  cancel(id: string, now: EpochMs): Place | null {
    const ticket = this.#tickets.get(id)
    if (!ticket || ticket.state === 'held') return null
    this.#tickets.delete(id)
    const place = this.#leaveLine(ticket)
    this.pump(now)
    return place
  }

  /** Raises a waiting ticket one lane. False when it is not in line, or in the highest lane. */
  raise(id: string, now: EpochMs): boolean {
    const ticket = this.#tickets.get(id)
    if (ticket?.state !== 'waiting' || !this.#queue.raise(ticket, now)) return false
    this.pump(now)
    return true
  }

  /** Brings a parked ticket back in line, where it would be by now, with a fresh estimate. */
  unpark(id: string, estimate: CostVector, now: EpochMs): boolean {
    const ticket = this.#tickets.get(id)
    if (ticket?.state !== 'parked') return false
    this.#reprice(ticket, estimate)
    ticket.state = 'waiting'
    this.#queue.restore(ticket, ticket.startTag)
    this.pump(now)
    return true
  }

  /**
   * Ends a lease with what it really cost. A lease that is not here any more is left alone, so
   * settling twice is harmless.
   *
   * @param exact whether the provider reported it; an estimate may charge more but refunds nothing.
   */
  settle(id: string, actual: CostVector, exact: boolean, now: EpochMs): boolean {
    const ticket = this.#takeLease(id)
    if (!ticket) return false
    this.#recharge(ticket, exact ? actual : atLeast(actual, ticket.estimate), now)
    this.#endLease(ticket, now)
    this.pump(now)
    return true
  }

  /** Ends a lease that cost nothing: all that it took is given back. */
  release(id: string, now: EpochMs): boolean {
    const ticket = this.#takeLease(id)
    if (!ticket) return false
    this.#refund(ticket, now)
    this.pump(now)
    return true
  }

  /**
   * Follows a lease as its answer comes: what it is now thought to cost in all, and how many output
   * tokens of that the provider has counted already; null while it has not answered.
   */
  revise(id: string, estimate: CostVector, produced: number | null, now: EpochMs): boolean {
    const ticket = this.#tickets.get(id)
    if (ticket?.state !== 'held') return false
    this.#recharge(ticket, estimate, now)
    this.#underway?.remove(ticket)
    ticket.estimate = estimate
    ticket.produced = produced
    this.#underway?.add(ticket)
    this.pump(now)
    return true
  }

  /** The provider has begun to answer a lease: news for the ramp and for the bounds on load. */
  answered(firstAnswerMs: number | null, now: EpochMs): void {
    this.#refusedInARow = 0
    this.#ramp.succeeded()
    this.#concurrency.succeeded(firstAnswerMs, now)
    this.#retryBudget.correct(-1, now, now)
    this.pump(now)
  }

  /** A lease could not be used. Its ticket goes back to the front of its flow, for nothing. */
  bounce(id: string, bounce: Bounce, now: EpochMs): boolean {
    const ticket = this.#takeLease(id)
    if (!ticket) return false
    if (bounce.kind === 'overloaded') this.#concurrency.overloaded(this.#held + 1, now)
    const startTag = ticket.startTag
    this.#refund(ticket, now)
    if (bounce.kind === 'rate_limited') this.#refused(bounce, now)
    if (bounce.kind === 'repriced') {
      this.#underway?.undoDeparture(ticket, now)
      this.#reprice(ticket, bounce.estimate)
    }
    this.#tickets.set(id, ticket)
    if (bounce.kind === 'overloaded' || bounce.kind === 'disconnected') {
      ticket.state = 'retrying'
      ticket.retryAt = now + bounce.backoffMs
      this.#retrying.push(ticket)
    } else {
      ticket.state = 'waiting'
      this.#queue.restore(ticket, startTag)
    }
    this.pump(now)
    return true
  }

  /** Takes in what an answer says of the provider's limits. */
  observe(observation: Observation, now: EpochMs): void {
    this.#fuse(observation, now)
    this.pump(now)
  }

  /** The provider refused a request for a limit's sake, and nobody waits for that one here. */
  refused(refusal: LimitRefusal, now: EpochMs): void {
    this.#refused(refusal, now)
    this.pump(now)
  }

  /** Admits nobody before `until`. An earlier pause is never shortened. */
  pause(until: EpochMs, now: EpochMs): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, Math.min(until, now + LONGEST_PAUSE_MS))
    this.pump(now)
  }

  /** Admits from the head of the line while the limits allow, and works out `nextAt`. */
  pump(now: EpochMs): void {
    for (;;) {
      this.#releaseRetries(now)
      const ticket = this.#queue.head(now)
      if (!ticket) {
        this.#boundBy = null
        this.#nextAt = this.#nextRetryAt(now)
        return
      }
      const readyAt = this.#readyAt(ticket.estimate, now)
      if (readyAt > now) {
        this.#nextAt = Math.min(readyAt, this.#nextRetryAt(now))
        return
      }
      this.#admit(ticket, now)
    }
  }

  /** Where a waiting ticket stands, or null when it does not wait here. */
  position(id: string, now: EpochMs): Prediction | null {
    const ticket = this.#tickets.get(id)
    return !ticket || ticket.state === 'held' ? null : this.#predict(ticket, now)
  }

  /** Gives up all tickets and leases, in arrival order, for another gate to take in. */
  takeAll(): readonly Ticket[] {
    const all = [...this.#tickets.values()]
    all.sort((a, b) => a.enqueuedAt - b.enqueuedAt || a.order - b.order)
    for (const ticket of all) {
      if (ticket.state === 'held') this.#takeLease(ticket.id)
      else this.#leaveLine(ticket)
      ticket.flow = null
    }
    this.#tickets.clear()
    this.#nextAt = NEVER
    this.#boundBy = null
    return all
  }

  /**
   * Takes in what another gate gave up, bounds and deadlines aside: nobody is lost, and what leases
   * consume is not taken for somebody else's. The other line's virtual time means nothing here, so
   * each flow starts as if it came now.
   */
  adopt(tickets: readonly Ticket[], now: EpochMs): void {
    this.#limits.forgetOthers(now)
    for (const ticket of tickets) {
      this.#tickets.set(ticket.id, ticket)
      ticket.order = this.#arrivals++
      ticket.share = this.#limits.shareOf(ticket.estimate)
      if (ticket.state === 'held') {
        this.#hold(ticket, now)
        continue
      }
      ticket.startTag = this.#queue.startTagOf(ticket)
      if (ticket.state === 'waiting') this.#queue.append(ticket)
      else if (ticket.state === 'retrying') this.#retrying.push(ticket)
    }
    this.pump(now)
  }

  /** Whether nothing would be lost by forgetting this gate: nobody waits, holds or owes, and no news is kept. */
  isIdle(now: EpochMs): boolean {
    return (
      this.#tickets.size === 0 &&
      this.#pausedUntil <= now &&
      !this.#concurrency.remembers(now) &&
      this.#retryBudget.remaining(now) >= RETRY_BURST &&
      this.#limits.isFull(now) &&
      this.#limits.learntAt + LEARNT_IS_KEPT_MS <= now
    )
  }

  snapshot(now: EpochMs): GateSnapshot {
    const { limit } = this.#concurrency
    let oldest: EpochMs | null = null
    for (const ticket of this.#tickets.values()) {
      if (ticket.state !== 'held') oldest = Math.min(oldest ?? NEVER, ticket.enqueuedAt)
    }
    return {
      inFlight: this.#held,
      queued: this.queued,
      nextAt: this.#nextAt === NEVER ? null : this.#nextAt,
      boundBy: this.#boundBy,
      pausedUntil: this.#pausedUntil > now ? this.#pausedUntil : null,
      concurrencyLimit: limit === NEVER ? null : Math.floor(limit),
      oldestEnqueuedAt: oldest,
      limits: this.#limits.snapshot(now),
    }
  }

  /** Nobody is before it and nothing restrains: a ticket passes as if there were no gate. */
  #passesAtOnce(ticket: Ticket, now: EpochMs): boolean {
    return this.#queue.waiting === 0 && this.#readyAt(ticket.estimate, now) <= now
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

  #take(ticket: Ticket, { parked, place }: TicketRequest): void {
    this.#tickets.set(ticket.id, ticket)
    if (parked) {
      ticket.state = 'parked'
      ticket.startTag = place?.startTag ?? this.#queue.startTagOf(ticket)
    } else if (place) {
      this.#queue.restore(ticket, place.startTag)
    } else {
      this.#queue.append(ticket)
    }
  }

  /** When a cost could pass now if it were at the head; names what binds it in `#boundBy`. */
  #readyAt(cost: CostVector, now: EpochMs): EpochMs {
    let readyAt = now
    this.#boundBy = null
    if (this.#pausedUntil > readyAt) {
      readyAt = this.#pausedUntil
      this.#boundBy = { kind: 'paused' }
    }
    if (!this.#ramp.isOpen) {
      const rampAt = this.#ramp.readyAt(now)
      if (rampAt > readyAt) {
        readyAt = rampAt
        this.#boundBy = { kind: 'ramp' }
      }
    }
    const limitsAt = this.#limits.readyAt(cost, now)
    const limit = this.#limits.boundBy
    if (limitsAt > readyAt && limit) {
      readyAt = limitsAt
      this.#boundBy = { kind: 'limit', limit }
    }
    if (!this.#concurrency.admits(this.#held)) {
      readyAt = NEVER
      this.#boundBy = { kind: 'overload' }
    }
    return readyAt
  }

  #admit(ticket: Ticket, now: EpochMs): void {
    this.#queue.serve(ticket)
    ticket.state = 'held'
    ticket.grantedAt = now
    ticket.produced = null
    this.#hold(ticket, now)
    this.#ramp.admitted(now)
    this.#grants.push(ticket)
  }

  #hold(ticket: Ticket, now: EpochMs): void {
    this.#held++
    this.#limits.take(ticket.estimate, now)
    this.#underway?.depart(ticket, now)
  }

  #reprice(ticket: Ticket, estimate: CostVector): void {
    ticket.estimate = estimate
    ticket.share = this.#limits.shareOf(estimate)
  }

  #takeLease(id: string): Ticket | null {
    const ticket = this.#tickets.get(id)
    if (ticket?.state !== 'held') return null
    this.#tickets.delete(id)
    this.#held--
    this.#underway?.remove(ticket)
    return ticket
  }

  #endLease(ticket: Ticket, now: EpochMs): void {
    this.#limits.freeSlot(ticket.grantedAt, now)
    this.#queue.finish(ticket)
  }

  /** Moves meters and the flow's turn from the estimate that they hold to another cost. */
  #recharge(ticket: Ticket, cost: CostVector, now: EpochMs): void {
    this.#limits.correct(ticket.estimate, cost, ticket.grantedAt, now)
    const share = this.#limits.shareOf(cost)
    this.#queue.correct(ticket, share - ticket.share)
    ticket.share = share
  }

  #refund(ticket: Ticket, now: EpochMs): void {
    this.#limits.giveBack(ticket.estimate, ticket.grantedAt, now)
    this.#queue.correct(ticket, -ticket.share)
    this.#queue.finish(ticket)
  }

  #leaveLine(ticket: Ticket): Place {
    if (ticket.state === 'waiting') return this.#queue.remove(ticket)
    this.#retrying.remove(ticket)
    const { enqueuedAt, lane, laneSince, startTag } = ticket
    return { enqueuedAt, lane, laneSince, startTag }
  }

  #refused({ retryAfterMs, observation }: LimitRefusal, now: EpochMs): void {
    const knownSince = this.#knownSince
    this.#fuse(observation, now)
    const guessed = FIRST_PAUSE_MS * 2 ** Math.min(this.#refusedInARow, 6)
    // No wait at all is no answer to go by: taken at its word, it would be asked again at once, for ever.
    const pauseMs = retryAfterMs || Math.min(guessed, LONGEST_GUESSED_PAUSE_MS)
    this.#pausedUntil = Math.max(this.#pausedUntil, now + Math.min(pauseMs, LONGEST_PAUSE_MS))
    this.#ramp.start(AFTER_REFUSAL)
    // Requests that left before the last refusal was known bring no news when they are refused too.
    if (observation.sentAt <= this.#refusedAt) return
    this.#refusedAt = now
    this.#refusedInARow++
    // Whatever left before its limits were known could not respect them.
    if (observation.sentAt >= knownSince) this.#limits.surprised(now)
  }

  #fuse({ limits, sentAt }: Observation, now: EpochMs): void {
    if (!this.#underway) return
    const isNews = this.#limits.fuse(limits, sentAt, this.#underway, now)
    if (isNews) this.#knownSince = Math.min(this.#knownSince, now)
    if (isNews && this.#refusedAt === Number.NEGATIVE_INFINITY) this.#ramp.open()
  }

  /** Lets retries rejoin the line whose back-off is over, as far as the shared budget goes. */
  #releaseRetries(now: EpochMs): void {
    for (;;) {
      const ticket = this.#retrying.peek()
      if (!ticket || ticket.retryAt > now || this.#retryBudget.readyAt(1, now) > now) return
      this.#retrying.pop()
      this.#retryBudget.take(1, now)
      ticket.state = 'waiting'
      this.#queue.restore(ticket, ticket.startTag)
    }
  }

  #nextRetryAt(now: EpochMs): EpochMs {
    const ticket = this.#retrying.peek()
    return ticket ? Math.max(ticket.retryAt, this.#retryBudget.readyAt(1, now)) : NEVER
  }

  /** Adds up what goes before a ticket and asks each limit when it could bear that and the ticket. */
  #predict(ticket: Ticket, now: EpochMs): Prediction {
    const ahead = this.#queue.aheadOf(ticket)
    const paused = Math.max(this.#pausedUntil, this.#ramp.readyAt(now))
    const { at, limit } = this.#limits.readyInLongRun(ahead, ticket.estimate, now)
    const expectedAt = Math.max(paused, at)
    const position = Math.round(ahead.tickets)
    if (limit && at > paused) return { position, expectedAt, boundBy: { kind: 'limit', limit } }
    if (this.#pausedUntil > now) return { position, expectedAt, boundBy: { kind: 'paused' } }
    // No amount is short. What binds the head of the line binds this one too.
    const untilEvent = endsByEvent(this.#boundBy)
    return { position, expectedAt: untilEvent ? NEVER : expectedAt, boundBy: this.#boundBy }
  }
}

function atLeast(cost: CostVector, least: CostVector): CostVector {
  return {
    requests: Math.max(cost.requests, least.requests),
    input_tokens: Math.max(cost.input_tokens, least.input_tokens),
    output_tokens: Math.max(cost.output_tokens, least.output_tokens),
    tokens: Math.max(cost.tokens, least.tokens),
    cost: Math.max(cost.cost, least.cost),
  }
}

/** Whether only a lease that ends can unbind, so that no instant can be foretold. */
function endsByEvent(binding: Binding | null): boolean {
  if (binding?.kind === 'limit') return binding.limit.algorithm === 'concurrency'
  return binding?.kind === 'overload'
}
