// Every ticket and lease of a gate. Owns: finding them by id, their order of arrival, and who must be
// alive for each. Must not know: what state a ticket is in, but for a lease's; what ends it.
import type { EpochMs } from './clock.ts'
import { Holders } from './holders.ts'
import type { Ticket } from './line.ts'
import type { Holder, TicketView } from './ticket.ts'

export class Roll {
  readonly #byId = new Map<string, Ticket>()
  readonly #holders = new Holders()
  #arrivals = 0

  get size(): number {
    return this.#byId.size
  }

  /** When the next holder dies, unless it gives a sign of life before; Infinity when none does. */
  get nextExpiryAt(): EpochMs {
    return this.#holders.nextExpiryAt
  }

  /** Since when the ticket that came first of all that wait has waited; null when none does. */
  get oldestEnqueuedAt(): EpochMs | null {
    let oldest: EpochMs | null = null
    for (const { state, enqueuedAt } of this.#byId.values())
      if (state !== 'held' && (oldest === null || enqueuedAt < oldest)) oldest = enqueuedAt
    return oldest
  }

  find(id: string): Ticket | null {
    return this.#byId.get(id) ?? null
  }

  findLease(id: string): Ticket | null {
    const ticket = this.#byId.get(id)
    return ticket?.state === 'held' ? ticket : null
  }

  /** A ticket has come, which is a sign of its holder's life. */
  add(ticket: Ticket, holder: Holder | null, now: EpochMs): void {
    this.#enter(ticket)
    if (holder) this.#holders.join(ticket, holder.id, now + holder.ttlMs)
  }

  /** A ticket has come from another roll: its holder lives as long as was believed there. */
  adopt(ticket: Ticket): void {
    this.#enter(ticket)
    if (ticket.holder) this.#holders.join(ticket, ticket.holder.id, ticket.holder.expiresAt)
  }

  /** A ticket has ended. */
  remove(ticket: Ticket): void {
    this.#byId.delete(ticket.id)
    this.#holders.leave(ticket)
  }

  /** A request has come again: a sign of its holder's life, if that one has anything here. */
  heardOf(holder: Holder | null, now: EpochMs): void {
    if (holder) this.#holders.heardOf(holder, now)
  }

  /** A sign of life on purpose. False when the holder has nothing here (any more). */
  renew(holderId: string, expiresAt: EpochMs): boolean {
    return this.#holders.renew(holderId, expiresAt)
  }

  /** Takes out what the next holder had that has died by now, in order of arrival. */
  takeExpired(now: EpochMs): Iterable<Ticket> {
    const tickets = this.#holders.takeExpired(now)?.tickets ?? []
    for (const { id } of tickets) this.#byId.delete(id)
    return tickets
  }

  /** What can be seen of one; null when it is not here. */
  view(id: string): TicketView | null {
    const ticket = this.#byId.get(id)
    return ticket ? viewOf(ticket) : null
  }

  /** What can be seen of all, or of the first `most`, in order of arrival. */
  views(most: number): readonly TicketView[] {
    return this.#inOrder().slice(0, most).map(viewOf)
  }

  /** Takes out all, the longest waiting first. */
  takeAll(): readonly Ticket[] {
    const all = this.#inOrder()
    this.#byId.clear()
    this.#holders.clear()
    return all
  }

  #inOrder(): readonly Ticket[] {
    return [...this.#byId.values()].sort((a, b) => a.enqueuedAt - b.enqueuedAt || a.order - b.order)
  }

  #enter(ticket: Ticket): void {
    ticket.order = this.#arrivals++
    this.#byId.set(ticket.id, ticket)
  }
}

function viewOf(ticket: Ticket): TicketView {
  const { id, state, flowName, lane, estimate, enqueuedAt, grantedAt, holder } = ticket
  const isHeld = state === 'held'
  return {
    id,
    state: isHeld ? 'held' : 'waiting',
    flow: flowName,
    lane,
    estimate,
    enqueuedAt,
    grantedAt: isHeld ? grantedAt : null,
    expiresAt: holder?.expiresAt ?? Number.POSITIVE_INFINITY,
  }
}
