// Steps that budgets have passed. Owns: the table `warnings`. Must not know: what was charged.
import type Database from 'better-sqlite3'
import type { EpochMs } from '../../core/clock.ts'
import { FULL_STEP } from '../backend.ts'
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
  readonly credited: NanoUsd
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
      INSERT INTO warnings (subject, end_at, unit, time_zone, start_at, amount, is_shadow, step, spent, credited)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
    this.#tell = database.prepare(
      `UPDATE warnings SET told = 1
       WHERE ${ACCOUNT} AND amount = ? AND is_shadow = ? AND step = ? AND credited = ?`,
    )
    this.#untold = database.prepare<[EpochMs], WarningRow>(`
      SELECT subject, unit, time_zone AS timeZone, start_at AS startAt, end_at AS endAt, step, amount,
        spent, credited, is_shadow AS isShadow
      FROM warnings WHERE told = 0 AND end_at > ? ORDER BY start_at, subject, step`)
    this.#forget = database.prepare(`DELETE FROM warnings WHERE ${ACCOUNT}`)
  }

  /** The steps that a budget has passed now and had not before. */
  passed(balance: Balance): BudgetWarning[] {
    const { amount, warnAt } = balance.budget
    const spent = spentSinceReset(balance)
    return this.#newOf(
      balance,
      warnAt.filter((step) => hasPassed(spent, step, amount)),
    )
  }

  /** As `passed`, for a budget that had no room for a request. */
  full(balance: Balance): BudgetWarning[] {
    const { warnAt } = balance.budget
    return this.#newOf(
      balance,
      warnAt.filter((step) => step === FULL_STEP),
    )
  }

  #newOf(balance: Balance, steps: readonly number[]): BudgetWarning[] {
    const { subject, period, amount, isShadow } = balance.budget
    const { startAt, endAt, credited } = balance
    const spent = spentSinceReset(balance)
    return steps
      .map((step) => ({ subject, period, startAt, endAt, step, amount, spent, credited, isShadow }))
      .filter((warning) => this.#isNew(warning))
  }

  #isNew(warning: BudgetWarning): boolean {
    const { subject, period, startAt, endAt, step, amount, spent, credited, isShadow } = warning
    const account = [subject, endAt, period.unit, period.timeZone, startAt]
    const { changes } = this.#add.run(...account, amount, Number(isShadow), step, spent, credited)
    return changes === 1
  }

  /** They come again, once their steps are passed again. */
  forget({ budget, endAt }: Binding): void {
    this.#forget.run(budget.subject, endAt, budget.period.unit, budget.period.timeZone)
  }

  untold(now: EpochMs): BudgetWarning[] {
    return this.#untold.all(now).map(({ unit, timeZone, isShadow, ...row }) => ({
      ...row,
      period: { unit, timeZone },
      isShadow: isShadow === 1,
    }))
  }

  told({ subject, endAt, period, amount, isShadow, step, credited }: BudgetWarning): void {
    const account = [subject, endAt, period.unit, period.timeZone]
    this.#tell.run(...account, amount, Number(isShadow), step, credited)
  }
}

const spentSinceReset = ({ spent, credited }: Balance): NanoUsd => spent - credited

/** The products may pass what JavaScript's numbers hold exactly. */
function hasPassed(spent: NanoUsd, step: number, amount: NanoUsd): boolean {
  return BigInt(spent) * 100n >= BigInt(step) * BigInt(amount)
}
