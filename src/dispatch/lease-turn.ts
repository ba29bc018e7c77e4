// One ask for a lease of a named resource, from its place in line to the lease's end. Owns: that what it
// takes of its subject's limits and of the resource is taken together, and given back together. Must
// not know: who asked over which wire, or how the resource's name was found.
import type { Binding, Placement, Prediction } from '../core/admission.ts'
import type { Clock, EpochMs } from '../core/clock.ts'
import type { CostVector } from '../core/cost.ts'
import type { Deadlines, Due } from '../core/deadlines.ts'
import type { Lane } from '../core/lane.ts'
import type { Refusal } from '../core/refusal.ts'
import type { Store } from '../core/store.ts'
import type { Holder, TicketView } from '../core/ticket.ts'
import type { Subject } from '../policy/subject.ts'
import { laneOf } from './call-policy.ts'
import type { GrantListeners } from './grant-listeners.ts'
import { type WaitRefusal, waitRefusal } from './lease-refusals.ts'
import { Quota } from './quota.ts'
import { limitRefusal } from './subject-refusals.ts'

export interface LeaseContext {
  readonly clock: Clock
  readonly store: Store
  readonly grants: GrantListeners
  readonly deadlines: Deadlines<LeaseTurn>
  follow(operation: Promise<unknown>): void
}

export interface LeaseRequest {
  /** Names the ticket, then the lease. */
  readonly id: string
  readonly resource: string
  /** Whether the resource's limits are learnt: then the ends of leases tell its gate that all is well. */
  readonly isLearnt: boolean
  readonly subject: Subject
  readonly lane: Lane | null
  readonly flow: string
  readonly estimate: CostVector
  readonly deadlineAt: EpochMs
  /** Whose signs of life keep it; null: the process's own. */
  readonly holder: Holder | null
}

export type LeaseAnswer =
  | { readonly kind: 'granted'; readonly waitedMs: number }
  | {
      readonly kind: 'refused'
      readonly refusal: Refusal
      /** The resource that had no room for it: the one asked for, or its subject's own. */
      readonly at: string
      readonly boundBy: Binding | null
    }
  /** `leave`, `release` or `forgo` came while it waited. */
  | { readonly kind: 'left' }

/**
 * `new`: not in the resource's line yet. `adopted`: of another turn, maybe another process's, that may have
 * come to any of these. `forgone`: another turn speaks for its holder.
 */
type State = 'new' | 'waiting' | 'held' | 'adopted' | 'over' | 'forgone'

export class LeaseTurn implements Due {
  // Kept by the schedule of deadlines.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly request: LeaseRequest
  readonly #context: LeaseContext
  readonly #quota: Quota
  readonly #startedAt: EpochMs
  #state: State = 'new'
  #isTimeUp = false
  #wake: () => void = () => {}
  #onWaiting: (prediction: Prediction) => void = () => {}

