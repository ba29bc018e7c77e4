// Opens a ledger's file. Owns: its place, its rights, how durable it is.
// Must not know: tables, or threads.
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { LedgerSetupError, LedgerUnavailable } from '../ledger.ts'
import { troubleOf } from './failure.ts'
import { migrate } from './schema.ts'

/** Others that write all the time let a newcomer in only now and then. */
const OPENED_WITHIN_MS = 5000

/** A check of the whole file takes about a second for every few hundred megabytes. */
const CHECKED_UP_TO_BYTES = 64 * 2 ** 20

/** Creates the file where there is none, for its owner alone.
 * @throws LedgerSetupError when it is no ledger, damaged, or may not be used.
 * @throws LedgerUnavailable when another program keeps it locked for too long.
 * @param busyTimeoutMs how long a write waits for those of others. */
export function openFile(file: string, busyTimeoutMs: number): Database.Database {
  createFile(file)
  let database: Database.Database | undefined
  try {
    database = new Database(file, { timeout: OPENED_WITHIN_MS })
    if (statSync(file).size < CHECKED_UP_TO_BYTES) refuseDamaged(database, file)
    migrate(database, file)
    // FULL: a commit that was acknowledged outlives a loss of power.
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = FULL')
    database.pragma('foreign_keys = ON')
    database.pragma(`busy_timeout = ${busyTimeoutMs}`)
    return database
  } catch (error) {
    database?.close()
    throw asSetupError(error, file)
  }
}

function createFile(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    closeSync(openSync(file, 'a', 0o600))
  } catch (error) {
    throw new LedgerSetupError(`ledger ${file}: ${whyNot(error)}`, error)
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EISDIR: 'this is a folder; name a file in it',
  EACCES: 'no right to write there; change the rights, or name another file',
  EPERM: 'no right to write there; change the rights, or name another file',
  EROFS: 'the file system is read-only; name a file elsewhere',
  ENOTDIR: 'a part of its path is a file, not a folder; name another file',
  EEXIST: 'a part of its path is a file, not a folder; name another file',
  ENOSPC: 'the disk is full; make room',
}

function whyNot(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return REASONS[code] ?? `it cannot be created (${error instanceof Error ? error.message : code})`
}

function refuseDamaged(database: Database.Database, file: string): void {
  const found = String(database.pragma('quick_check(1)', { simple: true }))
  if (found !== 'ok')
    throw new LedgerSetupError(
      `ledger ${file}: it is damaged (${found.replaceAll('\n', ' ')}); restore it from a copy, or move it away to begin afresh`,
    )
}

function asSetupError(error: unknown, file: string): unknown {
  if (!(error instanceof Database.SqliteError)) return error
  if (error.code.startsWith('SQLITE_NOTADB'))
    return new LedgerSetupError(`ledger ${file}: this is not an SQLite database; name another file`)
  const trouble = troubleOf(error, file) ?? `ledger ${file}: ${error.message}`
  const passesByWaiting = error.code.startsWith('SQLITE_BUSY')
  return passesByWaiting
    ? new LedgerUnavailable(trouble, error)
    : new LedgerSetupError(trouble, error)
}
