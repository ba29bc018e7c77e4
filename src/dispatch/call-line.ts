// A call's place in the provider's line. Owns: joining it, leaving it, and the place that is kept for a
// caller that comes back. Must not know: what the call does before and after.
import type { Placement, Prediction } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { CostVector } from '../core/cost.ts'
import type { Lane } from '../core/lane.ts'
import type { Place } from '../core/ticket.ts'
import type { CallContext } from './call-context.ts'
import type { Follower } from './followers.ts'

export interface LineTicket {
  readonly id: string
  readonly flow: string
  readonly lane: Lane
  readonly weight: number
  readonly deadlineAt: EpochMs
}

/** What the call asks for at present. */
export interface LineWish {
  /** As the call's target names it; `CallLine.resource` may be a newer name. */
  readonly resource: string
  readonly estimate: CostVector
  readonly body: unknown
}

export class CallLine {
  /** The resource whose line it is, or was last. */
  resource: string
  readonly #context: CallContext
  readonly #ticket: LineTicket
  readonly #follower: Follower
  readonly #startedAt: EpochMs
  /** Whether the store has been asked for a place, which is to be left again. */
  #isIn = false
  #isParked = false
  #joined: LineWish

  constructor(context: CallContext, ticket: LineTicket, follower: Follower, wish: LineWish) {
    this.#context = context
    this.#ticket = ticket
    this.#follower = follower
    this.#startedAt = context.clock.now()
    this.#joined = wish
    this.resource = wish.resource
  }

  get isIn(): boolean {
    return this.#isIn
  }

  /** Whether it lets another go first, whose prompt it can read from the cache. */
  get isParked(): boolean {
    return this.#isParked
  }

  /** @param place that it had, and gets again; null: one that a caller of the same request left. */
  async join(wish: LineWish, place: Place | null): Promise<Placement> {
    const { store, waits, followers, abandoned } = this.#context
    this.#joined = wish
    this.resource = wish.resource
    // Where others wait, tokens are scarce: what the cache will hold in a moment is not read afresh.
    const parked = waits.size > 0 && this.#follower.hasLeader(this.#startedAt)
    if (parked) followers.add(this.#follower)
    this.#isParked = parked
    this.#isIn = true
    const key = this.#placeKey()
    return await store.enqueue({
      ...this.#ticket,
      resource: wish.resource,
      estimate: wish.estimate,
      place: place ?? (key && abandoned.reclaim(key, this.#startedAt)),
      parked,
      holder: null,
    })
  }

  /** Null when it was not waiting: where it was in line, its grant has come or is on its way. */
  async leave(): Promise<Place | null> {
    if (!this.#isIn) return null
    this.#context.followers.remove(this.#follower)
    const place = await this.#context.store.cancel(this.resource, this.#ticket.id)
    if (place) this.#isIn = false
    return place
  }

  /** As `leave`, for a caller that may come back: it finds its place again. */
  async leaveForNow(): Promise<void> {
    const { abandoned, clock } = this.#context
    const place = await this.leave()
    const key = this.#placeKey()
    if (place && key) abandoned.keep(key, place, clock.now())
  }

  /** The call's turn had come, and it does not use it. */
  async giveTurnBack(): Promise<void> {
    this.#isIn = false
    await this.#context.store.release(this.resource, this.#ticket.id)
  }

  position(): Promise<Prediction | null> {
    return this.#context.store.position(this.resource, this.#ticket.id)
  }

  #placeKey() {
    const { body, resource } = this.#joined
    return Buffer.isBuffer(body) ? { flow: this.#ticket.flow, resource, body } : null
  }
}
