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
import type { Holder } from '../core/ticket.ts'
import type { Subject } from '../policy/subject.ts'
import { laneOf } from './call-policy.ts'
import type { GrantListeners } from './grant-listeners.ts'
import { Quota } from './quota.ts'
import { limitRefusal } from './subject-refusals.ts'
import { describeWait } from './wait-message.ts'

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
  /** `leave` or `forgo` came while it waited. */
  | { readonly kind: 'left' }

/** `new`: not in the resource's line yet. `forgone`: its holder's, whoever speaks for that one. */
type State = 'new' | 'waiting' | 'held' | 'over' | 'forgone'

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

  /** Takes for its own what the same id took before: for what ends or renews it. */
  adopt(): void {
    this.#quota.adopt()
    this.#state = 'held'
  }

  position(): Promise<Prediction | null> {
    const waiting = this.#quota.waitsFor ?? this.request
    return this.#context.store.position(waiting.resource, waiting.id)
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
    const [isKnown, isQuotaKnown] = await Promise.all([
      this.#context.store.renew(resource, holder.id, ttlMs),
      this.#quota.renew({ id: holder.id, ttlMs }),
    ])
    return this.#state === 'new' ? isQuotaKnown : isKnown
  }

  /** Called by the schedule: it may wait no longer. */
  timeUp(): void {
    if (this.#state === 'held') return
    this.#isTimeUp = true
    this.#quota.letGo()
    this.#wake()
  }

  /** It waits no more, and all that it took is given back. Of a lease, as `release`. */
  leave(): void {
    const { follow, grants, store } = this.#context
    const { id, resource } = this.request
    if (this.#state === 'forgone') return
    const wasInLine = this.#state === 'waiting' || this.#state === 'held'
    this.#state = 'over'
    this.#quota.letGo()
    grants.forget(id)
    this.#wake()
    // Its turn may have come meanwhile.
    if (wasInLine)
      follow(
        store.cancel(resource, id).then((place) => (place ? null : store.release(resource, id))),
      )
  }

  /**
   * Looks after it no more, and gives nothing back: it lasts as long as its holder is believed to live,
   * and somebody else may have asked for it meanwhile. Until `forgotten`, a grant is left alone.
   */
  forgo(): void {
    this.#state = 'forgone'
    this.#context.grants.expect(this.request.id, () => {})
    this.#quota.forgo()
    this.#wake()
  }

  /** After `forgo`, once its holder's time is over. */
  forgotten(): void {
    this.#context.grants.forget(this.request.id)
    this.#quota.forgotten()
  }

  /** Ends the lease with what it cost. False when it had ended before. @throws StoreUnreachable */
  async settle(actual: CostVector, isExact: boolean): Promise<boolean> {
    const { store, follow } = this.#context
    const { id, resource, isLearnt } = this.request
    this.#state = 'over'
    const wasLease = await store.settle(resource, id, actual, isExact)
    this.#quota.settle(actual, isExact)
    if (wasLease && isLearnt) follow(store.answered(resource, null))
    return wasLease
  }

  /** Ends the lease for nothing, or takes it out of line. False when it had ended before. @throws StoreUnreachable */
  async release(): Promise<boolean> {
    const { store, grants } = this.#context
    const { id, resource } = this.request
    this.#state = 'over'
    const place = await store.cancel(resource, id)
    const isEnded = place !== null || (await store.release(resource, id))
    grants.forget(id)
    this.#quota.letGo()
    this.#wake()
    return isEnded
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
    if (placement.kind === 'admitted') this.#granted()
    if (placement.kind === 'refused') return this.#refused(placement)
    if (placement.kind === 'waiting' && !this.isHeld && !this.#isGone) this.#stands(placement)
    await woken
    if (this.isHeld)
      return { kind: 'granted', waitedMs: Math.max(0, clock.now() - this.#startedAt) }
    return this.#leftOrWaitedOut(this.#isTimeUp ? await this.position() : null)
  }

  // Asked anew after each wait: what is awaited changes the state.
  get #isGone(): boolean {
    return this.#state === 'over' || this.#state === 'forgone' || this.#isTimeUp
  }

  #stands(prediction: Prediction): void {
    this.#context.deadlines.set(this, this.request.deadlineAt)
    this.#onWaiting(prediction)
  }

  #granted(): void {
    if (this.#state === 'forgone') return
    const { grants, store, follow } = this.#context
    const { id, resource } = this.request
    grants.forget(id)
    if (this.#state === 'over') follow(store.release(resource, id))
    else this.#state = 'held'
    this.#wake()
  }

  #refused(placement: Extract<Placement, { kind: 'refused' }>): LeaseAnswer {
    const { clock, grants } = this.#context
    const { id, resource } = this.request
    this.#state = 'over'
    grants.forget(id)
    this.#quota.letGo()
    return refusedBy(placement.reason, resource, placement, clock.now())
  }

  #leftOrWaitedOut(prediction: Prediction | null): LeaseAnswer {
    const { clock } = this.#context
    if (!this.#isTimeUp || this.#state === 'forgone') return { kind: 'left' }
    this.leave()
    return refusedBy('waited_out', this.request.resource, prediction, clock.now())
  }
}

/** When to ask again where only the end of another's lease can tell. */
const SOON_MS = 1000

function refusedBy(
  reason: 'queue_full' | 'wait_too_long' | 'waited_out',
  resource: string,
  prediction: Prediction | null,
  now: EpochMs,
): LeaseAnswer {
  const { expectedAt = Number.POSITIVE_INFINITY, boundBy = null } = prediction ?? {}
  const retryAfterMs = Number.isFinite(expectedAt) ? Math.max(0, expectedAt - now) : SOON_MS
  const message = describeWait(reason, resource, prediction, now)
  return { kind: 'refused', refusal: { reason, message, retryAfterMs }, at: resource, boundBy }
}
