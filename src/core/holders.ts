// Those who must be alive for their tickets to last. Owns: until when each is believed to live, and
// what it has here. Must not know: what becomes of the tickets of one that has died.
import type { EpochMs } from './clock.ts'
import { Heap } from './heap.ts'
import { LiveHolder, type Ticket } from './line.ts'
import type { Holder } from './ticket.ts'

/** The first to die first; ids decide between equals, so that every store ends them in one order. */
const byExpiry = (a: LiveHolder, b: LiveHolder): number =>
  a.expiresAt - b.expiresAt || (a.id < b.id ? -1 : 1)

export class Holders {
  readonly #byId = new Map<string, LiveHolder>()
  readonly #byExpiry = new Heap<LiveHolder>(byExpiry)
  /** Written down, since every operation asks for it first. */
  #nextExpiryAt: EpochMs = Number.POSITIVE_INFINITY

  /** When the next one dies, unless it gives a sign of life before; Infinity when none does. */
  get nextExpiryAt(): EpochMs {
    return this.#nextExpiryAt
  }

  /** A ticket belongs to a holder until it ends, and shows that this one lives at least until then. */
  join(ticket: Ticket, id: string, expiresAt: EpochMs): void {
    let holder = this.#byId.get(id)
    if (!holder) {
      holder = new LiveHolder(id, expiresAt)
      this.#byId.set(id, holder)
      this.#byExpiry.push(holder)
    }
    this.#expireAt(holder, Math.max(holder.expiresAt, expiresAt))
    holder.tickets.add(ticket)
    ticket.holder = holder
  }

  /** A ticket has ended. A holder without tickets is forgotten. */
  leave(ticket: Ticket): void {
    const { holder } = ticket
    if (!holder) return
    ticket.holder = null
    holder.tickets.delete(ticket)
    if (holder.tickets.size === 0) this.#forget(holder)
  }

  /** A sign of life in passing: it never shortens what is believed. */
  heardOf({ id, ttlMs }: Holder, now: EpochMs): void {
    const holder = this.#byId.get(id)
    if (holder) this.#expireAt(holder, Math.max(holder.expiresAt, now + ttlMs))
  }

  /** A sign of life on purpose, which says until when to believe it. False when it has nothing here. */
  renew(id: string, expiresAt: EpochMs): boolean {
    const holder = this.#byId.get(id)
    if (holder) this.#expireAt(holder, expiresAt)
    return holder !== undefined
  }

  /** Takes out the next that has died by now, with its tickets in order of arrival. */
  takeExpired(now: EpochMs): LiveHolder | null {
    if (this.#nextExpiryAt > now) return null
    const first = this.#byExpiry.peek()
    if (!first) return null
    this.#forget(first)
    return first
  }

  clear(): void {
    for (const holder of this.#byId.values()) this.#forget(holder)
  }

  #expireAt(holder: LiveHolder, expiresAt: EpochMs): void {
    holder.expiresAt = expiresAt
    this.#byExpiry.update(holder)
    this.#noteNext()
  }

  #forget(holder: LiveHolder): void {
    this.#byId.delete(holder.id)
    this.#byExpiry.remove(holder)
    this.#noteNext()
  }

  #noteNext(): void {
    this.#nextExpiryAt = this.#byExpiry.peek()?.expiresAt ?? Number.POSITIVE_INFINITY
  }
}
