// What a governed call finds around it. Owns: the contract between one call and the dispatcher of
// them all. Must not know: either of them.
import type { Clock } from '../core/clock.ts'
import type { Deadlines, Due } from '../core/deadlines.ts'
import type { Store } from '../core/store.ts'
import type { Estimator } from '../estimate/estimator.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Headers, Provider } from '../providers/provider.ts'
import type { AbandonedPlaces } from './abandoned-places.ts'
import type { CallRules } from './call-rules.ts'
import type { CallRequest } from './caller.ts'
import type { DispatchEvents } from './events.ts'
import type { Followers } from './followers.ts'
import type { GrantListeners } from './grant-listeners.ts'
import type { Upstream, UpstreamBase } from './upstream.ts'
import type { WarmCalls } from './warm-calls.ts'

/** What a call draws on. */
export interface CallResource {
  readonly fingerprint: string
  /** The fingerprint that stands for the credential's organization. */
  readonly owner: string
  readonly name: string
}

/** A call that may wait too long. */
export interface Waiter extends Due {
  readonly request: CallRequest
  waitedOut(): void
}

export interface CallContext {
  readonly clock: Clock
  readonly random: () => number
  readonly store: Store
  readonly grants: GrantListeners
  /** Null: nothing is written down. */
  readonly ledger: Ledger | null
  /** As they are at this moment. */
  readonly rules: CallRules
  readonly estimator: Estimator
  readonly upstream: Upstream
  readonly events: DispatchEvents
  readonly abandoned: AbandonedPlaces
  readonly waits: Deadlines<Waiter>
  readonly followers: Followers
  readonly warmCalls: WarmCalls
  /** Whether nobody may wait any more. */
  readonly isDraining: boolean
  baseOf(provider: Provider): UpstreamBase
  /** The resource that a call of a credential draws on. */
  resourceOf(provider: Provider, headers: Headers, limitGroup: string): CallResource
  /** The name that a call's resource has by now: its credential may have turned out to be one of several. */
  nameOf(provider: Provider, resource: CallResource, limitGroup: string): string
  /** An answer named the organization of a credential: what waits apart may belong together. */
  learnOrganization(provider: Provider, fingerprint: string, organization: string): void
  /** What waits for one resource waits for another from now on: both are the same. */
  unite(from: string, into: string): void
  /** Watches over an operation whose result nobody needs: its failure is never silent. */
  follow(operation: Promise<unknown>): void
  /** The call is over. */
  forget(call: Waiter): void
}
