// A ledger in an SQLite file, synchronously. Owns: what each operation does, in one transaction.
// Must not know: threads, retries, the machine's time.
import type Database from 'better-sqlite3'
import type { EpochMs } from '../../core/clock.ts'
import {
  CORRECTED_ATTEMPTS,
  type LedgerOperation,
  type LedgerResult,
  LOST_ATTEMPT,
  type RecordAnswer,
  type Recovered,
} from '../backend.ts'
import { briefReservations } from '../brief-reservations.ts'
import type {
  Balance,
  Budget,
  BudgetWarning,
  LedgerCall,
  NanoUsd,
  Reservation,
  ReserveAnswer,
  SettleAnswer,
  UsageEvent,
} from '../ledger.ts'
import { AccountTable } from './account-table.ts'
import { Accounts, type Binding, bindingsAt } from './accounts.ts'
import { EventLog } from './event-log.ts'
import { RegistryTables } from './registry-tables.ts'
import { type Held, Reservations } from './reservations.ts'
import { Warnings } from './warnings.ts'

const NO_TOKENS = {
  inputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  cacheWriteHourTokens: 0,
  outputTokens: 0,
}

type Transactions = Record<
  'BEGIN' | 'BEGIN IMMEDIATE' | 'COMMIT' | 'ROLLBACK',
  Database.Statement<[]>
>

export class Records {
  readonly log: EventLog
  readonly warnings: Warnings
  readonly registry: RegistryTables
  readonly #database: Database.Database
  readonly #transactions: Transactions
  readonly #table: AccountTable
  readonly #accounts: Accounts
  readonly #reservations: Reservations

