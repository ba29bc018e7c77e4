// Accounts of subjects, in memory for the length of a transaction. Owns: the table `accounts`.
// Must not know: budgets, or what is charged.
//
// A busy subject is charged hundreds of times in one commit: its accounts are read once and written once.
import type Database from 'better-sqlite3'
import type { EpochMs } from '../../core/clock.ts'
import type { NanoUsd, SubjectName } from '../ledger.ts'

/** What is changed in it is written when the transaction ends. */
export interface Account {
  readonly subject: SubjectName
  readonly unit: string
  readonly timeZone: string
  readonly startAt: EpochMs
  readonly endAt: EpochMs
  spent: NanoUsd
  reserved: NanoUsd
  credited: NanoUsd
}

interface Loaded {
  /** Accounts whose periods end at this instant or before have not been read. */
  from: EpochMs
  readonly accounts: Account[]
}

export class AccountTable {
  readonly #select
  readonly #write
  readonly #loaded = new Map<SubjectName, Loaded>()
  readonly #changed = new Set<Account>()

  constructor(database: Database.Database) {
    this.#select = database.prepare<[SubjectName, EpochMs, EpochMs], Account>(`
      SELECT subject, unit, time_zone AS timeZone, start_at AS startAt, end_at AS endAt, spent, reserved, credited
      FROM accounts WHERE subject = ? AND end_at > ? AND end_at <= ?`)
    this.#write = database.prepare(`
      INSERT INTO accounts (subject, end_at, unit, time_zone, start_at, spent, reserved, credited)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (subject, end_at, unit, time_zone) DO UPDATE SET
        spent = excluded.spent, reserved = excluded.reserved, credited = excluded.credited`)
  }

  /** A subject's accounts whose periods end after an instant, and maybe earlier ones. */
  of(subject: SubjectName, from: EpochMs): readonly Account[] {
    return this.#load(subject, from).accounts
  }

  open(account: Account): void {
    this.#load(account.subject, account.startAt).accounts.push(account)
    this.#changed.add(account)
  }

  /** To be told of each change. */
  changed(account: Account): void {
    this.#changed.add(account)
  }

  /** Writes what was changed: the last thing in a transaction. */
  write(): void {
    for (const account of this.#changed) {
      const { subject, endAt, unit, timeZone, startAt, spent, reserved, credited } = account
      this.#write.run(subject, endAt, unit, timeZone, startAt, spent, reserved, credited)
    }
    this.#changed.clear()
  }

  /** Other processes may change the table from now on. */
  forget(): void {
    this.#loaded.clear()
    this.#changed.clear()
  }

  #load(subject: SubjectName, from: EpochMs): Loaded {
    const loaded = this.#loaded.get(subject) ?? { from: Number.MAX_SAFE_INTEGER, accounts: [] }
    if (loaded.from <= from) return loaded
    loaded.accounts.push(...this.#select.all(subject, from, loaded.from))
    loaded.from = from
    this.#loaded.set(subject, loaded)
    return loaded
  }
}
