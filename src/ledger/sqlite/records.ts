// A ledger in an SQLite file, synchronously. Owns: what each operation does, in one transaction.
// Must not know: threads, retries, the machine's time.
import type Database from 'better-sqlite3'
import type { EpochMs } from '../../core/clock.ts'
import {
  CORRECTED_ATTEMPTS,
  type LedgerOperation,
  type LedgerResult,
  LOST_ATTEMPT,
  type Recovered,
} from '../backend.ts'
import type {
  Balance,
  Budget,
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

  commit(operations: readonly LedgerOperation[]): readonly LedgerResult[] {
    return this.write(() => {
      this.#reservations.join(operations)
      const brief = briefReservations(operations)
      return operations.map((operation) => this.#do(operation, brief))
    })
  }

  #do(operation: LedgerOperation, brief: ReadonlyMap<string, Held>): LedgerResult {
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

  #reserve(reservation: Reservation, brief: ReadonlyMap<string, Held>): ReserveAnswer {
    const { call, at, amount } = reservation
    const known = this.#reservations.find(call.id)
    if (known) return { kind: 'reserved', balances: this.#balances(known.bindings) }
    const bindings = bindingsAt(reservation.budgets, at)
    const before = bindings.map((binding) => this.#accounts.meet(binding))
    if (this.log.has(call.id)) return { kind: 'reserved', balances: before }
    const full = before.find((balance) => !hasRoom(balance, amount))
    if (full) return { kind: 'over_budget', balance: full }
    this.#accounts.setAside(bindings, amount)
    if (!brief.has(call.id)) this.#reservations.add({ call, at, amount, bindings })
    const balances = before.map((one) => ({ ...one, reserved: one.reserved + amount }))
    return { kind: 'reserved', balances }
  }

  #settle(event: UsageEvent, brief: ReadonlyMap<string, Held>): SettleAnswer {
    const { id } = event.call
    const held = this.#reservations.find(id) ?? brief.get(id)
    if (!held) return { isNew: this.#settleLate(event), balances: [], warnings: [] }
    this.#end(held)
    const isNew = this.#append({ ...event, at: held.at }, true)
    const balances = this.#balances(held.bindings)
    const warnings = isNew ? balances.flatMap((balance) => this.warnings.passed(balance)) : []
    return { isNew, balances, warnings }
  }

  /** Its reservation has ended before: settled, or charged as lost. */
  #settleLate(event: UsageEvent): boolean {
    const { id } = event.call
    const loss = this.log.uncorrectedLoss(id)
    if (!loss) return this.#append(event, true)
    return this.#append(
      {
        ...event,
        attempt: event.attempt + CORRECTED_ATTEMPTS,
        at: loss.at,
        cost: (event.cost ?? 0) - (loss.cost ?? 0),
        outcome: 'corrected',
      },
      false,
    )
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

  #record(event: UsageEvent, brief: ReadonlyMap<string, Held>): null {
    const { id } = event.call
    const held = this.#reservations.find(id) ?? brief.get(id)
    this.#append({ ...event, at: held?.at ?? event.at }, false)
    return null
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

  #balances(bindings: readonly Binding[]): Balance[] {
    return bindings.map((binding) => this.#accounts.balance(binding))
  }

  /** A sign of life; what holders without one had set aside is charged whole. */
  beat(now: EpochMs, lifeMs: number): Recovered {
    return this.write(() => {
      this.#reservations.beat(now, lifeMs)
      const lost = this.#reservations.ofNobody()
      for (const held of lost) this.#lose(held)
      return { requests: lost.length, cost: lost.reduce((sum, { amount }) => sum + amount, 0) }
    })
  }

  #lose(held: Held): void {
    this.#end(held)
    this.#append(lostEvent(held.call, held.at, held.amount), true)
    for (const balance of this.#balances(held.bindings)) this.warnings.passed(balance)
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

/**
 * Reservations that bind no budget and end among the same operations: nothing depends on them, so
 * they need not be written.
 */
function briefReservations(operations: readonly LedgerOperation[]): ReadonlyMap<string, Held> {
  const brief = new Map<string, Held>()
  const begun = new Map<string, Held>()
  for (const operation of operations) {
    if (operation.kind === 'reserve' && operation.reservation.budgets.length === 0) {
      const { call, at, amount } = operation.reservation
      begun.set(call.id, { call, at, amount, bindings: [] })
      // Begun once more: it is brief only if it ends once more.
      brief.delete(call.id)
    } else if (operation.kind === 'settle' || operation.kind === 'release') {
      const id = operation.kind === 'settle' ? operation.event.call.id : operation.id
      const held = begun.get(id)
      if (held) brief.set(id, held)
    }
  }
  return brief
}

function hasRoom({ budget, spent, reserved, credited }: Balance, amount: NanoUsd): boolean {
  return budget.isShadow || amount <= budget.amount + credited - spent - reserved
}

function lostEvent(call: LedgerCall, at: EpochMs, cost: NanoUsd): UsageEvent {
  return { ...NO_TOKENS, call, attempt: LOST_ATTEMPT, at, cost, outcome: 'lost', isExact: false }
}
