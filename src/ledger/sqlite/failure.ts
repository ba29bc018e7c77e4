// What SQLite's errors mean to the ledger. Owns: which of them pass by waiting.
// Must not know: what was being written.
import Database from 'better-sqlite3'
import { LedgerUnavailable } from '../ledger.ts'

/** By SQLite's primary result code: https://sqlite.org/rescode.html */
const TROUBLES: Readonly<Record<string, string>> = {
  SQLITE_BUSY: 'another program holds its lock; close what has it open',
  SQLITE_LOCKED: 'another program holds its lock; close what has it open',
  SQLITE_FULL: 'the disk is full; make room',
  SQLITE_IOERR: 'the disk failed to read or write it; check the disk and the room on it',
  SQLITE_READONLY: 'it may not be written; check its rights and those of its folder',
  SQLITE_CANTOPEN: 'it cannot be opened; check that its folder is there and may be written',
  SQLITE_PERM: 'its rights forbid access; check them',
  SQLITE_AUTH: 'its rights forbid access; check them',
  SQLITE_NOMEM: 'there is not enough memory',
  SQLITE_PROTOCOL: 'its lock could not be had; too many programs use it',
  SQLITE_CORRUPT: 'it is damaged; stop, and restore it from a copy',
  SQLITE_NOTADB: 'it is damaged; stop, and restore it from a copy',
}

/** One line for a person, or null where the error says nothing about the file. */
export function troubleOf(error: unknown, file: string): string | null {
  if (!(error instanceof Database.SqliteError)) return null
  const [, primary = ''] = /^(SQLITE_[A-Z]+)/.exec(error.code) ?? []
  const trouble = TROUBLES[primary]
  return trouble ? `ledger ${file}: ${trouble} (${error.code})` : null
}

/** The error as the ledger knows it: what waiting may cure is `LedgerUnavailable`. */
export function asLedgerError(error: unknown, file: string): unknown {
  const trouble = troubleOf(error, file)
  return trouble === null ? error : new LedgerUnavailable(trouble, error)
}
