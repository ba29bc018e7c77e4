// The process's own side of gates that many processes share. Owns: the store that the process sees,
// whether those can be reached or not. Must not know: what shares them, or how.
//
// A ticket is in the book before the shared gate hears of it, and until its end is confirmed. So
// whatever becomes of the store, this process can take all that is its own to other gates, and back.
import type { Bounce, LimitRefusal, Placement, Prediction } from '../../core/admission.ts'
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { CostVector } from '../../core/cost.ts'
import type { Observation } from '../../core/observation.ts'
import {
  type Grant,
  type ResourceSnapshot,
  type SettingsOf,
  type Store,
  StoreUnreachable,
  type Whose,
} from '../../core/store.ts'
import type { OwnTicket, Place, TicketRequest, TicketView } from '../../core/ticket.ts'
import type { SharedGates } from '../shared-gates.ts'
import { Book } from './book.ts'
import { Grants } from './grants.ts'
import { Heartbeat } from './heartbeat.ts'
import { LeaseOperations } from './lease-operations.ts'
import type { FailurePolicy } from './local-share.ts'
import type { Operation } from './operation.ts'
import { Passage } from './passage.ts'
import type { SharedStoreEvents } from './shared-store-events.ts'
import type { Side } from './side.ts'
import { TicketOperations } from './ticket-operations.ts'

export interface SharedStoreOptions {
  readonly clock: Clock
  readonly random: () => number
  readonly shared: SharedGates
  readonly settingsOf: SettingsOf
  /** Makes a store for this process alone. Its life bears the name of its kind. */
  readonly localStore: (settingsOf: SettingsOf) => Store
  readonly onFailure: FailurePolicy
  readonly events: SharedStoreEvents
  /** How often to give a sign of life; the shared gates wait five times as long for one. @default 2000 */
  readonly beatMs?: number
}

const BEAT_MS = 2000
const BEATS_IN_A_LIFE = 5

export class SharedStore implements Store {
  readonly kind: string
  readonly #shared: SharedGates
  readonly #events: SharedStoreEvents
  readonly #grants: Grants
  readonly #passage: Passage
  readonly #heartbeat: Heartbeat
  readonly #book: Book
  readonly #tickets: TicketOperations
  readonly #leases: LeaseOperations

  constructor(options: SharedStoreOptions) {
    const { clock, shared, events, onFailure, beatMs = BEAT_MS } = options
    const lifeMs = beatMs * BEATS_IN_A_LIFE
    const failed = events.tellFailed
    const leaveThere = (resource: string, id: string) =>
      this.#letGo(shared.leave(resource, id, 'own'))
    const book = new Book(clock, () => this.#heartbeat.start())
    const suspect = (side: Side): void => this.#passage.rejoin(side)
    const grants = new Grants({
      clock,
      book,
      shared,
      lifeMs,
      suspect,
      strangerThere: leaveThere,
    })
    const passage = new Passage({ ...options, holdMs: lifeMs, book, grants })
    const operators = {
      shared,
      book,
      grants,
      leaveThere,
      suspect,
      clock,
      lifeMs,
    }
    this.kind = shared.kind
    this.#shared = shared
    this.#events = events
    this.#book = book
    this.#grants = grants
    this.#passage = passage
    this.#heartbeat = new Heartbeat({ clock, beatMs, lifeMs, book, shared, passage, failed })
    this.#tickets = new TicketOperations(operators, onFailure)
    this.#leases = new LeaseOperations(operators)
    shared.onGrant((grant) => grants.there(grant))
    shared.onLost((loss) => book.lose(loss))
  }

  get isDegraded(): boolean {
    return this.#passage.outage !== null
  }

  onGrant(listener: (grant: Grant) => void): void {
    this.#grants.tell = listener
  }

  onLost(listener: (loss: { readonly id: string }) => void): void {
    this.#book.tellLoss = listener
  }

  enqueue(request: TicketRequest): Promise<Placement> {
    return this.#passage.operate(request.resource, this.#tickets.enqueue(request))
  }

  cancel(resource: string, id: string): Promise<Place | null> {
    return this.#passage.operate(resource, this.#tickets.cancel(id), id)
  }

  leave(resource: string, id: string, whose: Whose): Promise<boolean> {
    return this.#passage.operate(resource, this.#tickets.leave(id, whose), id)
  }

  unpark(resource: string, id: string, estimate: CostVector): Promise<boolean> {
    return this.#passage.operate(resource, this.#tickets.unpark(id, estimate), id)
  }

  raise(resource: string, id: string): Promise<boolean> {
    return this.#passage.operate(resource, this.#tickets.raise(id), id)
  }

  settle(resource: string, id: string, actual: CostVector, exact: boolean): Promise<boolean> {
    return this.#passage.operate(resource, this.#leases.settle(id, actual, exact), id)
  }

  release(resource: string, id: string): Promise<boolean> {
    return this.#passage.operate(resource, this.#leases.release(id), id)
  }

  revise(
    resource: string,
    id: string,
    estimate: CostVector,
    produced: number | null,
  ): Promise<boolean> {
    return this.#passage.operate(resource, this.#leases.revise(id, estimate, produced), id)
  }

  bounce(resource: string, id: string, bounce: Bounce): Promise<boolean> {
    return this.#passage.operate(resource, this.#leases.bounce(id, bounce), id)
  }

  answered(resource: string, firstAnswerMs: number | null): Promise<void> {
    return this.#wherever(resource, (store, name) => store.answered(name, firstAnswerMs))
  }

  observe(resource: string, observation: Observation): Promise<void> {
    return this.#wherever(resource, (store, name) => store.observe(name, observation))
  }

  refused(resource: string, refusal: LimitRefusal): Promise<void> {
    return this.#wherever(resource, (store, name) => store.refused(name, refusal))
  }

  pause(resource: string, until: EpochMs): Promise<void> {
    return this.#wherever(resource, (store, name) => store.pause(name, until))
  }

  merge(from: string, into: string): Promise<void> {
    return this.#passage.merge(from, into)
  }

  async renew(resource: string, holder: string, ttlMs: number): Promise<boolean> {
    const isKnown = await this.#wherever(resource, (store, name) =>
      store.renew(name, holder, ttlMs),
    )
    if (isKnown) this.#book.renew(resource, { id: holder, ttlMs })
    return isKnown
  }

