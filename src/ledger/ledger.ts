// The contract of the durable record behind budgets. Owns: what a ledger is asked and what it answers.
// Must not know: SQL, files, servers, requests, or who decides what anybody may spend.
//
// Money is set aside before a request is sent (`reserve`) and charged after (`settle`), both idempotent
// by the request's id. What was set aside by a process that died is charged whole, as `lost`: it may
// have been spent. A total is never computed in two ways: what an account has spent is, to the
// nano-dollar, the sum of the usage events of its subject and period.
import type { EpochMs } from '../core/clock.ts'

/** An integer number of billionths of a US dollar. Up to nine million dollars are exact. */
export type NanoUsd = number

/** Who is charged: `user:alice`, `team:research`. */
export type SubjectName = `${'user' | 'team'}:${string}`

/** Calendar periods in a time zone. */
export interface Period {
  readonly unit: 'hour' | 'day' | 'month'
  /** IANA time zone name, such as `Europe/Berlin`. */
  readonly timeZone: string
}

/** A budget that binds a subject: so much in each period. */
export interface Budget {
  readonly subject: SubjectName
  readonly amount: NanoUsd
  readonly period: Period
  /** Steps of use, in per cent, that are told of once in each period; rising. */
  readonly warnAt: readonly number[]
  /** In shadow mode it is counted and told of, and forbids nothing. */
  readonly isShadow: boolean
}

/** How a budget stands in the period that holds an instant. */
export interface Balance {
  readonly budget: Budget
  readonly startAt: EpochMs
  /** The next period's start: when there is money again. */
  readonly endAt: EpochMs
  readonly spent: NanoUsd
  /** Set aside for requests under way. */
  readonly reserved: NanoUsd
  /** What a reset gave back: there is `amount + credited - spent - reserved` left. */
  readonly credited: NanoUsd
}

/** Who asked for what: what is known of a request before it is sent. */
export interface LedgerCall {
  /** The request's id. */
  readonly id: string
  readonly user: string | null
  readonly team: string | null
  readonly key: string | null
  readonly tier: string | null
  readonly provider: string
  readonly model: string | null
}

export interface Reservation {
  readonly call: LedgerCall
  /** When the request is sent: it belongs to the periods that hold this instant, whenever it ends. */
  readonly at: EpochMs
  readonly amount: NanoUsd
  /** Every one must have room, those in shadow mode aside. Empty where nothing limits the spending. */
  readonly budgets: readonly Budget[]
}

export type ReserveAnswer =
  | {
      readonly kind: 'reserved'
      readonly balances: readonly Balance[]
      /** Of budgets in shadow mode that would have refused it. */
      readonly warnings: readonly BudgetWarning[]
    }
  /** Nothing was set aside: `balance` is the first that has no room for the amount. */
  | {
      readonly kind: 'over_budget'
      readonly balance: Balance
      /** Of all budgets that have no room. */
      readonly warnings: readonly BudgetWarning[]
    }

/** How an attempt ended. `lost`: its process died; it is charged what had been set aside. */
export type UsageOutcome =
  | 'answered'
  | 'provider_error'
  | 'abandoned'
  | 'broken'
  | 'rate_limited'
  | 'overloaded'
  | 'unreachable'
  | 'lost'
  /** A holder that was taken for dead came back: the difference between what it says and what was charged. */
  | 'corrected'

/** Tokens by kind. */
export interface TokenCounts {
  /** Neither read from a prompt cache nor written to one. */
  readonly inputTokens: number
  readonly cacheReadTokens: number
  /** All that was written, for however long. */
  readonly cacheWriteTokens: number
  /** The part of `cacheWriteTokens` that is kept for an hour. */
  readonly cacheWriteHourTokens: number
  readonly outputTokens: number
}

/** What one attempt used. Appended once, never changed. */
export interface UsageEvent extends TokenCounts {
  readonly call: LedgerCall
  /** From 1. With the request's id it names the event. */
  readonly attempt: number
  /** Where the request has a reservation, its instant is kept instead: spending belongs to that period. */
  readonly at: EpochMs
  /** Null where the model's price is not known; totals count it as nothing and count such events. */
  readonly cost: NanoUsd | null
  readonly outcome: UsageOutcome
  /** Whether the provider reported the usage, rather than an estimate standing for it. */
  readonly isExact: boolean
}

/**
 * A budget has passed one of its steps, for the first time in its period. Step 100 is also passed when
 * it has no room for a request: what would not fit is not spent, so that its whole amount hardly ever is.
 *
 * Each is answered to one process only. Whoever tells it confirms that by `Ledger.told`.
 */
export interface BudgetWarning {
  readonly subject: SubjectName
  readonly period: Period
  readonly startAt: EpochMs
  readonly endAt: EpochMs
  /** Per cent. */
  readonly step: number
  readonly amount: NanoUsd
  /** In this period, since the last reset. */
  readonly spent: NanoUsd
  /** What resets had given back before: another figure after each reset of what was spent. */
  readonly credited: NanoUsd
  readonly isShadow: boolean
}