  constructor(database: Database.Database, holder: string) {
    this.#database = database
    this.log = new EventLog(database)
    this.warnings = new Warnings(database)
    this.registry = new RegistryTables(database)
    this.#transactions = {
      BEGIN: database.prepare('BEGIN'),
      'BEGIN IMMEDIATE': database.prepare('BEGIN IMMEDIATE'),
      COMMIT: database.prepare('COMMIT'),
      ROLLBACK: database.prepare('ROLLBACK'),
    }
    this.#table = new AccountTable(database)
    this.#accounts = new Accounts(this.#table, this.log)
    this.#reservations = new Reservations(database, holder)
  }

  /** All of it, or nothing. The lock is taken at the start: other processes share the file. */
  write<T>(work: () => T): T {
    return this.#transaction('BEGIN IMMEDIATE', work)
  }

  /** Sees one state of the file, and waits for no writer. */
  read<T>(work: () => T): T {
    return this.#transaction('BEGIN', work)
  }

  #transaction<T>(begin: keyof Transactions, work: () => T): T {
    this.#transactions[begin].run()
    try {
      const done = work()
      this.#table.write()
      this.#transactions.COMMIT.run()
      return done
    } catch (error) {
      // Some errors, such as a full disk, have rolled it back already.
      if (this.#database.inTransaction) this.#transactions.ROLLBACK.run()
      throw error
    } finally {
      this.#table.forget()
    }
  }

  /** Whether other processes write to the file too. */
  hasCompany(): boolean {
    return this.#reservations.hasCompany()
  }

  commit(operations: readonly LedgerOperation[]): readonly LedgerResult[] {
    return this.write(() => {
      this.#reservations.join(operations)
      const brief = briefReservations(operations)
      return operations.map((operation) => this.#do(operation, brief))
    })
  }

  #do(operation: LedgerOperation, brief: ReadonlyMap<string, Reservation>): LedgerResult {
    switch (operation.kind) {
      case 'reserve':
        return this.#reserve(operation.reservation, brief)
      case 'settle':
        return this.#settle(operation.event, brief)
      case 'release':
        return this.#release(operation.id)
      case 'record':
        return this.#record(operation.event, brief)
    }
  }

  #reserve(reservation: Reservation, brief: ReadonlyMap<string, Reservation>): ReserveAnswer {
    const { call, at, amount } = reservation
    const known = this.#reservations.find(call.id)
    if (known) return { kind: 'reserved', balances: this.#balances(known.bindings), warnings: [] }
    const bindings = bindingsAt(reservation.budgets, at)
    const before = bindings.map((binding) => this.#accounts.meet(binding))
    if (this.log.has(call.id)) return { kind: 'reserved', balances: before, warnings: [] }
    const full = before.filter((balance) => !hasRoom(balance, amount))
    const warnings = full.flatMap((balance) => this.warnings.full(balance))
    const refusing = full.find(({ budget }) => !budget.isShadow)
    if (refusing) return { kind: 'over_budget', balance: refusing, warnings }
    this.#accounts.setAside(bindings, amount)
    if (!brief.has(call.id)) this.#reservations.add({ call, at, amount, bindings })
    const balances = before.map((one) => ({ ...one, reserved: one.reserved + amount }))
    return { kind: 'reserved', balances, warnings }
  }

  #settle(event: UsageEvent, brief: ReadonlyMap<string, Reservation>): SettleAnswer {
    const { id } = event.call
    const held = this.#reservations.find(id)
    if (!held) return this.#settleLate({ ...event, at: brief.get(id)?.at ?? event.at })
    this.#end(held)
    const isNew = this.#append({ ...event, at: held.at }, true)
    const balances = this.#balances(held.bindings)
    return { isNew, balances, warnings: isNew ? this.#passed(balances) : [] }
  }

  /** No reservation is open: it was never written, settled before, or charged as lost. */
  #settleLate(event: UsageEvent): SettleAnswer {
    const { id } = event.call
    const loss = this.log.uncorrectedLoss(id)
    if (!loss) return { isNew: this.#append(event, true), balances: [], warnings: [] }
    const bindings = this.#reservations.bindingsOf(id)
    this.#reservations.forgetLoss(id)
    const isNew = this.#append(
      {
        ...event,
        attempt: event.attempt + CORRECTED_ATTEMPTS,
        at: loss.at,
        cost: (event.cost ?? 0) - (loss.cost ?? 0),
        outcome: 'corrected',
      },
      false,
    )
    return { isNew, balances: [], warnings: this.#passed(this.#balances(bindings)) }
  }

  #release(id: string): null {
    const held = this.#reservations.find(id)
    if (held) this.#end(held)
    else this.#giveBackLoss(id)
    return null
  }

  #giveBackLoss(id: string): void {
    const loss = this.log.uncorrectedLoss(id)
    if (!loss) return
    this.#reservations.forgetLoss(id)
    this.#append(
      {
        ...NO_TOKENS,
        call: loss.call,
        attempt: CORRECTED_ATTEMPTS,
        at: loss.at,
        cost: -(loss.cost ?? 0),
        outcome: 'corrected',
        isExact: true,
      },
      false,
    )
  }

  #record(event: UsageEvent, brief: ReadonlyMap<string, Reservation>): RecordAnswer {
    const { id } = event.call
    const held = this.#reservations.find(id) ?? brief.get(id)
    const isNew = this.#append({ ...event, at: held?.at ?? event.at }, false)
    const balances = isNew ? this.#balances(this.#reservations.bindingsOf(id)) : []
    return { kind: 'recorded', warnings: this.#passed(balances) }
  }

  /** The one way in which money is charged, so that accounts and events agree. */
  #append(event: UsageEvent, endsRequest: boolean): boolean {
    // An attempt that a correction stands for is written already.
    if (this.log.hasAttempt(event.call.id, event.attempt + CORRECTED_ATTEMPTS)) return false
    const isNew = this.log.append(event, endsRequest)
    if (isNew) this.#accounts.charge(event.call, event.at, event.cost)
    return isNew
  }

  #end(held: Held): void {
    this.#reservations.remove(held.call.id)
    this.#accounts.setAside(held.bindings, -held.amount)
  }

  #passed(balances: readonly Balance[]): BudgetWarning[] {
    return balances.flatMap((balance) => this.warnings.passed(balance))
  }

  #balances(bindings: readonly Binding[]): Balance[] {
    return bindings.map((binding) => this.#accounts.balance(binding))
  }

  /** A sign of life; what holders without one had set aside is charged whole. */
  beat(now: EpochMs, lifeMs: number): Recovered {
    return this.write(() => {
      this.#reservations.beat(now, lifeMs)
      const lost = this.#reservations.ofNobody()
      for (const held of lost) this.#lose(held)
      return {
        requests: lost.length,
        cost: lost.reduce((sum, { amount }) => sum + amount, 0),
        warnings: this.#passed(lost.flatMap(({ bindings }) => this.#balances(bindings))),
      }
    })
  }

  #lose(held: Held): void {
    this.#end(held)
    this.#reservations.noteLoss(held)
    this.#append(lostEvent(held.call, held.at, held.amount), true)
  }

  balances(budgets: readonly Budget[], at: EpochMs): readonly Balance[] {
    return this.read(() => this.#balances(bindingsAt(budgets, at)))
  }

  reset(budgets: readonly Budget[], at: EpochMs): readonly Balance[] {
    return this.write(() => {
      const bindings = bindingsAt(budgets, at)
      for (const binding of bindings) {
        this.#accounts.credit(binding)
        this.warnings.forget(binding)
      }
      return this.#balances(bindings)
    })
  }

  /** Ends this holder; what it still has set aside is charged at anybody's next beat. */
  leave(): void {
    this.write(() => this.#reservations.leave())
  }
}

function hasRoom({ budget, spent, reserved, credited }: Balance, amount: NanoUsd): boolean {
  return amount <= budget.amount + credited - spent - reserved
}

function lostEvent(call: LedgerCall, at: EpochMs, cost: NanoUsd): UsageEvent {
  return { ...NO_TOKENS, call, attempt: LOST_ATTEMPT, at, cost, outcome: 'lost', isExact: false }
}
