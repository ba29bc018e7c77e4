// Holders other than the process, as one side knows them. Owns: until when each is believed to live,
// and which tickets it has here. Must not know: what becomes of tickets whose holder has died.
import type { EpochMs } from '../../core/clock.ts'
import type { Holder } from '../../core/ticket.ts'

interface Mortal {
  expiresAt: EpochMs
  /** Until when the shared gate believes it: it does not hear what is said while it is out of reach. */
  believedThereUntil: EpochMs
  /** By their ids. */
  readonly tickets: Set<string>
}

/** The shortest belief that can be told: one that is over already. */
const OVER_MS = 1

export class Mortals {
  readonly #byId = new Map<string, Mortal>()

  /** A ticket has come, maybe again: a sign of its holder's life, which never shortens what is believed. */
  heardOf(ticket: string, { id, ttlMs }: Holder, now: EpochMs): void {
    const mortal = this.#byId.get(id) ?? newcomer()
    this.#byId.set(id, mortal)
    mortal.tickets.add(ticket)
    mortal.expiresAt = Math.max(mortal.expiresAt, now + ttlMs)
  }

  /** A sign of life on purpose, which says what holds from now on. */
  renew({ id, ttlMs }: Holder, now: EpochMs): void {
    const mortal = this.#byId.get(id)
    if (mortal) mortal.expiresAt = now + ttlMs
  }

  /** The shared gate knows what is known here. */
  told({ id }: Holder): void {
    const mortal = this.#byId.get(id)
    if (mortal) mortal.believedThereUntil = mortal.expiresAt
  }

  /** A ticket has ended. A holder without tickets is forgotten. */
  leave(ticket: string, { id }: Holder): void {
    const mortal = this.#byId.get(id)
    mortal?.tickets.delete(ticket)
    if (mortal?.tickets.size === 0) this.#byId.delete(id)
  }

  /** A holder as a gate is to know it that has not heard of it before. */
  asOf({ id, ttlMs }: Holder, now: EpochMs): Holder {
    const leftMs = (this.#byId.get(id)?.expiresAt ?? now + ttlMs) - now
    return { id, ttlMs: Math.max(leftMs, OVER_MS) }
  }

  /** Whether the shared gate must believe a holder alive. */
  isBelievedThere({ id }: Holder, now: EpochMs): boolean {
    return (this.#byId.get(id)?.believedThereUntil ?? now) > now
  }

  /** The tickets of those who were to give a sign of life by `at`. */
  silentSince(at: EpochMs): readonly string[] {
    const silent = [...this.#byId.values()].filter(({ expiresAt }) => expiresAt <= at)
    return silent.flatMap(({ tickets }) => [...tickets])
  }

  /** Takes over all that another side knows. */
  absorb(other: Mortals): void {
    for (const [id, { expiresAt, believedThereUntil, tickets }] of other.#byId) {
      const mortal = this.#byId.get(id) ?? newcomer()
      this.#byId.set(id, mortal)
      mortal.expiresAt = Math.max(mortal.expiresAt, expiresAt)
      mortal.believedThereUntil = Math.max(mortal.believedThereUntil, believedThereUntil)
      for (const ticket of tickets) mortal.tickets.add(ticket)
    }
    other.#byId.clear()
  }
}

function newcomer(): Mortal {
  const never = Number.NEGATIVE_INFINITY
  return { expiresAt: never, believedThereUntil: never, tickets: new Set() }
}