export interface SettleAnswer {
  /** False when the event was there already: nothing was charged again. */
  readonly isNew: boolean
  /** Of the reservation's budgets; empty where it had ended before. */
  readonly balances: readonly Balance[]
  /** Steps that this settlement passed. */
  readonly warnings: readonly BudgetWarning[]
}

/** One secret of a key, as kept: never the secret. A key that was rotated has several. */
export interface KeyRecord {
  /** SHA-256 of the secret, in hex. */
  readonly sha256: string
  /** The key's name, such as `ci`. */
  readonly id: string
  readonly user: string | null
  readonly team: string | null
  readonly tier: string | null
  /** What it opens, in words that a newer Headgate may have more of; null: the usual. */
  readonly scopes: readonly string[] | null
  readonly createdAt: EpochMs
  /** From then on it is refused; null: never. */
  readonly expiresAt: EpochMs | null
  readonly revokedAt: EpochMs | null
}

/** A budget that an administrator set for one subject: it stands in place of the configured ones. */
export interface BudgetOverride {
  readonly subject: SubjectName
  readonly amount: NanoUsd
  readonly period: Period
}

/** What administrators changed while the gate runs. */
export interface Registry {
  /** Grows with each change, by whatever process. */
  readonly revision: number
  readonly keys: readonly KeyRecord[]
  readonly overrides: readonly BudgetOverride[]
}

export interface UsageQuery {
  readonly subject?: SubjectName
  /** Inclusive. */
  readonly from: EpochMs
  /** Exclusive. */
  readonly to: EpochMs
}

export interface UsageTotal {
  readonly cost: NanoUsd
  /** Requests that ended, `lost` ones included, attempts that were sent again not. */
  readonly requests: number
  /** Attempts whose cost is not known. */
  readonly unpriced: number
  readonly tokens: TokenCounts
}

/**
 * Every method rejects with `LedgerUnavailable` when the record cannot be written or read now;
 * `settle`, `release` and `record` never do: what they are told is kept and written as soon as it can be.
 */
export interface Ledger {
  readonly kind: 'sqlite' | 'postgres'
  /** Whether it can be written at present, as far as is known. */
  readonly isAvailable: boolean
  /** What is still to be written, in records. */
  readonly pending: number
  /** Sets money aside, for all budgets or for none. The same id again is answered as before. */
  reserve(reservation: Reservation): Promise<ReserveAnswer>
  /** Ends a reservation with what was used, and charges its budgets. */
  settle(event: UsageEvent): Promise<SettleAnswer>
  /** Ends a reservation whose request was never sent: it cost nothing, and leaves no event. */
  release(id: string): Promise<void>
  /**
   * An attempt that failed; the reservation stays for the next one. Most cost nothing: steps that its
   * cost passes are told by `LedgerEvents.warned`.
   */
  record(event: UsageEvent): Promise<void>
  /** How budgets stand at an instant, in their order. */
  balances(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]>
  /** Gives back what budgets have spent in the periods that hold an instant: they begin afresh, warnings too. */
  reset(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]>
  total(query: UsageQuery): Promise<UsageTotal>
  /** In the order of `at`, in pages. */
  events(query: UsageQuery): AsyncIterable<UsageEvent>
  /** Warnings that nobody has confirmed as told, such as those of a process that died, in periods that last. */
  untold(): Promise<readonly BudgetWarning[]>
  told(warning: BudgetWarning): Promise<void>
  registry(): Promise<Registry>
  /** The registry's revision, cheaply. */
  revision(): Promise<number>
  /** Adds the secret of a key. @throws KeyExists when the name is taken by a key that is in force. */
  addKey(record: KeyRecord): Promise<void>
  /** Revokes all secrets of a key. False when there is no such key in force. */
  revokeKey(id: string, at: EpochMs): Promise<boolean>
  /** Adds a secret to a key, and lets its others expire. False when there is no such key in force. */
  rotateKey(
    id: string,
    next: { readonly sha256: string; readonly at: EpochMs; readonly othersExpireAt: EpochMs },
  ): Promise<boolean>
  setOverride(override: BudgetOverride): Promise<void>
  /** False when there was none. */
  removeOverride(subject: SubjectName): Promise<boolean>
  /** Writes what is pending, as far as that is possible within the time, and lets go. What could not be written rejects. */
  close(withinMs: number): Promise<void>
}

/** The record cannot be written or read at present. `message` says what is wrong, for a person. */
export class LedgerUnavailable extends Error {
  readonly code = 'LEDGER_UNAVAILABLE'

  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'LedgerUnavailable'
  }
}

/** The record cannot be opened, and will not be by waiting: wrong file, damaged, no rights. */
export class LedgerSetupError extends Error {
  readonly code = 'LEDGER_SETUP'

  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'LedgerSetupError'
  }
}

/** A key of that name is in force already. */
export class KeyExists extends Error {
  readonly code = 'KEY_EXISTS'

  constructor(id: string) {
    super(`a key named ${id} exists already`)
    this.name = 'KeyExists'
  }
}
