// Keys and budgets that administrators changed while the gate runs. Owns: the tables `keys`,
// `overrides` and `meta`. Must not know: what keys open.
import type Database from 'better-sqlite3'
import type { EpochMs } from '../../core/clock.ts'
import type {
  BudgetOverride,
  KeyRecord,
  Ledger,
  NanoUsd,
  Period,
  Registry,
  SubjectName,
} from '../ledger.ts'

interface OverrideRow {
  readonly subject: SubjectName
  readonly amount: NanoUsd
  readonly unit: Period['unit']
  readonly timeZone: string
}

/** A key as its table has it. */
interface KeyRow extends Omit<KeyRecord, 'scopes'> {
  /** JSON. */
  readonly scopes: string | null
}

export type NextSecret = Parameters<Ledger['rotateKey']>[1]

const KEY = `sha256, id, user, team, tier, scopes, created_at AS createdAt, expires_at AS expiresAt, revoked_at AS revokedAt`
const IN_FORCE = 'id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)'

/** Each change counts the revision up, in the transaction that its caller has begun. */
export class RegistryTables {
  readonly #database: Database.Database

  constructor(database: Database.Database) {
    this.#database = database
  }

  revision(): number {
    const query = this.#database.prepare<[], { revision: number }>('SELECT revision FROM meta')
    return query.get()?.revision ?? 0
  }

  read(): Registry {
    const keys = this.#database
      .prepare<[], KeyRow>(`SELECT ${KEY} FROM keys ORDER BY created_at, id, sha256`)
      .all()
    const overrides = this.#database
      .prepare<[], OverrideRow>(
        'SELECT subject, amount, unit, time_zone AS timeZone FROM overrides ORDER BY subject',
      )
      .all()
    return {
      revision: this.revision(),
      keys: keys.map(({ scopes, ...key }) => ({
        ...key,
        scopes: scopes === null ? null : JSON.parse(scopes),
      })),
      overrides: overrides.map(({ subject, amount, unit, timeZone }) => ({
        subject,
        amount,
        period: { unit, timeZone },
      })),
    }
  }

  /** False when the name is taken by a key that is in force. */
  addKey(record: KeyRecord): boolean {
    if (this.#inForce(record.id, record.createdAt)) return false
    const { scopes } = record
    this.#insert({ ...record, scopes: scopes === null ? null : JSON.stringify(scopes) })
    return this.#changed()
  }

  revokeKey(id: string, at: EpochMs): boolean {
    const { changes } = this.#database
      .prepare<[EpochMs, string, EpochMs]>(`UPDATE keys SET revoked_at = ? WHERE ${IN_FORCE}`)
      .run(at, id, at)
    return changes > 0 && this.#changed()
  }

  rotateKey(id: string, { sha256, at, othersExpireAt }: NextSecret): boolean {
    const former = this.#inForce(id, at)
    if (!former) return false
    this.#database
      .prepare<[EpochMs, EpochMs, string, EpochMs]>(
        `UPDATE keys SET expires_at = min(coalesce(expires_at, ?), ?) WHERE ${IN_FORCE}`,
      )
      .run(othersExpireAt, othersExpireAt, id, at)
    // The newest secret ends when the key does: no rotation has shortened it yet.
    this.#insert({ ...former, sha256, createdAt: at })
    return this.#changed()
  }

  setOverride({ subject, amount, period }: BudgetOverride): void {
    this.#database
      .prepare(
        'INSERT OR REPLACE INTO overrides (subject, amount, unit, time_zone) VALUES (?, ?, ?, ?)',
      )
      .run(subject, amount, period.unit, period.timeZone)
    this.#changed()
  }

  removeOverride(subject: SubjectName): boolean {
    const { changes } = this.#database
      .prepare('DELETE FROM overrides WHERE subject = ?')
      .run(subject)
    return changes > 0 && this.#changed()
  }

  /** The newest secret of a key that is in force. */
  #inForce(id: string, at: EpochMs): KeyRow | undefined {
    return this.#database
      .prepare<[string, EpochMs], KeyRow>(
        `SELECT ${KEY} FROM keys WHERE ${IN_FORCE} ORDER BY created_at DESC LIMIT 1`,
      )
      .get(id, at)
  }

  #insert(row: KeyRow): void {
    this.#database
      .prepare(`
        INSERT INTO keys (sha256, id, user, team, tier, scopes, created_at, expires_at, revoked_at)
        VALUES (@sha256, @id, @user, @team, @tier, @scopes, @createdAt, @expiresAt, @revokedAt)`)
      .run(row)
  }

  #changed(): true {
    this.#database.prepare('UPDATE meta SET revision = revision + 1').run()
    return true
  }
}
