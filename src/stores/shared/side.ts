// This process's own side of one resource. Owns: the tickets that it has there, what the shared gate
// is still to be told of, and what that one said last. Must not know: any store, or when to go where.
import type { LimitSnapshot } from '../../core/admission.ts'
import type { EpochMs } from '../../core/clock.ts'
import { atLeast, type CostVector, isNothing, NOTHING } from '../../core/cost.ts'
import type { Lane } from '../../core/lane.ts'
import type { Grant } from '../../core/store.ts'
import type { OwnTicket, TicketRequest } from '../../core/ticket.ts'
import type { Beat } from '../shared-gates.ts'
import { minus, plus } from './cost-sum.ts'
import { Mortals } from './mortals.ts'
import { Pending } from './pending.ts'

/** A ticket, or the lease that it became, as its owner has been told. */
export interface Entry {
  readonly request: TicketRequest
  readonly enqueuedAt: EpochMs
  side: Side
  // As they are by now.
  estimate: CostVector
  lane: Lane
  parked: boolean
  /** When it became a lease; null while it waits. */
  grantedAt: EpochMs | null
  /** Which life of the shared gate has counted what it took; null when none has. */
  countedIn: string | null
  /** Whether the shared gate may know of it, as it is. */
  isThere: boolean
  /** Which life of the shared gate has said that it has it, as it is; null when none has. */
  knownIn: string | null
  /** When the shared gate was asked for it last. */
  askedAt: EpochMs
  // Its own operations that are under way.
  isArriving: boolean
  isLeaving: boolean
  isBouncing: boolean
}

/** What a shared gate, once it can be reached, is to be told of a ticket that it may have. */
export type Ending =
  | {
      readonly kind: 'settled'
      readonly actual: CostVector
      readonly exact: boolean
      readonly countedIn: string
    }
  /** The gate's ticket is out of date, or its lease cost nothing. */
  | { readonly kind: 'dropped' }

export interface Counts {
  readonly waiting: number
  readonly held: number
}

export class Side {
  readonly name: string
  readonly tickets = new Map<string, Entry>()
  readonly pending = new Pending()
  readonly mortals = new Mortals()
  /** By id. At most one for each ticket that was alive when the shared gate was lost. */
  readonly untold = new Map<string, Ending>()
  /** What ended leases took that no shared gate has counted. */
  spent: CostVector = NOTHING
  isLocal = false
  /** While operations have to wait, since all of its tickets are on the move. */
  switching: Promise<void> | null = null
  /** Whom gates have let in meanwhile. */
  readonly pushedThere: Grant[] = []
  readonly pushedHere: string[] = []
  /** When the last rejoining began: it has told of all that the shared gate let in before. */
  rejoinedFrom: EpochMs = Number.NEGATIVE_INFINITY
  isToRejoin = false

  // What the shared gate said last.
  limits: readonly LimitSnapshot[] = []
  life: string | null = null
  /** What own leases have taken since, which it has not said yet. */
  taken: CostVector = NOTHING
  usedAt: EpochMs
  beatenAt: EpochMs
  isBeating = false
  /** Beats in a row whose counts were not those of the book. */
  disagreements = 0

  constructor(name: string, now: EpochMs) {
    this.name = name
    this.usedAt = this.beatenAt = now
  }

  /** Nothing is here that anybody could miss. */
  get isIdle(): boolean {
    return (
      this.tickets.size === 0 &&
      this.untold.size === 0 &&
      this.pending.count === 0 &&
      !this.isSwitching &&
      isNothing(this.spent)
    )
  }

  get isSwitching(): boolean {
    return this.switching !== null
  }

  /** The process's own tickets, as the shared gate should have them. */
  ownCounts(): Counts {
    let held = 0
    let own = 0
    for (const { request, grantedAt } of this.tickets.values()) {
      if (request.holder !== null) continue
      own++
      if (grantedAt !== null) held++
    }
    return { waiting: own - held, held }
  }

  /** A lease has cost something else than was thought. */
  correct(entry: Entry, actual: CostVector): void {
    this.taken = plus(this.taken, minus(actual, entry.estimate))
  }

  /** @param takenBefore what had been taken when the beat was sent: that much it has counted. */
  heard(beat: Beat, life: string | null, takenBefore: CostVector): void {
    this.limits = beat.limits
    this.life = life
    this.taken = minus(this.taken, takenBefore)
  }

  /** The shared gate has all of it: nothing is known to be amiss. */
  confirmed(now: EpochMs): void {
    this.beatenAt = now
    this.disagreements = 0
    this.isToRejoin = false
  }

  /** What the shared gate may have of a ticket is out of date. */
  outdate(entry: Entry): void {
    if (entry.isThere) this.untold.set(entry.request.id, { kind: 'dropped' })
    entry.isThere = false
    entry.knownIn = null
    entry.countedIn = null
  }

  /** A local gate has begun with what is used. Should it begin once more, it was forgotten as full. */
  forgetUse(): void {
    this.limits = this.limits.map((limit) => ({ ...limit, remaining: Number.POSITIVE_INFINITY }))
    this.taken = NOTHING
  }

  /** A lease has ended while the shared gate was out of reach. */
  settledHere(entry: Entry, actual: CostVector, exact: boolean): void {
    const { countedIn, request } = entry
    if (countedIn !== null) {
      this.untold.set(request.id, { kind: 'settled', actual, exact, countedIn })
      return
    }
    this.spent = plus(this.spent, exact ? actual : atLeast(actual, entry.estimate))
    this.outdate(entry)
  }

  /** Takes over all that another side has: both resources are one. */
  absorb(other: Side): void {
    for (const [id, entry] of other.tickets) {
      entry.side = this
      this.tickets.set(id, entry)
    }
    for (const [id, ending] of other.untold) this.untold.set(id, ending)
    this.mortals.absorb(other.mortals)
    this.pending.adopt(other.pending)
    this.spent = plus(this.spent, other.spent)
    this.taken = plus(this.taken, other.taken)
    this.pushedThere.push(...other.pushedThere.splice(0))
    this.pushedHere.push(...other.pushedHere.splice(0))
    other.tickets.clear()
    other.untold.clear()
    other.spent = NOTHING
  }
}

/** A ticket as a gate that has never heard of it has to know it: it keeps its age, and its holder's life. */
export function ownTicket(entry: Entry, now: EpochMs): OwnTicket {
  const { request, side, estimate, parked, enqueuedAt, lane, grantedAt, countedIn } = entry
  // The virtual time of another gate means nothing there.
  const place = { enqueuedAt, lane, laneSince: enqueuedAt, startTag: Number.POSITIVE_INFINITY }
  const holder = request.holder && side.mortals.asOf(request.holder, now)
  return {
    request: { ...request, resource: side.name, estimate, parked, lane, place, holder },
    grantedAt,
    countedIn,
  }
}
