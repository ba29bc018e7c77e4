// Where leases of named resources are asked for and ended, whatever the wire. Owns: the way of an ask
// until it stands in line, and what any process may do with a lease by its id. Must not know: HTTP, or
// how turns are taken.
import type { EpochMs } from '../core/clock.ts'
import { NOTHING } from '../core/cost.ts'
import { StoreUnreachable } from '../core/store.ts'
import type { Ended, Found, Listed, Opened, Refused, Renewed } from './lease-answers.ts'
import { LeaseAsk } from './lease-ask.ts'
import { type CheckAnswer, checkTurn } from './lease-check.ts'
import { createNonce, ownerTag, readLeaseId } from './lease-id.ts'
import { costOfLoad, type Load } from './lease-load.ts'
import { findResource } from './lease-names.ts'
import type { LeaseCaller, LeasePolicy } from './lease-policy.ts'
import {
  type LeaseRefusal,
  leaseEnded,
  leaseUnknown,
  SHUTTING_DOWN,
  STILL_WAITING,
  STORE_FAILED,
  tooLong,
  tooMany,
} from './lease-refusals.ts'
import { LeaseRoll } from './lease-roll.ts'
import { type LeaseContext, LeaseTurn } from './lease-turn.ts'
import { LeaseViews } from './lease-views.ts'
import { LeaseWatch } from './lease-watch.ts'
import {
  type CheckWish,
  idFor,
  type LeaseWish,
  requestFor,
  requestOf,
  resourceFor,
} from './lease-wish.ts'

export interface LeaseDeskOptions {
  readonly context: LeaseContext
  /** As it is at this moment. */
  readonly policy: () => LeasePolicy
  readonly random: () => number
  readonly randomBytes: (size: number) => Uint8Array
  /** Something is so that an operator should know: a sentence. */
  readonly warned: (sentence: string) => void
}

const ENDED: Ended = { kind: 'ended' }

export class LeaseDesk {
  readonly #views: LeaseViews
  readonly #options: LeaseDeskOptions
  readonly #context: LeaseContext
  readonly #roll = new LeaseRoll()
  readonly #watch: LeaseWatch
  /** Null where leases outlast the process. */
  readonly #memorySince: EpochMs | null
  #isDraining = false

