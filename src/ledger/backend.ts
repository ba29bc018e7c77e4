// What keeps the record: the part of a ledger that knows a database. Owns: the contract between the
// ledger, which gathers operations and outlives failures, and a database, which writes them.
//
// Instants and amounts arrive as integers: the ledger cuts fractions of a millisecond before it hands
// them on. A budget's subject is the call's user or team, which the ledger has checked too.
import type { EpochMs } from '../core/clock.ts'
import type { Ledger, Reservation, ReserveAnswer, SettleAnswer, UsageEvent } from './ledger.ts'

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

/** The answer to the operation at the same index: of `release` and `record` null. */
export type LedgerResult = ReserveAnswer | SettleAnswer | null

/** What was charged for a holder that died. */
export interface Recovered {
  readonly requests: number
  readonly cost: number
}

type Immediate =
  | 'balances'
  | 'reset'
  | 'total'
  | 'events'
  | 'untold'
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
  /** A sign of life of this holder; charges what holders had set aside whose last sign is too old. */
  beat(now: EpochMs): Promise<Recovered>
  /** This holder ends in good order: what it still has set aside is charged at once by nobody. */
  close(): Promise<void>
}
