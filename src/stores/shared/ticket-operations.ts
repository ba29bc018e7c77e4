// Operations on tickets that wait. Owns: what each is to the shared gate, to a local one, and to the
// book. Must not know: which of the gates is asked.
import type { Placement } from '../../core/admission.ts'
import { type CostVector, NOTHING } from '../../core/cost.ts'
import { LANES } from '../../core/lane.ts'
import { StoreUnreachable, type Whose } from '../../core/store.ts'
import type { OwnTicket, Place, TicketRequest } from '../../core/ticket.ts'
import { plus } from './cost-sum.ts'
import type { FailurePolicy } from './local-share.ts'
import { type Operation, type Operators, whereFailed } from './operation.ts'
import type { Entry, Side } from './side.ts'

const ADMITTED: Placement = { kind: 'admitted' }

export class TicketOperations {
  readonly #operators: Operators
  readonly #policy: FailurePolicy

  constructor(operators: Operators, policy: FailurePolicy) {
    this.#operators = operators
    this.#policy = policy
  }

  enqueue(request: TicketRequest): Operation<Placement, Placement> {
    return {
      there: async (side) => {
        const entry = this.#arrive(side, request)
        entry.isThere = true
        entry.askedAt = this.#operators.clock.now()
        try {
          return await this.#enqueueThere(inResource(request, side))
        } catch (error) {
          if (!(error instanceof StoreUnreachable)) this.#disown(entry)
          throw error
        }
      },
      take: (placement) => this.#placed(request.id, placement, true),
      here: async (local, side) => {
        const entry = this.#arrive(side, request)
        if (entry.isArriving && entry.grantedAt !== null) return this.#placed(request.id, ADMITTED)
        if (entry.isArriving && this.#policy === 'closed') throw this.#turnedAway(entry)
        const place = byAge(request.place)
        const placement = await local.enqueue({ ...inResource(request, side), place })
        return this.#placed(request.id, placement)
      },
    }
  }

  cancel(id: string): Operation<Place | null, Place | null> {
    const { book, shared, leaveThere } = this.#operators
    return {
      there: (side) => {
        const entry = book.find(id)
        if (entry) entry.isLeaving = true
        return whereFailed(shared.cancel(side.name, id), () => {
          if (entry) entry.isLeaving = false
        })
      },
      take: (place, side) => {
        const left = this.#leave(id, place)
        // Its turn had come: the push is on its way, or was lost.
        if (left && !place) leaveThere(side.name, id)
        return place
      },
      here: async (local, side) => {
        const place = await local.cancel(side.name, id)
        const left = this.#leave(id, place)
        left?.side.outdate(left)
        if (left && !place) await local.release(side.name, id)
        return byAge(place)
      },
    }
  }

  leave(id: string, whose: Whose): Operation<boolean, boolean> {
    const { book, shared, suspect } = this.#operators
    return {
      there: (side) => {
        const entry = book.find(id)
        if (entry) entry.isLeaving = true
        return whereFailed(shared.leave(side.name, id, whose), () => {
          if (entry) entry.isLeaving = false
        })
      },
      take: (hasLeft) => {
        const entry = book.find(id)
        if (!entry) return hasLeft
        if (entry.grantedAt !== null) entry.side.correct(entry, NOTHING)
        book.strike(entry)
        if (!hasLeft && entry.request.holder === null) suspect(entry.side)
        return hasLeft
      },
      here: async (local, side) => {
        const hasLeft = await local.leave(side.name, id, whose)
        const entry = book.find(id)
        if (entry) {
          book.strike(entry)
          side.outdate(entry)
        }
        return hasLeft
      },
    }
  }

  unpark(id: string, estimate: CostVector): Operation<boolean, boolean> {
    const { shared } = this.#operators
    const write = (entry: Entry): void => {
      entry.estimate = estimate
      entry.parked = false
    }
    return {
      there: (side) => shared.unpark(side.name, id, estimate),
      take: (wasParked) => this.#changed(id, wasParked, write) || this.#isMissed(id, write),
      here: async (local, side) =>
        this.#changedHere(id, await local.unpark(side.name, id, estimate), write),
    }
  }

  raise(id: string): Operation<boolean, boolean> {
    const { shared } = this.#operators
    const write = (entry: Entry): void => {
      entry.lane = LANES[LANES.indexOf(entry.lane) - 1] ?? entry.lane
    }
    return {
      there: (side) => shared.raise(side.name, id),
      take: (isRaised) => this.#changed(id, isRaised, write),
      here: async (local, side) => this.#changedHere(id, await local.raise(side.name, id), write),
    }
  }

  rejoin(
    tickets: readonly OwnTicket[],
    spent: CostVector,
  ): Operation<readonly string[], readonly string[]> {
    const { shared } = this.#operators
    return {
      there: (side) => {
        for (const { request } of tickets) this.#arrive(side, request).isThere = true
        return shared.rejoin(side.name, tickets, spent)
      },
      take: (held) => this.#rejoined(tickets, held, true),
      here: async (local, side) => {
        const life = shared.lifeOf(side.name)
        const counted = tickets.map((ticket) => {
          const entry = this.#arrive(side, ticket.request)
          const isCounted = ticket.countedIn !== null && ticket.countedIn === life
          if (isCounted) entry.isThere = true
          return { ...ticket, countedIn: isCounted ? local.kind : null }
        })
        side.spent = plus(side.spent, spent)
        return this.#rejoined(tickets, await local.rejoin(side.name, counted, spent), false)
      },
    }
  }

  /** Its caller has been told of an error: nobody would use what it is given. */
  #disown(entry: Entry): void {
    if (!entry.isArriving) return
    const { book, suspect } = this.#operators
    entry.side.outdate(entry)
    book.strike(entry)
    suspect(entry.side)
  }

