// Leases and asks, as they are shown. Owns: putting together what the store has and what only this
// process knows. Must not know: who may see them.
import type { EpochMs } from '../core/clock.ts'
import type { CostVector } from '../core/cost.ts'
import type { Lane } from '../core/lane.ts'
import type { Store } from '../core/store.ts'
import type { TicketView } from '../core/ticket.ts'
import { laneOf } from './call-policy.ts'
import type { LeaseAsk } from './lease-ask.ts'
import { readLeaseId } from './lease-id.ts'
import { isOfSubject } from './lease-names.ts'
import type { LeaseRoll } from './lease-roll.ts'
import type { LeaseTurn } from './lease-turn.ts'

export interface LeaseView {
  readonly id: string
  readonly resource: string
  readonly state: 'waiting' | 'held'
  readonly flow: string
  readonly lane: Lane
  readonly estimate: CostVector
  readonly enqueuedAt: EpochMs
  readonly grantedAt: EpochMs | null
  readonly expiresAt: EpochMs
}

/** Of one resource: its gate does nothing else while they are read. */
const MOST_OF_A_RESOURCE = 1000

export class LeaseViews {
  readonly #store: Store
  readonly #roll: LeaseRoll

  constructor(store: Store, roll: LeaseRoll) {
    this.#store = store
    this.#roll = roll
  }

  /**
   * In order of arrival. Where a resource has more than can be read at once, it is any of them.
   *
   * @param owner - As `ownerTag` writes it; null: everybody's.
   * @param resource - Null: all.
   * @throws StoreUnreachable
   */
  async list(owner: string | null, resource: string | null): Promise<readonly LeaseView[]> {
    const names = new Set(resource === null ? await this.#resources() : [resource])
    const views = new Map<string, LeaseView>()
    for (const name of names)
      for (const ticket of await this.#store.tickets(name, MOST_OF_A_RESOURCE)) {
        const facts = readLeaseId(ticket.id)
        if (facts) views.set(ticket.id, viewOfTicket(ticket, facts.resource))
      }
    for (const ask of this.#roll) {
      const view = names.has(ask.resource) && !views.has(ask.id) ? viewOfWaiting(ask) : null
      if (view) views.set(view.id, view)
    }
    const own = [...views.values()].filter(
      ({ id }) => owner === null || readLeaseId(id)?.owner === owner,
    )
    return own.sort((a, b) => a.enqueuedAt - b.enqueuedAt)
  }

  /** @throws StoreUnreachable */
  async find(turn: LeaseTurn): Promise<LeaseView | null> {
    const { id, resource } = turn.request
    const ask = this.#roll.find(id)
    const waiting = ask && viewOfWaiting(ask)
    if (waiting) return waiting
    const ticket = await turn.ticket()
    return ticket && viewOfTicket(ticket, resource)
  }

  /** Names of those that the store knows, and of those for which somebody only stands in a line before. */
  async #resources(): Promise<readonly string[]> {
    const names = new Set((await this.#store.snapshot()).map(({ name }) => name))
    for (const { resource } of this.#roll) names.add(resource)
    return [...names].filter((name) => !isOfSubject(name))
  }
}

/** It may stand in a line of its subject's, where its resource does not know of it. Null: it does not wait. */
function viewOfWaiting({ state, id, resource, facts }: LeaseAsk): LeaseView | null {
  if (state !== 'waiting') return null
  const { flow, lane, subject, estimate } = facts.request
  return {
    id,
    resource,
    state,
    flow,
    lane: laneOf(subject, lane),
    estimate,
    enqueuedAt: facts.askedAt,
    grantedAt: null,
    expiresAt: Number.POSITIVE_INFINITY,
  }
}

function viewOfTicket(ticket: TicketView, resource: string): LeaseView {
  const expiresAt = ticket.state === 'held' ? ticket.expiresAt : Number.POSITIVE_INFINITY
  return { ...ticket, resource, expiresAt }
}
