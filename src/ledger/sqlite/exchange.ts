// What the main thread and the ledger's own thread say to each other. Must not know: how either acts.
import type { EpochMs } from '../../core/clock.ts'
import type { LedgerOperation, LedgerResult, Recovered } from '../backend.ts'
import type {
  Balance,
  Budget,
  BudgetOverride,
  BudgetWarning,
  KeyRecord,
  Registry,
  SubjectName,
  UsageEvent,
  UsageTotal,
} from '../ledger.ts'
import type { EventPlace, EventSlice } from './event-log.ts'
import type { NextSecret } from './registry-tables.ts'

/** The thread opens the file with these, and answers exchange 0 when it is open. */
export interface FileSettings {
  readonly file: string
  readonly holder: string
  /** How long one try waits for the file's lock. */
  readonly busyTimeoutMs: number
}

/** What is asked for, and what is answered. */
export interface Exchange {
  commit: [readonly LedgerOperation[], readonly LedgerResult[]]
  beat: [{ readonly now: EpochMs; readonly lifeMs: number }, Recovered]
  balances: [BudgetsAt, readonly Balance[]]
  reset: [BudgetsAt, readonly Balance[]]
  total: [EventSlice, { readonly total: UsageTotal; readonly next: EventPlace | null }]
  events: [EventSlice, { readonly events: readonly UsageEvent[]; readonly next: EventPlace | null }]
  untold: [EpochMs, readonly BudgetWarning[]]
  told: [BudgetWarning, null]
  registry: [null, Registry]
  revision: [null, number]
  addKey: [KeyRecord, boolean]
  revokeKey: [{ readonly id: string; readonly at: EpochMs }, boolean]
  rotateKey: [{ readonly id: string; readonly next: NextSecret }, boolean]
  setOverride: [BudgetOverride, null]
  removeOverride: [SubjectName, boolean]
  close: [null, null]
}

interface BudgetsAt {
  readonly budgets: readonly Budget[]
  readonly at: EpochMs
}

export type Question = keyof Exchange

export type Handlers = { [Q in Question]: (input: Exchange[Q][0]) => Exchange[Q][1] }

export interface Asked<Q extends Question> {
  readonly exchange: number
  readonly question: Q
  readonly input: Exchange[Q][0]
}

/** Errors lose their class on the way, so that it is named. */
export type Answer =
  | { readonly exchange: number; readonly kind: 'done'; readonly output: unknown }
  | {
      readonly exchange: number
      readonly kind: 'unavailable' | 'setup' | 'failed'
      readonly message: string
    }
