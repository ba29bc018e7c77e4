// What a job is told, and what its parts have in common. Owns: these shapes. Must not know: what any part does.
import type { EpochMs } from '../core/clock.ts'
import type { Limit } from '../core/limit.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { FleetBatches } from './batch/batch-record.ts'
import type { Changes } from './changes.ts'
import type { Ending } from './ending.ts'
import type { FleetEvent } from './events.ts'
import type { Funds } from './funds.ts'
import type { RequestTerms } from './message-request.ts'
import type { Purse } from './purse.ts'
import type { Results } from './results.ts'
import type { RetryBudget } from './retry-budget.ts'
import type { SpendingJournal } from './spending-journal.ts'

export interface RunOptions {
  readonly dispatcher: Dispatcher
  readonly terms: RequestTerms
  readonly purse: Purse
  readonly retryBudget: RetryBudget
  readonly retriesPerPayload: number
  /** Null: as many as rates and latencies ask for. */
  readonly maxInFlight: number | null
  readonly order: 'completion' | 'submission'
  readonly longWindows: 'pace' | 'stop' | 'wait'
  /** How many payloads there are; null where nobody says. */
  readonly count: number | null
  /** How long answers may take as a rule; null: they cannot wait. */
  readonly withinMs: number | null
  /** What is configured for a resource. */
  readonly limitsOf: (resource: string) => readonly Limit[]
  readonly batches: FleetBatches | null
  readonly spending: SpendingJournal | null
  /** Aborted when nothing more is to be sent. */
  readonly stop: AbortSignal | null
  readonly onEvent: (event: FleetEvent) => void
}

export interface RunParts {
  readonly options: RunOptions
  readonly changes: Changes
  readonly ending: Ending
  readonly results: Results
  readonly funds: Funds
  /** How many payloads were taken. */
  readonly taken: () => number
  readonly tell: (event: FleetEvent) => void
  /** Resolves at an instant, or when nothing more is begun. */
  readonly sleepUntil: (at: EpochMs) => Promise<void>
}
