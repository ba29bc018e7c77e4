// What a request finds around it. Owns: the contract between one request and the limiter of them all,
// and what that tells its program. Must not know: either of them.
import type { Clock } from '../core/clock.ts'
import type { Deadlines, Due } from '../core/deadlines.ts'
import type { Store } from '../core/store.ts'
import type { GrantListeners } from '../dispatch/grant-listeners.ts'
import type { BudgetWarning, Ledger } from '../ledger/ledger.ts'
import type { Identity } from '../policy/subject.ts'
import type { ApiPolicy } from './api-policy.ts'

/** What a limiter tells its program. */
export interface LimiterEvents {
  /** A limit or budget in shadow mode had no room, and let the request pass. */
  shadowed(who: Identity, rule: string): void
  /** A budget has passed one of its steps, for the first time in its period. */
  budgetWarned(warning: BudgetWarning): void
  /** The store or the ledger is in trouble, or well again: a sentence for the log. */
  warned(sentence: string): void
  /** Something that must not fail has failed. */
  failed(error: unknown): void
}

/** What may have to be ended when its time has come. */
export interface Timed extends Due {
  timeUp(): void
}

/** What is charged as it was reserved when nobody will say any more what was used. */
export interface Chargeable {
  chargeAsReserved(): Promise<void>
}

export interface LimiterContext {
  readonly clock: Clock
  readonly store: Store
  readonly grants: GrantListeners
  /** Null: money is not counted. */
  readonly ledger: Ledger | null
  readonly policy: ApiPolicy
  readonly events: LimiterEvents
  readonly deadlines: Deadlines<Timed>
  /** What handlers have reserved and not ended. */
  readonly reservations: Set<Chargeable>
  readonly maxWaitMs: number
  /** Whether nobody may wait any more. */
  readonly isClosing: boolean
  /** Watches over an operation whose result nobody needs: its failure is never silent. */
  follow(operation: Promise<unknown>): void
}