  /** An answer that was read too late may be about a ticket that is dead: it is asked for once more. */
  async #enqueueThere(request: TicketRequest): Promise<Placement> {
    const { clock, lifeMs, shared } = this.#operators
    const sentAt = clock.now()
    const placement = await shared.enqueue(request)
    return clock.now() < sentAt + lifeMs / 2 ? placement : shared.enqueue(request)
  }

  #rejoined(
    tickets: readonly OwnTicket[],
    held: readonly string[],
    isThere: boolean,
  ): readonly string[] {
    const { book, grants } = this.#operators
    const leases = new Set(held)
    for (const { request, countedIn } of tickets) {
      const entry = book.find(request.id)
      if (!entry) continue
      entry.isArriving = false
      if (isThere) this.#knownThere(entry)
      if (entry.grantedAt !== null) leases.add(request.id)
      else if (!leases.has(request.id)) continue
      else if (isThere) grants.note(entry)
      else {
        grants.noteHere(entry)
        if (entry.isThere) entry.countedIn = countedIn
      }
    }
    return [...leases]
  }

  #arrive(side: Side, request: TicketRequest): Entry {
    const { book } = this.#operators
    const isNew = !book.find(request.id)
    const entry = book.enter(side, request)
    if (isNew) entry.isArriving = true
    return entry
  }

  #placed(id: string, placement: Placement, isThere = false): Placement {
    const { book, grants } = this.#operators
    const entry = book.find(id)
    if (!entry) return placement
    const wasArriving = entry.isArriving
    entry.isArriving = false
    if (isThere) this.#knownThere(entry)
    // Its push came before this answer.
    if (entry.grantedAt !== null) return ADMITTED
    if (placement.kind === 'admitted') {
      if (isThere) grants.note(entry)
      else grants.noteHere(entry)
    } else if (placement.kind === 'refused' && wasArriving) {
      book.strike(entry)
      if (!isThere) entry.side.outdate(entry)
    }
    return placement
  }

  #knownThere(entry: Entry): void {
    entry.knownIn = this.#operators.shared.lifeOf(entry.side.name)
  }

  #turnedAway(entry: Entry): StoreUnreachable {
    this.#operators.book.strike(entry)
    entry.side.outdate(entry)
    return new StoreUnreachable('nobody new is taken until the shared store is back')
  }

  /** Strikes out a ticket that waits no more, unless it is a lease and its owner knows it. */
  #leave(id: string, place: Place | null): Entry | null {
    const { book } = this.#operators
    const entry = book.find(id)
    if (!entry) return null
    entry.isLeaving = false
    if (!place && entry.grantedAt !== null) return null
    book.strike(entry)
    return entry
  }

  #changed(id: string, isChanged: boolean, write: (entry: Entry) => void): boolean {
    const entry = this.#operators.book.find(id)
    if (entry && isChanged) write(entry)
    return isChanged
  }

  /** The shared gate is brought it anew, as it is by now. */
  #changedHere(id: string, isChanged: boolean, write: (entry: Entry) => void): boolean {
    const entry = this.#operators.book.find(id)
    if (entry && isChanged) entry.side.outdate(entry)
    return this.#changed(id, isChanged, write)
  }

  /** Whether a ticket should have been parked there: its owner relies on it, wherever it was lost. */
  #isMissed(id: string, write: (entry: Entry) => void): boolean {
    const { book, suspect } = this.#operators
    const entry = book.find(id)
    if (!entry?.parked || entry.grantedAt !== null || entry.request.holder) return false
    write(entry)
    entry.side.outdate(entry)
    suspect(entry.side)
    return true
  }
}

function inResource(request: TicketRequest, { name }: Side): TicketRequest {
  return request.resource === name ? request : { ...request, resource: name }
}

/** A local gate's virtual time means nothing to the shared one, nor the other way round. */
function byAge(place: Place | null): Place | null {
  return place && { ...place, startTag: Number.POSITIVE_INFINITY }
}
