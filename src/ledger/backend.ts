// What keeps the record: the part of a ledger that knows a database. Owns: the contract between the
// ledger, which gathers operations and outlives failures, and a database, which writes them.
//
// Instants and amounts arrive as integers: the ledger cuts fractions of a millisecond before it hands
// them on. A budget's subject is the call's user or team, which the ledger has checked too.
import type { EpochMs } from '../core/clock.ts'
import type {
  BudgetWarning,
  Ledger,
  NanoUsd,
  Reservation,
  ReserveAnswer,
  SettleAnswer,
  UsageEvent,
} from './ledger.ts'

/** Something to be written. Plain data; each may be repeated without harm. */
export type LedgerOperation =
  | { readonly kind: 'reserve'; readonly reservation: Reservation }
  | { readonly kind: 'settle'; readonly event: UsageEvent }
  | { readonly kind: 'release'; readonly id: string }
  | { readonly kind: 'record'; readonly event: UsageEvent }

/** The attempt under which a dead holder's reservation is charged: real attempts count from 1. */
export const LOST_ATTEMPT = 0

/**
 * Added to the attempt of a settlement that comes after its reservation was charged as lost: its event
 * carries the difference in cost, so that the total is what was really used. A release that comes so
 * late gives all of it back, as attempt 0 plus this.
 */
export const CORRECTED_ATTEMPTS = 1_000_000

/** The step that a budget without room for a request passes, whatever is spent. */
export const FULL_STEP = 100

export interface RecordAnswer {
  readonly kind: 'recorded'
  readonly warnings: readonly BudgetWarning[]
}

/** The answer to the operation at the same index: of `release` null. */
export type LedgerResult = ReserveAnswer | SettleAnswer | RecordAnswer | null

/** What was charged for holders that died. */
export interface Recovered {
  readonly requests: number
  readonly cost: NanoUsd
  /** Steps that this passed. */
  readonly warnings: readonly BudgetWarning[]
}

type Immediate =
  | 'balances'
  | 'reset'
  | 'total'
  | 'events'
  | 'told'
  | 'registry'
  | 'revision'
  | 'addKey'
  | 'revokeKey'
  | 'rotateKey'
  | 'setOverride'
  | 'removeOverride'

export interface LedgerBackend extends Pick<Ledger, Immediate> {
  readonly kind: Ledger['kind']
  /**
   * Writes all of them, in order and durably, or none. Rejects with `LedgerUnavailable` when that was
   * not possible, or when it is not known whether it was: the same operations come again.
   */
  commit(operations: readonly LedgerOperation[]): Promise<readonly LedgerResult[]>
  /** As `Ledger.untold`: of periods that end after `now`. */
  untold(now: EpochMs): Promise<readonly BudgetWarning[]>
  /**
   * A sign of life of this holder; charges what holders had set aside whose last sign is too old. Where
   * they are on many machines a clock that all of them share decides that, not `now`.
   */
  beat(now: EpochMs): Promise<Recovered>
  /** This holder ends in good order: what it still has set aside is charged at once by nobody. */
  close(): Promise<void>
}