  constructor(context: LeaseContext, request: LeaseRequest) {
    const { id, subject, flow, lane, estimate, deadlineAt, holder } = request
    this.#context = context
    this.request = request
    this.#startedAt = context.clock.now()
    this.#quota = new Quota(context, {
      id,
      scopes: subject.scopes,
      lane: laneOf(subject, lane),
      flow,
      weight: subject.weight,
      estimate,
      deadlineAt,
      onWaiting: (prediction) => this.#stands(prediction),
      ...(holder && { holder }),
    })
  }

  /** Whether its turn has come and it has not ended since. */
  get isHeld(): boolean {
    return this.#state === 'held'
  }

  /**
   * Waits for its turn. The same id again, from whatever process, finds the place or the lease that it
   * has.
   *
   * @param onWaiting is told each time that it stands in a line: its subject's, then the resource's.
   * @throws StoreUnreachable
   */
  async take(onWaiting: (prediction: Prediction) => void = () => {}): Promise<LeaseAnswer> {
    const { clock, deadlines } = this.#context
    this.#onWaiting = onWaiting
    try {
      const taken = await this.#quota.take()
      if (taken.kind === 'refused') {
        const { scope, boundBy } = taken.refusal
        const refusal = limitRefusal(taken.refusal, clock.now())
        this.#state = 'over'
        return { kind: 'refused', refusal, at: scope.resource, boundBy }
      }
      if (taken.kind === 'let_go' || this.#isGone) return this.#leftOrWaitedOut(null)
      return await this.#stand()
    } catch (error) {
      this.leave()
      throw error
    } finally {
      deadlines.clear(this)
    }
  }

  /** Takes for its own what the same id took before: for what looks at it, ends or renews it. */
  adopt(): void {
    this.#quota.adopt()
    this.#state = 'adopted'
  }

  /** Where it stands in whatever line; null when it stands in none. @throws StoreUnreachable */
  async position(): Promise<Prediction | null> {
    const { store } = this.#context
    const waiting = this.#quota.waitsFor ?? this.request
    const there = await store.position(waiting.resource, waiting.id)
    return there ?? (this.#state === 'adopted' ? this.#quota.position() : null)
  }

  /**
   * As the store has it. One that its resource does not know waits for a limit of its subject's. Null: it is
   * nowhere (any more).
   *
   * @throws StoreUnreachable
   */
  async ticket(): Promise<TicketView | null> {
    const { id, resource } = this.request
    const there = await this.#context.store.ticket(resource, id)
    if (there) return there
    const before = await this.#quota.ticket()
    return before && { ...before, id, state: 'waiting', grantedAt: null }
  }

  /**
   * A sign of its holder's life, which is believed to last for so long from now on, however long it was
   * before. False when it is not known (any more).
   *
   * @throws StoreUnreachable
   */
  async renew(ttlMs: number): Promise<boolean> {
    const { holder, resource } = this.request
    if (!holder) return this.#state === 'held'
    const isBeforeLine = this.#state === 'new'
    const [isKnown, isQuotaKnown] = await Promise.all([
      this.#context.store.renew(resource, holder.id, ttlMs),
      this.#quota.renew({ id: holder.id, ttlMs }),
    ])
    return isBeforeLine ? isQuotaKnown : isKnown
  }

  /** Called by the schedule: it may wait no longer. */
  timeUp(): void {
    if (this.#state === 'held') return
    this.#isTimeUp = true
    this.#quota.letGo()
    this.#wake()
  }

  /**
   * It waits no more, or its lease cost nothing: all that it took is given back, but for what another process
   * has asked for since.
   */
  leave(): void {
    if (this.#hasEnded) return
    const wasInLine = this.#state !== 'new'
    this.#end('over')
    this.#quota.letGo()
    if (wasInLine) this.#giveBack()
  }

  /** Looks after it no more, and gives nothing back: another turn of its id does, or its holder is silent. */
  forgo(): void {
    if (this.#hasEnded) return
    this.#end('forgone')
    this.#quota.forgo()
  }

  /** Ends the lease with what it cost. False when it had ended before. @throws StoreUnreachable */
  async settle(actual: CostVector, isExact: boolean): Promise<boolean> {
    const { store, follow } = this.#context
    const { id, resource, isLearnt } = this.request
    const isAdopted = this.#state === 'adopted'
    if (!isAdopted) this.#end('over')
    const wasLease = await store.settle(resource, id, actual, isExact)
    // What is no lease may still wait for its turn, in another process.
    if (!isAdopted || wasLease) this.#quota.settle(actual, isExact)
    if (wasLease && isLearnt) follow(store.answered(resource, null))
    return wasLease
  }

  /**
   * As `leave`, of whichever process it is by now: who asked for it has said so. False when it had ended before.
   *
   * @throws StoreUnreachable
   */
  async release(): Promise<boolean> {
    const { id, resource } = this.request
    this.#end('over')
    const [isEnded, wasTaken] = await Promise.all([
      this.#context.store.leave(resource, id, 'any'),
      this.#quota.release(),
    ])
    return isEnded || wasTaken
  }

  async #stand(): Promise<LeaseAnswer> {
    const { clock, grants, store } = this.#context
    const { id, resource, subject, lane, flow, estimate, deadlineAt, holder } = this.request
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    grants.expect(id, () => this.#granted())
    this.#state = 'waiting'
    const placement = await store.enqueue({
      id,
      resource,
      flow,
      lane: laneOf(subject, lane),
      weight: subject.weight,
      estimate,
      deadlineAt,
      place: null,
      parked: false,
      holder,
    })
    if (placement.kind === 'refused') return this.#refused(placement)
    if (placement.kind === 'admitted') this.#granted()
    // It was left before the store had heard of it, maybe.
    else if (this.#hasLeft) this.#giveBack()
    else if (!this.isHeld && !this.#isGone) this.#stands(placement)
    await woken
    if (this.isHeld)
      return { kind: 'granted', waitedMs: Math.max(0, clock.now() - this.#startedAt) }
    return this.#leftOrWaitedOut(this.#isTimeUp ? await this.position() : null)
  }

  // Asked anew after each wait: what is awaited changes the state.
  get #isGone(): boolean {
    return this.#hasEnded || this.#isTimeUp
  }

  get #hasLeft(): boolean {
    return this.#state === 'over'
  }

  get #hasEnded(): boolean {
    return this.#hasLeft || this.#state === 'forgone'
  }

  #end(state: 'over' | 'forgone'): void {
    this.#state = state
    this.#context.grants.forget(this.request.id)
    this.#wake()
  }

  #giveBack(): void {
    const { store, follow } = this.#context
    const { id, resource } = this.request
    follow(store.leave(resource, id, 'own'))
  }

  #stands(prediction: Prediction): void {
    this.#context.deadlines.set(this, this.request.deadlineAt)
    this.#onWaiting(prediction)
  }

  #granted(): void {
    if (this.#hasLeft) this.#giveBack()
    if (this.#hasEnded) return
    this.#context.grants.forget(this.request.id)
    // What it took of its subject's limits is given back already: `leave` gives this back, too.
    if (!this.#isTimeUp) this.#state = 'held'
    this.#wake()
  }

  #refused(placement: Extract<Placement, { kind: 'refused' }>): LeaseAnswer {
    if (this.#hasEnded) return { kind: 'left' }
    this.#end('over')
    this.#quota.letGo()
    return this.#refusedBy(placement.reason, placement)
  }

  #leftOrWaitedOut(prediction: Prediction | null): LeaseAnswer {
    if (!this.#isTimeUp || this.#hasEnded) return { kind: 'left' }
    this.leave()
    return this.#refusedBy('waited_out', prediction)
  }

  #refusedBy(reason: WaitRefusal, prediction: Prediction | null): LeaseAnswer {
    const { resource } = this.request
    const refusal = waitRefusal(reason, resource, prediction, this.#context.clock.now())
    return { kind: 'refused', refusal, at: resource, boundBy: prediction?.boundBy ?? null }
  }
}
