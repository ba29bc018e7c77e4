// What subjects have spent and set aside in each period. Must not know: which request the money is for.
//
// An account is opened when a budget first meets it, with what its subject's events cost so far; from
// then on every event of the subject adds to it.
import type { EpochMs } from '../../core/clock.ts'
import type { Balance, Budget, LedgerCall, NanoUsd, SubjectName } from '../ledger.ts'
import { periodAt } from '../period.ts'
import type { Account, AccountTable } from './account-table.ts'
import type { EventLog } from './event-log.ts'

/** A budget in one of its periods. */
export interface Binding {
  readonly budget: Budget
  readonly startAt: EpochMs
  readonly endAt: EpochMs
}

export function bindingsAt(budgets: readonly Budget[], at: EpochMs): Binding[] {
  return budgets.map((budget) => ({ budget, ...periodAt(budget.period, at) }))
}

export class Accounts {
  readonly #table: AccountTable
  readonly #log: EventLog

  constructor(table: AccountTable, log: EventLog) {
    this.#table = table
    this.#log = log
  }

  /** How it stands, whether or not its account is open. */
  balance(binding: Binding): Balance {
    const { spent, reserved, credited } = this.#find(binding) ?? this.#unopened(binding)
    return { ...binding, spent, reserved, credited }
  }

  /** As `balance`, and opens its account. */
  meet(binding: Binding): Balance {
    if (!this.#find(binding)) this.#table.open(this.#unopened(binding))
    return this.balance(binding)
  }

  /** Sets money aside, or with a negative amount gives it back: once where budgets share an account. */
  setAside(bindings: readonly Binding[], amount: NanoUsd): void {
    const accounts = new Set(bindings.map((binding) => this.#find(binding)))
    for (const account of accounts) {
      if (!account) continue
      account.reserved += amount
      this.#table.changed(account)
    }
  }

  /** Adds what an event cost to every account of its user and its team whose period holds it. */
  charge({ user, team }: LedgerCall, at: EpochMs, cost: NanoUsd | null): void {
    if (!cost) return
    if (user !== null) this.#charge(`user:${user}`, at, cost)
    if (team !== null) this.#charge(`team:${team}`, at, cost)
  }

  #charge(subject: SubjectName, at: EpochMs, cost: NanoUsd): void {
    for (const account of this.#table.of(subject, at)) {
      if (account.startAt > at || account.endAt <= at) continue
      account.spent += cost
      this.#table.changed(account)
    }
  }

  /** Gives back what was spent. */
  credit(binding: Binding): void {
    this.meet(binding)
    const account = this.#find(binding)
    if (!account) return
    account.credited = account.spent
    this.#table.changed(account)
  }

  #find({ budget, startAt, endAt }: Binding): Account | undefined {
    const { unit, timeZone } = budget.period
    return this.#table
      .of(budget.subject, startAt)
      .find((one) => one.endAt === endAt && one.unit === unit && one.timeZone === timeZone)
  }

  #unopened({ budget, startAt, endAt }: Binding): Account {
    const { subject, period } = budget
    const spent = this.#log.spent(subject, { startAt, endAt })
    return { subject, ...period, startAt, endAt, spent, reserved: 0, credited: 0 }
  }
}
