// What a ledger tells of itself, for logs and metrics. Must not know: who listens.
import type { BudgetWarning, NanoUsd } from './ledger.ts'

export interface LedgerEvents {
  /** It cannot be written; `why` says it to a person. Told once, until it returns. */
  unavailable(why: string): void
  /** It is written again, after so long; so many records are still to be written. */
  returned(afterMs: number, pending: number): void
  /** Requests of a process that died were charged what they had set aside. */
  recovered(requests: number, cost: NanoUsd): void
  /** Steps were passed where no caller is answered, such as by what a process that died was charged. */
  warned(warnings: readonly BudgetWarning[]): void
  /** Something was refused for good: what it says is not in the record. */
  failed(error: Error): void
}
