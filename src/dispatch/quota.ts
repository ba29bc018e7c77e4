// What one call takes of its subject's own limits: the user's, then the team's. Owns: taking them from
// the narrowest to the widest, all or none, and giving them back. Must not know: the provider's limits,
// money, or who the call belongs to.
import type { Binding, Placement, Prediction } from '../core/admission.ts'
import type { Clock, EpochMs } from '../core/clock.ts'
import type { CostVector } from '../core/cost.ts'
import type { Lane } from '../core/lane.ts'
import type { Store } from '../core/store.ts'
import type { Holder, TicketView } from '../core/ticket.ts'
import type { Scope } from '../policy/subject.ts'
import type { GrantListeners } from './grant-listeners.ts'
import { type LimitStanding, standingsOf } from './limit-standing.ts'

export interface QuotaContext {
  readonly clock: Clock
  readonly store: Store
  readonly grants: GrantListeners
  follow(operation: Promise<unknown>): void
}

export interface QuotaRequest {
  readonly id: string
  readonly scopes: readonly Scope[]
  readonly lane: Lane
  readonly flow: string
  readonly weight: number
  readonly estimate: CostVector
  /** How long a scope that lets its calls wait lets this one wait. */
  readonly deadlineAt: EpochMs
  /** It stands in line for one of its scopes. */
  readonly onWaiting: (prediction: Prediction) => void
  /** Whose signs of life keep what it takes. @default the process's */
  readonly holder?: Holder
}

/** A scope that has no room for the call. */
export interface QuotaRefusal {
  readonly scope: Scope
  readonly boundBy: Binding | null
  /** When it would have had room; Infinity where only the end of another call can tell. */
  readonly expectedAt: EpochMs
  readonly standings: readonly LimitStanding[]
}

export type QuotaAnswer =
  | { readonly kind: 'taken'; readonly shadowed: readonly Scope[] }
  | { readonly kind: 'refused'; readonly refusal: QuotaRefusal }
  /** `letGo` came while it waited. */
  | { readonly kind: 'let_go' }

/** A ticket of one call in one scope. One call's tickets need names of their own. */
interface Hold {
  readonly resource: string
  readonly id: string
}

export class Quota {
  readonly #context: QuotaContext
  readonly #request: QuotaRequest
  #held: Hold[] = []
  #waiting: (Hold & { readonly resolve: (isGranted: boolean) => void }) | null = null
  #isOver = false
  #isForgone = false

  constructor(context: QuotaContext, request: QuotaRequest) {
    this.#context = context
    this.#request = request
  }

  /** The ticket that it waits with, or null. */
  get waitsFor(): Hold | null {
    return this.#waiting
  }

