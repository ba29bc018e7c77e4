// One ask for a lease, for as long as this process knows of it. Owns: what becomes of it when its turn
// comes, when its place is lost, and when those who wait for it go. Must not know: HTTP, or other asks.
import type { Prediction } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Due } from '../core/deadlines.ts'
import { StoreUnreachable } from '../core/store.ts'
import {
  CANCELLED,
  type Ending,
  GONE_ELSEWHERE,
  type LeaseRefusal,
  ofGate,
  SHUTTING_DOWN,
  STORE_FAILED,
} from './lease-refusals.ts'
import { type LeaseContext, type LeaseRequest, LeaseTurn } from './lease-turn.ts'

/** A place lasts so long without a sign of life of the process that it is waited for in. */
export const PLACE_TTL_MS = 30_000

/** Of the signs of life, so many say nothing of where it stands: that is dearer to ask. */
const SIGNS_PER_LOOK = 3

export interface GrantedLease {
  readonly id: string
  readonly resource: string
  readonly grantedAt: EpochMs
  readonly waitedMs: number
  readonly expiresAt: EpochMs
  readonly ttlMs: number
}

export type LeaseOutcome =
  | { readonly kind: 'granted'; readonly lease: GrantedLease }
  | { readonly kind: 'refused'; readonly refusal: LeaseRefusal }

export interface AskFacts {
  /** Whose it is. */
  readonly caller: string
  readonly request: Omit<LeaseRequest, 'holder'>
  readonly ttlMs: number
  /** When it was asked for first. */
  readonly askedAt: EpochMs
  /** Whether who asked may come again and find it. */
  readonly isKeyed: boolean
  readonly isPlaceLost: boolean
}

/** `away`: nobody waits here any more, and its place is kept for a while. */
export type AskState = 'waiting' | 'held' | 'away' | 'over'

export class LeaseAsk implements Due {
  // Kept by the desk's schedule.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly facts: AskFacts
  ttlMs: number
  grantedAt: EpochMs | null = null
  expiresAt: EpochMs = 0
  ending: Ending | null = null
  /** Whether it stands anew, since the place that it had is gone. */
  isPlaceLost: boolean
  readonly #context: LeaseContext
  readonly #changed: (ask: LeaseAsk) => void
  readonly #outcome = Promise.withResolvers<LeaseOutcome>()
  readonly #standing = Promise.withResolvers<Prediction>()
  #state: AskState = 'waiting'
  #turn: LeaseTurn
  #connections = 0
  #signs = 0

  /** @param changed is told of each new state. */
  constructor(context: LeaseContext, facts: AskFacts, changed: (ask: LeaseAsk) => void) {
    this.#context = context
    this.facts = facts
    this.ttlMs = facts.ttlMs
    this.isPlaceLost = facts.isPlaceLost
    this.#changed = changed
    this.#turn = this.#createTurn()
  }

  get id(): string {
    return this.facts.request.id
  }

  get resource(): string {
    return this.facts.request.resource
  }

  get state(): AskState {
    return this.#state
  }

  /** Of a lease: what ends and renews it. */
  get turn(): LeaseTurn {
    return this.#turn
  }

  /** What it comes to. Pending for ever when whoever asked has gone. */
  get outcome(): Promise<LeaseOutcome> {
    return this.#outcome.promise
  }

  /** That it stands in line, and where it began to. */
  get standing(): Promise<Prediction> {
    return this.#standing.promise
  }

