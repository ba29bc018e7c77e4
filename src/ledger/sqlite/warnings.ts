// Steps that budgets have passed. Owns: the table `warnings`. Must not know: what was charged.
import type Database from 'better-sqlite3'
import type { EpochMs } from '../../core/clock.ts'
import type { Balance, BudgetWarning, NanoUsd, Period, SubjectName } from '../ledger.ts'
import type { Binding } from './accounts.ts'

interface WarningRow {
  readonly subject: SubjectName
  readonly unit: Period['unit']
  readonly timeZone: string
  readonly startAt: EpochMs
  readonly endAt: EpochMs
  readonly step: number
  readonly amount: NanoUsd
  readonly spent: NanoUsd
  readonly isShadow: number
}

const ACCOUNT = 'subject = ? AND end_at = ? AND unit = ? AND time_zone = ?'

export class Warnings {
  readonly #add
  readonly #tell
  readonly #untold
  readonly #forget

  constructor(database: Database.Database) {
    this.#add = database.prepare(`
      INSERT INTO warnings (subject, end_at, unit, time_zone, start_at, amount, is_shadow, step, spent)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
    this.#tell = database.prepare(
      `UPDATE warnings SET told = 1 WHERE ${ACCOUNT} AND amount = ? AND is_shadow = ? AND step = ?`,
    )
    this.#untold = database.prepare<[], WarningRow>(`
      SELECT subject, unit, time_zone AS timeZone, start_at AS startAt, end_at AS endAt, step, amount,
        spent, is_shadow AS isShadow
      FROM warnings WHERE told = 0 ORDER BY start_at, subject, step`)
    this.#forget = database.prepare(`DELETE FROM warnings WHERE ${ACCOUNT}`)
  }

  /** The steps that a budget has passed now and had not before. */
  passed(balance: Balance): BudgetWarning[] {
    const spent = balance.spent - balance.credited
    const { subject, period, amount, isShadow, warnAt } = balance.budget
    const { startAt, endAt } = balance
    return warnAt
      .filter((step) => hasPassed(spent, step, amount))
      .map((step) => ({ subject, period, startAt, endAt, step, amount, spent, isShadow }))
      .filter((warning) => this.#isNew(warning))
  }

  #isNew(warning: BudgetWarning): boolean {
    const { subject, period, startAt, endAt, step, amount, spent, isShadow } = warning
    const account = [subject, endAt, period.unit, period.timeZone]
    return this.#add.run(...account, startAt, amount, Number(isShadow), step, spent).changes === 1
  }

  /** They come again, once their steps are passed again. */
  forget({ budget, endAt }: Binding): void {
    this.#forget.run(budget.subject, endAt, budget.period.unit, budget.period.timeZone)
  }

  untold(): BudgetWarning[] {
    return this.#untold.all().map(({ unit, timeZone, isShadow, ...row }) => ({
      ...row,
      period: { unit, timeZone },
      isShadow: isShadow === 1,
    }))
  }

  told({ subject, endAt, period, amount, isShadow, step }: BudgetWarning): void {
    this.#tell.run(subject, endAt, period.unit, period.timeZone, amount, Number(isShadow), step)
  }
}

/** The products may pass what JavaScript's numbers hold exactly. */
function hasPassed(spent: NanoUsd, step: number, amount: NanoUsd): boolean {
  return BigInt(spent) * 100n >= BigInt(step) * BigInt(amount)
}
