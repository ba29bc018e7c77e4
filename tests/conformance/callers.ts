// Those who ask a store, as they are known from its answers and pushes alone. Owns: who waits, who
// holds, who is gone, what was taken and when. Must not know: any store, how it is asked.
import type { EpochMs } from '../../src/core/clock.ts'
import type { CostVector } from '../../src/core/cost.ts'
import type { Holder, TicketRequest } from '../../src/core/ticket.ts'

/** What one admission has taken, as far as known by now. */
export interface Take {
  readonly id: string
  readonly at: EpochMs
  charge: CostVector
  isHeld: boolean
}

export interface Caller {
  readonly id: string
  readonly flow: string
  readonly resource: string
  readonly holder: Holder | null
  /** As it came. */
  readonly request: TicketRequest
  estimate: CostVector
  isParked: boolean
  /** When it became a lease; null before. */
  grantedAt: EpochMs | null
}

export function callerOf(request: TicketRequest): Caller {
  const { id, flow, resource, holder, estimate, parked: isParked } = request
  return { id, flow, resource, holder, request, estimate, isParked, grantedAt: null }
}

type List = 'waiting' | 'parked' | 'held'

export class Callers {
  /** In order of enqueueing, those put back last. */
  readonly waiting: Caller[] = []
  readonly parked: Caller[] = []
  /** In order of admission. */
  readonly held: Caller[] = []
  /** Whose holders were silent for too long. */
  readonly gone: Caller[] = []
  readonly takes: Take[] = []
  readonly #expiresAt = new Map<string, EpochMs>()

  get all(): readonly Caller[] {
    return [...this.waiting, ...this.parked, ...this.held]
  }

  /** One that waits, aside or in line, or holds. */
  find(id: string): Caller | undefined {
    return this.all.find((caller) => caller.id === id)
  }

  isHeld(id: string): boolean {
    return this.held.some((caller) => caller.id === id)
  }

  take(list: List, id: string): Caller | undefined {
    return take(this[list], id)
  }

  takeGone(id: string): Caller | undefined {
    return take(this.gone, id)
  }

  /** A caller waits, in line or aside. */
  stand(caller: Caller): void {
    caller.grantedAt = null
    this[caller.isParked ? 'parked' : 'waiting'].push(caller)
  }

  /** A caller holds what it was admitted for. */
  admit(caller: Caller, now: EpochMs): void {
    take(this.waiting, caller.id)
    take(this.parked, caller.id)
    caller.isParked = false
    caller.grantedAt = now
    this.held.push(caller)
    this.takes.push({ id: caller.id, at: now, charge: caller.estimate, isHeld: true })
  }

  /** A caller holds again what it had been admitted for, and what was never given back. */
  readmit(caller: Caller, grantedAt: EpochMs): void {
    caller.grantedAt = grantedAt
    this.held.push(caller)
    const former = this.takes.findLast(({ id }) => id === caller.id)
    if (former) former.isHeld = true
  }

  /** A lease has ended, and cost this much. */
  end(id: string, charge: CostVector): void {
    const taken = this.takeOf(id)
    if (!taken) return
    taken.charge = charge
    taken.isHeld = false
  }

  takeOf(id: string): Take | undefined {
    return this.takes.find((taken) => taken.id === id && taken.isHeld)
  }

  /** A sign of life that comes with a ticket. */
  heardOf(holder: Holder | null, now: EpochMs): void {
    if (!holder) return
    const before = this.#believedUntil(holder.id)
    this.#expiresAt.set(holder.id, Math.max(before, now + holder.ttlMs))
  }

  /** A sign of life on purpose. Returns whether its holder has anything. */
  renew(holderId: string, expiresAt: EpochMs): boolean {
    const isKnown = this.#believedUntil(holderId) > Number.NEGATIVE_INFINITY
    if (isKnown) this.#expiresAt.set(holderId, expiresAt)
    return isKnown
  }

  /** Those are gone whose holders were last believed to live until now, at most. */
  expire(now: EpochMs): void {
    for (const { id, holder } of this.all) {
      if (!holder || (this.#expiresAt.get(holder.id) ?? now) > now) continue
      const lease = this.takeOf(id)
      if (lease) lease.isHeld = false
      const caller = take(this.waiting, id) ?? take(this.parked, id) ?? take(this.held, id)
      if (caller) this.gone.push(caller)
    }
  }

  /** Since a holder without tickets is forgotten, nothing is believed of it. */
  #believedUntil(holderId: string): EpochMs {
    const hasTickets = this.all.some(({ holder }) => holder?.id === holderId)
    return hasTickets ? (this.#expiresAt.get(holderId) ?? Number.NaN) : Number.NEGATIVE_INFINITY
  }
}

function take(callers: Caller[], id: string): Caller | undefined {
  const index = callers.findIndex((caller) => caller.id === id)
  return index < 0 ? undefined : callers.splice(index, 1)[0]
}