  /** Takes of every scope. Whatever refuses, nothing is kept. @throws StoreUnreachable */
  async take(): Promise<QuotaAnswer> {
    const shadowed: Scope[] = []
    try {
      for (const scope of this.#request.scopes) {
        if (!(await this.#takeShadow(scope))) shadowed.push(scope)
        const refusal = this.#isOver ? null : await this.#takeOf(scope)
        if (this.#isOver) {
          this.letGo()
          return { kind: 'let_go' }
        }
        if (!refusal) continue
        this.letGo()
        return { kind: 'refused', refusal }
      }
    } catch (error) {
      this.letGo()
      throw error
    }
    return { kind: 'taken', shadowed }
  }

  /** How the limits stand that the call is counted in. Empty where that cannot be told now. */
  async standings(): Promise<readonly LimitStanding[]> {
    const scopes = this.#request.scopes.filter(({ limits }) => limits.length > 0)
    const all = await Promise.all(scopes.map((scope) => this.#standingsOf(scope)))
    return all.flat()
  }

  /** Makes its own what a quota of the same id took before, in whatever process. */
  adopt(): void {
    this.#held = this.#request.scopes.flatMap(
      ({ resource, limits, shadowResource, shadowLimits }) => [
        ...(limits.length > 0 ? [this.#holdOf(resource)] : []),
        ...(shadowLimits.length > 0 ? [this.#holdOf(shadowResource)] : []),
      ],
    )
  }

  /** A sign of life for all that was taken, and for the place that it waits in. False when any is not known. */
  async renew({ id, ttlMs }: Holder): Promise<boolean> {
    const { store } = this.#context
    const known = await Promise.all(
      this.#all.map(({ resource }) => store.renew(resource, id, ttlMs)),
    )
    return known.every(Boolean)
  }

  /** Of all that it has, the ticket of the widest scope that the store knows of; null when it knows none. */
  async ticket(): Promise<TicketView | null> {
    for (const { resource, id } of this.#all.toReversed()) {
      const ticket = await this.#context.store.ticket(resource, id)
      if (ticket) return ticket
    }
    return null
  }

  /** Where it stands in the line of a scope; null when it stands in none. */
  async position(): Promise<Prediction | null> {
    for (const { resource, id } of this.#all.toReversed()) {
      const prediction = await this.#context.store.position(resource, id)
      if (prediction) return prediction
    }
    return null
  }

  /** The call has ended. */
  settle(actual: CostVector, isExact: boolean): void {
    const { store, follow } = this.#context
    for (const { resource, id } of this.#end()) follow(store.settle(resource, id, actual, isExact))
  }

  /** The call will not be sent, or cost nothing: all is given back, and nothing waits any more. */
  letGo(): void {
    if (!this.#isForgone) for (const hold of this.#end()) this.#leave(hold)
  }

  /** As `letGo`, of whichever process it is by now. False when nothing was there. @throws StoreUnreachable */
  async release(): Promise<boolean> {
    const { store } = this.#context
    const ended = await Promise.all(
      this.#end().map(({ resource, id }) => store.leave(resource, id, 'any')),
    )
    return ended.some(Boolean)
  }

  /** Looks after nothing any more and gives nothing back: somebody else speaks for its holder. */
  forgo(): void {
    this.#isForgone = true
    this.#end()
  }

  /** Takes of a scope's shadow, which nobody waits for. False when it has no room. */
  async #takeShadow({ shadowResource, shadowLimits }: Scope): Promise<boolean> {
    if (shadowLimits.length === 0) return true
    const hold = this.#holdOf(shadowResource)
    const placement = await this.#enqueue(hold, this.#context.clock.now())
    if (placement.kind === 'admitted') this.#held.push(hold)
    else if (placement.kind === 'waiting') this.#leave(hold)
    return placement.kind === 'admitted'
  }

  async #takeOf(scope: Scope): Promise<QuotaRefusal | null> {
    if (scope.limits.length === 0) return null
    const { clock } = this.#context
    const hold = this.#holdOf(scope.resource)
    const mayWait = scope.overflow === 'wait'
    const granted = mayWait ? this.#expectGrant(hold) : null
    const deadlineAt = mayWait ? this.#request.deadlineAt : clock.now()
    const placement = await this.#enqueue(hold, deadlineAt)
    if (placement.kind === 'waiting' && granted !== null) {
      if (this.#waiting) this.#request.onWaiting(placement)
      if (await granted) this.#held.push(hold)
      // It was let go before the store had heard of it, maybe.
      else if (!this.#isForgone) this.#leave(hold)
      return null
    }
    this.#stopExpecting()
    if (placement.kind === 'admitted') {
      this.#held.push(hold)
      return null
    }
    if (placement.kind === 'waiting') this.#leave(hold)
    const { boundBy, expectedAt } = placement
    return { scope, boundBy, expectedAt, standings: await this.#standingsOf(scope) }
  }

  #enqueue(hold: Hold, deadlineAt: EpochMs): Promise<Placement> {
    const { flow, lane, weight, estimate } = this.#request
    return this.#context.store.enqueue({
      ...hold,
      flow,
      lane,
      weight,
      estimate,
      deadlineAt,
      place: null,
      parked: false,
      holder: this.#request.holder ?? null,
    })
  }

  /** The grant may come before `enqueue` has answered. */
  #expectGrant(hold: Hold): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waiting = { ...hold, resolve }
    this.#context.grants.expect(hold.id, () => {
      this.#stopExpecting()
      resolve(true)
    })
    return promise
  }

  #stopExpecting(): void {
    if (this.#waiting) this.#context.grants.forget(this.#waiting.id)
    this.#waiting = null
  }

  /** Whether it waits there or was let in meanwhile, unless another process has come for it. */
  #leave({ resource, id }: Hold): void {
    const { store, follow } = this.#context
    follow(store.leave(resource, id, 'own'))
  }

  /** What was taken, and the ticket that it waits with. */
  get #all(): readonly Hold[] {
    return this.#waiting ? [...this.#held, this.#waiting] : this.#held
  }

  #holdOf(resource: string): Hold {
    return { resource, id: `${this.#request.id}/${resource}` }
  }

  async #standingsOf({ resource, limits, subject }: Scope): Promise<readonly LimitStanding[]> {
    const { clock, store } = this.#context
    return standingsOf(subject, limits, await store.look(resource), clock.now())
  }

  /** @returns all that it had, of which nothing is its own any more. */
  #end(): readonly Hold[] {
    const all = this.#all
    const waiting = this.#waiting
    this.#isOver = true
    this.#held = []
    this.#stopExpecting()
    waiting?.resolve(false)
    return all
  }
}