  rejoin(
    resource: string,
    tickets: readonly OwnTicket[],
    spent: CostVector,
  ): Promise<readonly string[]> {
    return this.#passage.operate(resource, this.#tickets.rejoin(tickets, spent))
  }

  position(resource: string, id: string): Promise<Prediction | null> {
    return this.#wherever(resource, (store, name) => store.position(name, id), id)
  }

  /** Of each resource as its present gate has it; of the shared ones only while they can be reached. */
  async snapshot(): Promise<readonly ResourceSnapshot[]> {
    const local = (await this.#passage.outage?.local.snapshot()) ?? []
    const shared = await this.#sharedSnapshot()
    const isLocal = ({ name }: ResourceSnapshot) => this.#book.peek(name)?.isLocal ?? false
    return [...shared.filter((resource) => !isLocal(resource)), ...local.filter(isLocal)]
  }

  look(resource: string): Promise<ResourceSnapshot | null> {
    return this.#wherever(resource, (store, name) => store.look(name))
  }

  ticket(resource: string, id: string): Promise<TicketView | null> {
    return this.#wherever(resource, (store, name) => store.ticket(name, id), id)
  }

  tickets(resource: string, most: number): Promise<readonly TicketView[]> {
    return this.#wherever(resource, (store, name) => store.tickets(name, most))
  }

  reconfigure(): void {
    this.#shared.reconfigure()
    this.#passage.outage?.local.reconfigure()
  }

  async close(): Promise<void> {
    this.#heartbeat.stop()
    await this.#passage.close()
    await this.#shared.close()
  }

  async #sharedSnapshot(): Promise<readonly ResourceSnapshot[]> {
    if (!this.#passage.isReachable) return []
    try {
      return await this.#shared.snapshot()
    } catch (error) {
      if (error instanceof StoreUnreachable) return []
      throw error
    }
  }

  /** An operation that leaves the book as it is. */
  #wherever<T>(
    resource: string,
    ask: (store: Omit<Store, 'isDegraded'>, name: string) => Promise<T>,
    id?: string,
  ): Promise<T> {
    const operation: Operation<T, T> = {
      there: ({ name }) => ask(this.#shared, name),
      take: (answer) => answer,
      here: (local, { name }) => ask(local, name),
    }
    return this.#passage.operate(resource, operation, id)
  }

  #letGo(operation: Promise<boolean>): void {
    operation.catch((error: unknown) => {
      // It is found to be a stranger's on return.
      if (!(error instanceof StoreUnreachable)) this.#events.tellFailed(error)
    })
  }
}
