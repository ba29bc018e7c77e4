// Money set aside, and whose. Owns: the tables `reservations`, `holders` and `losses`.
// Must not know: how accounts are kept.
import type Database from 'better-sqlite3'
import type { EpochMs } from '../../core/clock.ts'
import type { LedgerOperation } from '../backend.ts'
import type { LedgerCall, NanoUsd } from '../ledger.ts'
import type { Binding } from './accounts.ts'

export interface Held {
  readonly call: LedgerCall
  readonly at: EpochMs
  readonly amount: NanoUsd
  readonly bindings: readonly Binding[]
}

interface HeldRow {
  readonly at: EpochMs
  readonly amount: NanoUsd
  readonly call: string
  readonly bindings: string
}

export class Reservations {
  readonly #holder: string
  readonly #insert
  readonly #find
  readonly #delete
  readonly #ofNobody
  readonly #noteLoss
  readonly #findLoss
  readonly #forgetLoss
  readonly #join
  readonly #seen
  readonly #forgetSilent
  readonly #leave
  readonly #others

  constructor(database: Database.Database, holder: string) {
    this.#holder = holder
    this.#insert = database.prepare<[string, string, EpochMs, NanoUsd, string, string]>(
      'INSERT INTO reservations (id, holder, at, amount, call, bindings) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#find = database.prepare<[string], HeldRow>(
      'SELECT at, amount, call, bindings FROM reservations WHERE id = ?',
    )
    this.#delete = database.prepare<[string]>('DELETE FROM reservations WHERE id = ?')
    this.#ofNobody = database.prepare<[], HeldRow>(
      `SELECT at, amount, call, bindings FROM reservations
       WHERE holder NOT IN (SELECT id FROM holders) ORDER BY id`,
    )
    this.#noteLoss = database.prepare<[string, string]>(
      'INSERT INTO losses (id, bindings) VALUES (?, ?) ON CONFLICT DO NOTHING',
    )
    this.#findLoss = database
      .prepare<[string], string>('SELECT bindings FROM losses WHERE id = ?')
      .pluck()
    this.#forgetLoss = database.prepare<[string]>('DELETE FROM losses WHERE id = ?')
    this.#join = database.prepare<[string, EpochMs]>(
      'INSERT INTO holders (id, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING',
    )
    this.#seen = database.prepare<[string, EpochMs]>(
      'INSERT INTO holders (id, seen_at) VALUES (?, ?) ON CONFLICT DO UPDATE SET seen_at = excluded.seen_at',
    )
    this.#forgetSilent = database.prepare<[EpochMs, number]>(
      'DELETE FROM holders WHERE abs(seen_at - ?) > ?',
    )
    this.#others = database.prepare<[string]>('SELECT 1 FROM holders WHERE id <> ? LIMIT 1')
    this.#leave = database.prepare<[string]>('DELETE FROM holders WHERE id = ?')
  }

  find(id: string): Held | null {
    const row = this.#find.get(id)
    return row ? heldOf(row) : null
  }

  add({ call, at, amount, bindings }: Held): void {
    this.#insert.run(
      call.id,
      this.#holder,
      at,
      amount,
      JSON.stringify(call),
      JSON.stringify(bindings),
    )
  }

  /** Taken for dead meanwhile, a holder would lose what it reserves now at anybody's next beat. */
  join(operations: readonly LedgerOperation[]): void {
    const first = operations.find(({ kind }) => kind === 'reserve')
    if (first?.kind === 'reserve') this.#join.run(this.#holder, first.reservation.at)
  }

  /** Whether other processes write to the file too. */
  hasCompany(): boolean {
    return this.#others.get(this.#holder) !== undefined
  }

  remove(id: string): void {
    this.#delete.run(id)
  }

  /**
   * Notes this holder's sign of life, and forgets holders that gave none for `lifeMs`. A sign from the
   * future is none: its machine's clock was set back after it died.
   */
  beat(now: EpochMs, lifeMs: number): void {
    this.#seen.run(this.#holder, now)
    this.#forgetSilent.run(now, lifeMs)
  }

  /** What is set aside for holders that are no more. */
  ofNobody(): Held[] {
    return this.#ofNobody.all().map(heldOf)
  }

  /** Charged as lost, it may be corrected, which its budgets are to know. */
  noteLoss({ call, bindings }: Held): void {
    if (bindings.length > 0) this.#noteLoss.run(call.id, JSON.stringify(bindings))
  }

  /** Which budgets a request binds that is under way, or that was charged as lost and is not corrected. */
  bindingsOf(id: string): readonly Binding[] {
    const loss = this.#findLoss.get(id)
    return loss === undefined ? (this.find(id)?.bindings ?? []) : JSON.parse(loss)
  }

  forgetLoss(id: string): void {
    this.#forgetLoss.run(id)
  }

  leave(): void {
    this.#leave.run(this.#holder)
  }
}

function heldOf({ at, amount, call, bindings }: HeldRow): Held {
  return { at, amount, call: JSON.parse(call), bindings: JSON.parse(bindings) }
}