  constructor(options: LeaseDeskOptions) {
    const { context } = options
    const { clock, store } = context
    this.#options = options
    this.#context = context
    this.#watch = new LeaseWatch(context)
    this.#memorySince = store.kind === 'memory' ? clock.now() : null
    this.#views = new LeaseViews(store, this.#roll)
    store.onLost(({ id }) => this.#roll.find(id)?.lost())
  }

  /** Asks that wait, and leases that are held, as far as this process knows. */
  get size(): number {
    return this.#roll.size
  }

  /** Resolves as soon as it stands in line, or knows more. */
  async open(wish: LeaseWish): Promise<Opened> {
    if (this.#isDraining) return refused(SHUTTING_DOWN)
    try {
      return await this.#open(wish)
    } catch (error) {
      if (error instanceof StoreUnreachable) return refused(STORE_FAILED)
      throw error
    }
  }

  /** Takes what is there, or nothing: never waits, and holds nothing afterwards. @throws StoreUnreachable */
  async check(wish: CheckWish): Promise<Refused | CheckAnswer> {
    const policy = this.#options.policy()
    const found = await resourceFor(wish, policy, this.#context.store)
    if (found.kind === 'refused') return found
    const request = requestFor(wish, policy, found, {
      id: `check.${createNonce(this.#options.randomBytes)}`,
      deadlineAt: this.#context.clock.now(),
    })
    const turn = new LeaseTurn(this.#context, { ...request, holder: null })
    return checkTurn(this.#context.store, turn, (resource) => policy.limitsOf(resource))
  }

  /** @throws StoreUnreachable */
  async renew(caller: LeaseCaller, id: string, asked: number | null): Promise<Renewed> {
    const lease = this.#known(caller, id)
    if (!lease) return NOT_YOURS
    const { ask, turn } = lease
    const { defaultTtlMs, maxTtlMs } = this.#options.policy().leases
    // Who holds a lease does not lose it because less is allowed by now.
    const ttlMs = Math.min(asked ?? ask?.ttlMs ?? defaultTtlMs, maxTtlMs)
    if (ask?.state === 'held') {
      if (await ask.renew(ttlMs)) return { kind: 'renewed', expiresAt: ask.expiresAt, ttlMs }
      return this.#unknown(id)
    }
    if (await isWaiting(lease)) return refused(STILL_WAITING)
    const expiresAt = this.#context.clock.now() + ttlMs
    return (await turn.renew(ttlMs)) ? { kind: 'renewed', expiresAt, ttlMs } : this.#unknown(id)
  }

  /** @param actual - null: what was asked for. @throws StoreUnreachable */
  async settle(caller: LeaseCaller, id: string, actual: Load | null): Promise<Ended> {
    const lease = this.#known(caller, id)
    if (!lease) return NOT_YOURS
    const { ask, turn } = lease
    if (ask?.state === 'waiting') return refused(STILL_WAITING)
    // What is not exact may charge more, and refunds nothing: nothing more is the estimate.
    const cost = actual === null ? NOTHING : costOfLoad(actual)
    if (await turn.settle(cost, actual !== null)) return this.#end(id, 'settled')
    if (this.#roll.endingOf(id) === 'settled') return ENDED
    if (ask?.state === 'held') ask.end('expired')
    else if (await isWaiting(lease)) return refused(STILL_WAITING)
    return this.#unknown(id)
  }

  /** Gives a lease back as if it had not been, or takes an ask out of line. @throws StoreUnreachable */
  async release(caller: LeaseCaller, id: string): Promise<Ended> {
    const lease = this.#known(caller, id)
    if (!lease) return NOT_YOURS
    const { ask, turn } = lease
    if (ask && ask.state !== 'held') {
      await ask.cancel()
      return ENDED
    }
    if (await turn.release()) return this.#end(id, 'released')
    const ending = this.#roll.endingOf(id)
    if (ending === 'released' || ending === 'cancelled') return ENDED
    ask?.end('expired')
    return this.#unknown(id)
  }

  /** The caller's own, or everybody's, in order of arrival. @throws StoreUnreachable */
  async list({ name, seesAll }: LeaseCaller, resource: string | null): Promise<Refused | Listed> {
    const policy = this.#options.policy()
    const found =
      resource === null ? null : await findResource(resource, policy, this.#context.store)
    if (found?.kind === 'refused') return found
    const owner = seesAll ? null : ownerTag(name)
    return { kind: 'listed', views: await this.#views.list(owner, found?.resource ?? null) }
  }

  /** @throws StoreUnreachable */
  async find(caller: LeaseCaller, id: string): Promise<Refused | Found> {
    const lease = this.#known(caller, id)
    if (!lease) return NOT_YOURS
    const { ask, turn } = lease
    const view = await this.#views.find(turn)
    if (!view) return this.#unknown(id)
    if (view.state === 'held') return { kind: 'found', view, prediction: null }
    const prediction = await (ask?.state === 'waiting' ? ask : turn).position()
    return { kind: 'found', view, prediction }
  }

  /**
   * Refuses all that wait, from now on. With a store that others share, a place that can be asked for
   * again is kept for a while.
   */
  async drain(): Promise<void> {
    this.#isDraining = true
    const isShared = this.#memorySince === null
    const asks = [...this.#roll]
    const waiting = asks.filter(({ state }) => state === 'waiting')
    const turnedAway = waiting.map((ask) => ask.turnAway(isShared))
    const held = asks.filter(({ state }) => state === 'held').length
    if (held > 0 && !isShared)
      this.#options.warned(
        `${held} leases are held, and this gate keeps them in memory: they end with it, whatever their holders do`,
      )
    await Promise.allSettled(turnedAway)
    this.#watch.stop()
  }

  async #open(wish: LeaseWish): Promise<Opened> {
    const { clock, store } = this.#context
    const { caller, idempotencyKey, isResumed } = wish
    const policy = this.#options.policy()
    const { defaultTtlMs, maxTtlMs, maxPerCaller } = policy.leases
    const ttlMs = wish.ttlMs ?? Math.min(defaultTtlMs, maxTtlMs)
    if (ttlMs > maxTtlMs) return refused(tooLong(maxTtlMs))
    const found = await resourceFor(wish, policy, store)
    if (found.kind === 'refused') return found
    const id = idFor(wish, found.resource, this.#options.randomBytes)
    const isPlaceLost = isResumed && (await this.#isLost(caller, id, found.resource))
    // What follows awaits nothing before the ask is in the roll.
    if (this.#isDraining) return refused(SHUTTING_DOWN)
    const known = this.#roll.find(id)
    if (known && known.state !== 'away') return this.#join(known)
    const ending = this.#roll.endingOf(id)
    if (ending !== null) return refused(leaseEnded(ending))
    if (!known && this.#roll.countOf(caller.name) >= maxPerCaller)
      return refused(tooMany(maxPerCaller))
    known?.end(null)
    const now = clock.now()
    const deadlineAt = now + (wish.maxWaitMs ?? policy.maxWaitMs)
    const request = requestFor(wish, policy, found, { id, deadlineAt })
    const facts = {
      caller: caller.name,
      request,
      ttlMs,
      askedAt: known?.facts.askedAt ?? now,
      isKeyed: idempotencyKey !== null,
      isPlaceLost,
    }
    const ask = new LeaseAsk(this.#context, facts, (changed) => this.#changed(changed))
    this.#roll.add(ask)
    this.#watch.begin(ask, this.#options.random())
    ask.attach()
    ask.start()
    return await Promise.race([
      ask.outcome.then((outcome): Opened => ({ kind: 'told', ask, outcome })),
      ask.standing.then((prediction): Opened => ({ kind: 'waiting', ask, prediction })),
    ])
  }

  /** A second one comes for the same ask. */
  async #join(ask: LeaseAsk): Promise<Opened> {
    ask.attach()
    if (ask.state === 'waiting') return { kind: 'waiting', ask, prediction: await ask.position() }
    if (await ask.renew(ask.facts.ttlMs))
      return { kind: 'told', ask, outcome: { kind: 'granted', lease: ask.granted() } }
    return refused(leaseEnded('expired'))
  }

  /** Whether nothing is left of an ask that had a place. */
  async #isLost(caller: LeaseCaller, id: string, resource: string): Promise<boolean> {
    const ask = this.#roll.find(id)
    if (ask && ask.state !== 'away') return false
    return (await this.#turnOf(caller, id, resource).ticket()) === null
  }

  /** Null: it is no lease's id, or another's. */
  #known(caller: LeaseCaller, id: string): KnownLease | null {
    const facts = readLeaseId(id)
    if (!facts || !(caller.seesAll || facts.owner === ownerTag(caller.name))) return null
    const ask = this.#roll.find(id)
    const turn = ask?.state === 'held' ? ask.turn : this.#turnOf(caller, id, facts.resource)
    return { ask, turn }
  }

  /** For what this process did not grant. */
  #turnOf(caller: LeaseCaller, id: string, resource: string): LeaseTurn {
    const request = requestOf(caller, this.#options.policy(), id, resource)
    const turn = new LeaseTurn(this.#context, request)
    turn.adopt()
    return turn
  }

  #end(id: string, ending: 'settled' | 'released'): Ended {
    this.#roll.noteEnding(id, ending)
    this.#roll.find(id)?.end(ending)
    return ENDED
  }

  #unknown(id: string): Refused {
    return refused(leaseUnknown(this.#roll.endingOf(id), this.#memorySince))
  }

  #changed(ask: LeaseAsk): void {
    const { ending, id, state } = ask
    // Asked for once more while its place was kept: that ask is another one.
    if (this.#roll.find(id) !== ask) return
    this.#watch.changed(ask)
    if (state !== 'over') return
    this.#roll.remove(ask)
    // Where others share the store, somebody may have renewed it there.
    const isSure = ending !== null && (ending !== 'expired' || this.#memorySince !== null)
    if (isSure) this.#roll.noteEnding(id, ending)
  }
}

/** What this process knows of an id that a caller may act on. */
interface KnownLease {
  /** Null: it was asked for elsewhere, or it has ended. */
  readonly ask: LeaseAsk | null
  /** What renews and ends it. */
  readonly turn: LeaseTurn
}

/** Here or elsewhere. @throws StoreUnreachable */
async function isWaiting({ ask, turn }: KnownLease): Promise<boolean> {
  return ask?.state === 'waiting' || (await turn.ticket())?.state === 'waiting'
}

const refused = (refusal: LeaseRefusal): Refused => ({ kind: 'refused', refusal })
const NOT_YOURS = refused(leaseUnknown(null, null))
