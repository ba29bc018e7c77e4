// Every governed call of a process. Owns: naming resources, waking those admitted, time-outs of
// those that wait, and merging credentials of one organization. Must not know: what one call goes
// through (governed-call.ts), or which door it came from.
import type { Clock } from '../core/clock.ts'
import { Deadlines } from '../core/deadlines.ts'
import type { Store } from '../core/store.ts'
import type { Estimator } from '../estimate/estimator.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Headers, Provider } from '../providers/provider.ts'
import { AbandonedPlaces } from './abandoned-places.ts'
import type { CallContext, CallResource, Waiter } from './call-context.ts'
import type { CallRules } from './call-rules.ts'
import type { Caller, CallRequest } from './caller.ts'
import type { DispatchEvents } from './events.ts'
import { Followers } from './followers.ts'
import { GovernedCall } from './governed-call.ts'
import { GrantListeners } from './grant-listeners.ts'
import { fingerprintOf, Organizations } from './organizations.ts'
import type { Upstream, UpstreamBase } from './upstream.ts'
import { WarmCalls } from './warm-calls.ts'

export interface DispatcherOptions {
  readonly clock: Clock
  readonly random: () => number
  readonly store: Store
  /** Null: nothing is written down. */
  readonly ledger: Ledger | null
  readonly rules: CallRules
  readonly estimator: Estimator
  readonly upstream: Upstream
  readonly baseOf: (provider: Provider) => UpstreamBase
  readonly events: DispatchEvents
}

export class Dispatcher implements CallContext {
  readonly clock: Clock
  readonly random: () => number
  readonly store: Store
  readonly grants: GrantListeners
  readonly ledger: Ledger | null
  /** Replaced when the configuration changes: calls keep those that they began with. */
  rules: CallRules
  readonly estimator: Estimator
  readonly upstream: Upstream
  readonly baseOf: (provider: Provider) => UpstreamBase
  readonly events: DispatchEvents
  readonly abandoned = new AbandonedPlaces()
  readonly waits: Deadlines<Waiter>
  readonly followers: Followers
  readonly warmCalls: WarmCalls
  readonly #calls = new Map<string, GovernedCall>()
  readonly #organizations = new Organizations()
  /** Limit groups that were asked for under a fingerprint whose organization is not known yet. */
  readonly #groups = new Map<string, Set<string>>()
  #isDraining = false
  #whenEmpty: (() => void) | null = null

  constructor(options: DispatcherOptions) {
    this.clock = options.clock
    this.random = options.random
    this.store = options.store
    this.ledger = options.ledger
    this.rules = options.rules
    this.estimator = options.estimator
    this.upstream = options.upstream
    this.baseOf = options.baseOf
    this.events = options.events
    this.waits = new Deadlines(options.clock, (call) => call.waitedOut())
    this.followers = new Followers(options.clock)
    this.warmCalls = new WarmCalls(options.clock)
    this.grants = new GrantListeners(options.store, this.follow)
  }

  /** Calls that wait or are being answered. */
  get size(): number {
    return this.#calls.size
  }

  /** Starts a call: it waits its turn, is sent, and its answer goes to the caller. */
  start(request: CallRequest, caller: Caller): GovernedCall {
    const call = new GovernedCall(this, request, caller)
    this.#calls.set(request.id, call)
    this.grants.expect(request.id, () => call.granted())
    if (this.#isDraining) call.turnAway()
    else call.enqueue()
    return call
  }

  /** Whether nobody may wait any more. */
  get isDraining(): boolean {
    return this.#isDraining
  }

  /** Refuses all that wait, from now on; those under way go on. Resolves when none is left. */
  async drain(): Promise<void> {
    this.#isDraining = true
    for (const call of [...this.#calls.values()]) call.turnAway()
    if (this.#calls.size > 0)
      await new Promise<void>((resolve) => {
        this.#whenEmpty = resolve
      })
  }

  /** Ends every call at once, however far it has come. */
  abortAll(): void {
    for (const call of [...this.#calls.values()]) call.abandon()
  }

  /** For the call itself: it is over. */
  forget(call: Waiter): void {
    this.#calls.delete(call.request.id)
    this.grants.forget(call.request.id)
    this.waits.clear(call)
    if (this.#calls.size === 0) this.#whenEmpty?.()
  }

  /** The resource that a call of a credential draws on. */
  resourceOf(provider: Provider, headers: Headers, limitGroup: string): CallResource {
    const fingerprint = fingerprintOf(provider.credential(headers))
    const owner = this.#organizations.nameFor(fingerprint)
    if (!this.#organizations.knows(fingerprint))
      this.#rememberGroup(`${provider.name}/${fingerprint}`, limitGroup)
    return { fingerprint, owner, name: `${provider.name}/${owner}/${limitGroup}` }
  }

  /** The name that a call's resource has by now: its credential may have turned out to be another's. */
  nameOf(provider: Provider, { fingerprint }: CallResource, limitGroup: string): string {
    return `${provider.name}/${this.#organizations.nameFor(fingerprint)}/${limitGroup}`
  }

  /** An answer named the organization of a credential: what waits apart may belong together. */
  learnOrganization(provider: Provider, fingerprint: string, organization: string): void {
    if (this.#organizations.knows(fingerprint)) return
    const owner = this.#organizations.learn(fingerprint, `${provider.name}/${organization}`)
    const prefix = `${provider.name}/${fingerprint}`
    const groups = this.#groups.get(prefix)
    this.#groups.delete(prefix)
    if (owner === fingerprint || !groups) return
    for (const group of groups)
      this.unite(`${prefix}/${group}`, `${provider.name}/${owner}/${group}`)
  }

  /** What waits for one resource waits for another from now on: both are the same. */
  unite(from: string, into: string): void {
    for (const call of this.#calls.values()) call.moved(from, into)
    this.follow(this.store.merge(from, into))
  }

  /** Watches over an operation whose result nobody needs: its failure is never silent. */
  readonly follow = (operation: Promise<unknown>): void => {
    operation.catch((error: unknown) => this.events.failed(error))
  }

  #rememberGroup(prefix: string, limitGroup: string): void {
    const groups = this.#groups.get(prefix)
    if (groups) groups.add(limitGroup)
    else this.#groups.set(prefix, new Set([limitGroup]))
    if (this.#groups.size <= MOST_UNKNOWN_CREDENTIALS) return
    const oldest = this.#groups.keys().next()
    if (!oldest.done) this.#groups.delete(oldest.value)
  }
}

/** Credentials come from callers: what is remembered of those not known yet is bounded. */
const MOST_UNKNOWN_CREDENTIALS = 1000
