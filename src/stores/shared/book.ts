// The book of all tickets of this process. Owns: finding them by id, and sides by the resource's
// name, whatever names it has had. Bounded by what is alive. Must not know: any store.
import type { Clock } from '../../core/clock.ts'
import type { Holder, TicketRequest } from '../../core/ticket.ts'
import type { Loss } from '../shared-gates.ts'
import { type Entry, Side } from './side.ts'

export class Book {
  /** Processes that share the store, as far as is known. */
  instances = 1
  /** Is told of tickets that are others' by now. */
  tellLoss: (loss: { readonly id: string }) => void = () => {}
  readonly #clock: Clock
  readonly #sides = new Map<string, Side>()
  readonly #entries = new Map<string, Entry>()
  /** Names of resources that turned out to be others. As many as there are keys of one organization. */
  readonly #mergedInto = new Map<string, string>()
  readonly #onOpen: () => void

  /** @param onOpen is told when there is one side more. */
  constructor(clock: Clock, onOpen: () => void) {
    this.#clock = clock
    this.#onOpen = onOpen
  }

  get sides(): readonly Side[] {
    return [...this.#sides.values()]
  }

  find(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  peek(resource: string): Side | undefined {
    return this.#sides.get(this.#mergedInto.get(resource) ?? resource)
  }

  /** The side of a resource, which begins when it is first asked for. */
  sideOf(resource: string): Side {
    const known = this.peek(resource)
    if (known) return known
    const side = new Side(this.#mergedInto.get(resource) ?? resource, this.#clock.now())
    this.#sides.set(side.name, side)
    this.#onOpen()
    return side
  }

  /** Writes a ticket down, if it is not there. */
  enter(side: Side, request: TicketRequest): Entry {
    const now = this.#clock.now()
    const known = this.#entries.get(request.id)
    if (known) {
      this.#hear(known, request.holder)
      return known
    }
    // Nobody had to hear of it while it had nothing there.
    if (side.tickets.size === 0) side.beatenAt = now
    const entry: Entry = {
      request,
      side,
      enqueuedAt: request.place?.enqueuedAt ?? now,
      estimate: request.estimate,
      lane: request.place?.lane ?? request.lane,
      parked: request.parked,
      grantedAt: null,
      countedIn: null,
      isThere: false,
      knownIn: null,
      askedAt: now,
      isArriving: false,
      isLeaving: false,
      isBouncing: false,
    }
    this.#entries.set(request.id, entry)
    side.tickets.set(request.id, entry)
    this.#hear(entry, request.holder)
    return entry
  }

  renew(resource: string, holder: Holder): void {
    const side = this.peek(resource)
    side?.mortals.renew(holder, this.#clock.now())
    if (!side?.isLocal) side?.mortals.told(holder)
  }

  /** A ticket is others' by now, unless it was asked for since: this process brings it nowhere. */
  lose({ id, lostAt }: Loss): void {
    const entry = this.#entries.get(id)
    if (!entry || entry.askedAt > lostAt) return
    const { side } = entry
    if (side.isSwitching) void side.switching?.then(() => this.lose({ id, lostAt }))
    // Whoever has gone local finds out on return.
    else if (!side.isLocal) {
      this.strike(entry)
      this.tellLoss({ id })
    }
  }

  strike(entry: Entry): void {
    this.#entries.delete(entry.request.id)
    entry.side.tickets.delete(entry.request.id)
    const { id, holder } = entry.request
    if (holder) entry.side.mortals.leave(id, holder)
  }

  close(side: Side): void {
    this.#sides.delete(side.name)
  }

  /** From now on the one resource is the other. */
  merge(from: Side, into: Side): void {
    // A store may tell of its own merging too.
    if (this.#sides.get(from.name) !== from) return
    for (const [name, present] of this.#mergedInto)
      if (present === from.name) this.#mergedInto.set(name, into.name)
    this.#mergedInto.delete(into.name)
    this.#mergedInto.set(from.name, into.name)
    into.absorb(from)
    this.#sides.delete(from.name)
  }

  /** A ticket that comes, or is asked for again, is a sign of its holder's life. */
  #hear({ request, side }: Entry, holder: Holder | null): void {
    if (!holder || holder.id !== request.holder?.id) return
    side.mortals.heardOf(request.id, holder, this.#clock.now())
    if (!side.isLocal) side.mortals.told(holder)
  }
}
