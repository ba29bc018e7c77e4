// The time without the shared gates. Owns: the local gates that stand in for them, and what the
// policy makes of these. Must not know: when it begins and ends (passage.ts).
import type { Clock, EpochMs } from '../../core/clock.ts'
import { NOTHING } from '../../core/cost.ts'
import type { SettingsOf, Store } from '../../core/store.ts'
import type { OwnTicket } from '../../core/ticket.ts'
import type { Book } from './book.ts'
import type { Grants } from './grants.ts'
import { type FailurePolicy, localSettings } from './local-share.ts'
import { type Entry, ownTicket, type Side } from './side.ts'

export interface OutageOptions {
  readonly clock: Clock
  readonly policy: FailurePolicy
  readonly settingsOf: SettingsOf
  /** Makes a store for this process alone. Its life bears the name of its kind. */
  readonly localStore: (settingsOf: SettingsOf) => Store
  /** For how long a gate that takes nobody is paused, until that is said again. */
  readonly holdMs: number
  readonly book: Book
  readonly grants: Grants
  readonly failed: (error: unknown) => void
}

export class Outage {
  readonly local: Store
  readonly startedAt: EpochMs
  /** Resources that have gone local in its course. */
  readonly resources = new Set<string>()
  /** Tickets that the shared gates have back. */
  rejoined = 0
  /** Resources that were merged here and not there, by the one that is no more. */
  readonly untoldMerges = new Map<string, string>()
  readonly #options: OutageOptions

  constructor(options: OutageOptions) {
    this.#options = options
    this.startedAt = options.clock.now()
    this.local = options.localStore((resource) => this.#settingsOf(resource))
    this.local.onGrant(({ resource, id }) => this.#granted(resource, id))
  }

  /** All of a side's tickets at once go to a gate that is this process's alone. */
  takeIn(side: Side): void {
    const { clock } = this.#options
    const now = clock.now()
    side.isLocal = true
    this.resources.add(side.name)
    this.hold(side)
    // Those that have not been answered are asked for once more, as any newcomer.
    const entries = [...side.tickets.values()].filter(
      ({ isArriving, grantedAt }) => !isArriving || grantedAt !== null,
    )
    if (entries.length === 0) return
    const waiting = entries.filter(({ grantedAt }) => grantedAt === null)
    const tickets = entries.map((entry) => this.#brought(entry, now))
    this.#follow(this.local.rejoin(side.name, tickets, NOTHING), (held) => {
      const granted = new Set(held)
      for (const { request } of waiting)
        if (granted.has(request.id)) this.#granted(side.name, request.id)
    })
  }

  /** Lets nobody in for a while, where the policy says so. */
  hold(side: Side): void {
    const { clock, policy, holdMs } = this.#options
    if (policy === 'closed') this.#follow(this.local.pause(side.name, clock.now() + holdMs))
  }

  /** A side's tickets are the shared gate's again. */
  giveBack(side: Side): void {
    side.isLocal = false
    this.rejoined += side.tickets.size
    for (const id of side.tickets.keys()) this.#follow(this.local.leave(side.name, id, 'own'))
  }

  /** Both were taken in before. */
  merge(from: Side, into: Side): void {
    this.#follow(this.local.merge(from.name, into.name))
  }

  /** What was taken is in what is used of the limits already: it is counted as of now. */
  #brought(entry: Entry, now: EpochMs): OwnTicket {
    const ticket = ownTicket(entry, now)
    if (ticket.grantedAt === null) return ticket
    return { ...ticket, grantedAt: now, countedIn: this.local.kind }
  }

  #settingsOf(resource: string) {
    const { book, policy, settingsOf } = this.#options
    const side = book.sideOf(resource)
    const { limits, taken } = side
    const known = { limits, taken, instances: book.instances }
    side.forgetUse()
    return localSettings(policy, settingsOf(resource), known)
  }

  #granted(resource: string, id: string): void {
    if (!this.#options.grants.here(id)) this.#follow(this.local.leave(resource, id, 'own'))
  }

  #follow<T>(operation: Promise<T>, then: (answer: T) => void = () => {}): void {
    operation.then(then).catch(this.#options.failed)
  }
}
