// What dispatch tells of its work, for logs and metrics. Owns: the list of what happens. Must not
// know: who listens.
import type { CostVector } from '../core/cost.ts'
import type { Refusal } from '../core/refusal.ts'
import type { BudgetWarning } from '../ledger/ledger.ts'

export interface CallFacts {
  readonly id: string
  readonly resource: string
  readonly flow: string
  /** Who is charged, and by which tier's rules; null where nobody is known. */
  readonly user: string | null
  readonly tier: string | null
  readonly lane: string
  readonly model: string | null
  readonly attempts: number
  readonly queuedMs: number
  readonly durationMs: number
}

/** How a call that was admitted ended. */
export type Outcome = 'answered' | 'provider_error' | 'abandoned' | 'broken'

export interface DispatchEvents {
  /** `actual.cost` is 0 where the price is not known. */
  settled(facts: CallFacts, outcome: Outcome, status: number | null, actual: CostVector): void
  refused(facts: CallFacts, refusal: Refusal): void
  /** The caller left while it waited. */
  cancelled(facts: CallFacts): void
  /** The provider said no, or could not be reached, and the call waits again. */
  bounced(
    facts: CallFacts,
    reason: 'rate_limited' | 'overloaded' | 'connection',
    status: number | null,
  ): void
  /** A rule in shadow mode would have refused the call; in words, with whose it is. */
  shadowed(facts: CallFacts, rule: string): void
  /** A budget has passed one of its steps. */
  budgetWarned(warning: BudgetWarning): void
  /** Something that must not fail has failed. */
  failed(error: unknown): void
}