  /** Asks, and waits. */
  start(): void {
    this.#wait().then((outcome) => {
      if (outcome) this.#tell(outcome)
    }, this.#outcome.reject)
  }

  /** Where it stands; null when it does not wait. @throws StoreUnreachable */
  position(): Promise<Prediction | null> {
    return this.#turn.position()
  }

  attach(): void {
    this.#connections++
  }

  /** One who waited for it has gone. @param wasTold - of what it came to, as far as can be known. */
  detach(wasTold: boolean): void {
    this.#connections--
    if (this.#connections > 0) return
    if (this.#state === 'waiting') {
      if (this.facts.isKeyed) this.#become('away')
      else {
        this.#leave()
        this.#tell({ kind: 'refused', refusal: CANCELLED })
      }
    } else if (this.#state === 'held' && !wasTold) {
      // As a place: whoever asks again in time has it.
      if (this.facts.isKeyed) this.#context.follow(this.renew(PLACE_TTL_MS))
      else {
        this.#turn.leave()
        this.end('released')
      }
    }
  }

  /** Another process has asked for it since, or has ended it: here it is nobody's any more. */
  lost(): void {
    const wasWaiting = this.#isWaiting
    this.end(null)
    if (wasWaiting) this.#tell({ kind: 'refused', refusal: GONE_ELSEWHERE })
  }

  /** Gives its place up, wherever that is by now, and tells those who wait for it. @throws StoreUnreachable */
  async cancel(): Promise<void> {
    const released = this.#turn.release()
    this.end('cancelled')
    this.#tell({ kind: 'refused', refusal: CANCELLED })
    await released
  }

  /**
   * This process is stopping. Resolves when all is said.
   *
   * @param isKept whether another process may go on with its place.
   */
  async turnAway(isKept: boolean): Promise<void> {
    const isAway = isKept && this.facts.isKeyed
    if (isAway) this.#become('away')
    else this.#leave()
    this.#tell({ kind: 'refused', refusal: SHUTTING_DOWN })
    if (isAway) await this.#turn.renew(PLACE_TTL_MS)
  }

  /** It is over here, for a reason that who asked knows or can ask for. What it may still have is not touched. */
  end(ending: Ending | null): void {
    this.#turn.forgo()
    this.ending = ending
    this.#become('over')
  }

  /** A sign of life of who holds it. False when it has expired. @throws StoreUnreachable */
  async renew(ttlMs: number): Promise<boolean> {
    // The store counts from when it hears of it: a lease is not thought to last longer than it does.
    const expiresAt = this.#context.clock.now() + ttlMs
    if (!(await this.#turn.renew(ttlMs))) {
      if (this.#state === 'held') this.end('expired')
      return false
    }
    this.ttlMs = ttlMs
    this.expiresAt = expiresAt
    if (this.#state === 'held') this.#changed(this)
    return true
  }

  /** Called by the schedule while it waits: its place lasts on. If it is gone, it stands anew. */
  async signOfLife(): Promise<void> {
    const turn = this.#turn
    if (turn.isHeld) return
    this.#signs++
    try {
      // Whether somebody else has been let in with it: then a sign of life would shorten that lease.
      const looks = this.#context.store.kind !== 'memory' && this.#signs % SIGNS_PER_LOOK === 0
      const isThere = (!looks || (await turn.position()) !== null) && !turn.isHeld
      if (isThere && (await turn.renew(PLACE_TTL_MS))) return
    } catch (error) {
      // The place lasts over a few lost signs; the store itself tells of its troubles.
      if (error instanceof StoreUnreachable) return
      throw error
    }
    if (this.#state === 'waiting' && turn === this.#turn && !turn.isHeld) this.#standAnew()
  }

  granted(): GrantedLease {
    const { id, resource, ttlMs, expiresAt } = this
    const grantedAt = this.grantedAt ?? this.#context.clock.now()
    const waitedMs = Math.max(0, grantedAt - this.facts.askedAt)
    return { id, resource, grantedAt, waitedMs, expiresAt, ttlMs }
  }

  /** Null: whoever asked has gone, or has been told. */
  async #wait(): Promise<LeaseOutcome | null> {
    try {
      for (;;) {
        const turn = this.#turn
        const answer = await turn.take((prediction) => this.#standing.resolve(prediction))
        if (this.#state !== 'waiting') return null
        if (turn !== this.#turn) continue
        if (answer.kind === 'refused') return this.#refused(ofGate(answer.refusal))
        if (answer.kind === 'left') return null
        if (await this.renew(this.ttlMs)) return this.#hold(turn)
        if (this.#isWaiting) this.#standAnew()
      }
    } catch (error) {
      if (this.#isWaiting) this.#turn.leave()
      if (!(error instanceof StoreUnreachable)) {
        this.end(null)
        throw error
      }
      return this.#isWaiting ? this.#refused(STORE_FAILED) : null
    }
  }

  get #isWaiting(): boolean {
    return this.#state === 'waiting'
  }

  #hold(turn: LeaseTurn): LeaseOutcome | null {
    // Whoever asked went while this was written down: nobody keeps it for longer than a place.
    if (this.#state === 'away') this.#context.follow(turn.renew(PLACE_TTL_MS))
    if (!this.#isWaiting) return null
    this.grantedAt = this.#context.clock.now()
    this.#become('held')
    return { kind: 'granted', lease: this.granted() }
  }

  #refused(refusal: LeaseRefusal): LeaseOutcome {
    this.end(null)
    return { kind: 'refused', refusal }
  }

  /** Gives its place up, if nobody has asked for it elsewhere. */
  #leave(): void {
    this.#turn.leave()
    this.end('cancelled')
  }

  #standAnew(): void {
    const lost = this.#turn
    this.isPlaceLost = true
    this.#turn = this.#createTurn()
    lost.forgo()
  }

  #createTurn(): LeaseTurn {
    const { request } = this.facts
    const holder = { id: request.id, ttlMs: PLACE_TTL_MS }
    return new LeaseTurn(this.#context, { ...request, holder })
  }

  #tell(outcome: LeaseOutcome): void {
    this.#outcome.resolve(outcome)
  }

  #become(state: AskState): void {
    this.#state = state
    this.#changed(this)
  }
}
