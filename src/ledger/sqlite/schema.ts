// The tables of a ledger's SQLite file. Owns: their definition, and bringing an older file up to date.
// Must not know: what is asked of them.
import type Database from 'better-sqlite3'
import { LedgerSetupError } from '../ledger.ts'

/** Marks the file as a ledger of Headgate (`hgld`); see https://sqlite.org/pragma.html#pragma_application_id */
const APPLICATION_ID = 0x68676c64

/** The integers that JavaScript holds exactly. A sum that leaves them fails instead of being rounded. */
const EXACT = 'BETWEEN -9007199254740991 AND 9007199254740991'
const EXACT_POSITIVE = 'BETWEEN 0 AND 9007199254740991'

/**
 * Rows are made so that reserving and settling touch few pages: what is set aside is one row that
 * carries its call and budgets as JSON, and an account is found by its key alone.
 */
const FIRST = `
CREATE TABLE meta (revision INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES (0);

CREATE TABLE holders (
  id TEXT PRIMARY KEY,
  seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reservations (
  id TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  at INTEGER NOT NULL,
  amount INTEGER NOT NULL CHECK (amount ${EXACT_POSITIVE}),
  call TEXT NOT NULL,
  bindings TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE losses (
  id TEXT PRIMARY KEY,
  bindings TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
  subject TEXT NOT NULL,
  end_at INTEGER NOT NULL,
  unit TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  start_at INTEGER NOT NULL,
  spent INTEGER NOT NULL CHECK (spent ${EXACT}),
  reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved ${EXACT_POSITIVE}),
  credited INTEGER NOT NULL DEFAULT 0 CHECK (credited ${EXACT}),
  PRIMARY KEY (subject, end_at, unit, time_zone)
) STRICT, WITHOUT ROWID;

CREATE TABLE warnings (
  subject TEXT NOT NULL,
  end_at INTEGER NOT NULL,
  unit TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  start_at INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  is_shadow INTEGER NOT NULL,
  step INTEGER NOT NULL,
  spent INTEGER NOT NULL,
  credited INTEGER NOT NULL,
  told INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (subject, end_at, unit, time_zone, amount, is_shadow, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX warnings_untold ON warnings (end_at) WHERE told = 0;

CREATE TABLE events (
  id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  user TEXT,
  team TEXT,
  key TEXT,
  tier TEXT,
  provider TEXT NOT NULL,
  model TEXT,
  cost INTEGER CHECK (cost ${EXACT}),
  outcome TEXT NOT NULL,
  is_exact INTEGER NOT NULL,
  ends_request INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  cache_write_hour_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_id ON events (id, attempt);
CREATE INDEX events_by_at ON events (at);
CREATE INDEX events_by_user ON events (user, at) WHERE user IS NOT NULL;
CREATE INDEX events_by_team ON events (team, at) WHERE team IS NOT NULL;
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'usage events are never changed'); END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'usage events are never deleted'); END;

CREATE TABLE keys (
  sha256 TEXT PRIMARY KEY,
  id TEXT NOT NULL,
  user TEXT,
  team TEXT,
  tier TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE overrides (
  subject TEXT PRIMARY KEY,
  amount INTEGER NOT NULL CHECK (amount ${EXACT_POSITIVE}),
  unit TEXT NOT NULL,
  time_zone TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`

/** A JSON list, or null for the usual. */
const KEY_SCOPES = 'ALTER TABLE keys ADD COLUMN scopes TEXT'

/** In order; the file's `user_version` says how many it has had. Never edited once released: added to. */
const MIGRATIONS: readonly string[] = [FIRST, KEY_SCOPES]

/** @throws LedgerSetupError when the file is another program's, or a newer Headgate's. */
export function migrate(database: Database.Database, file: string): void {
  if (versionOf(database, file) === MIGRATIONS.length) return
  const bringUpToDate = database.transaction(() => {
    // Another process may have been quicker.
    for (const statements of MIGRATIONS.slice(versionOf(database, file))) database.exec(statements)
    database.pragma(`application_id = ${APPLICATION_ID}`)
    database.pragma(`user_version = ${MIGRATIONS.length}`)
  })
  bringUpToDate.immediate()
}

function versionOf(database: Database.Database, file: string): number {
  const version = Number(database.pragma('user_version', { simple: true }))
  const application = Number(database.pragma('application_id', { simple: true }))
  if (application !== APPLICATION_ID && !isEmpty(database, application, version))
    throw new LedgerSetupError(
      `ledger ${file}: this is another program's SQLite database; name a file of its own for the ledger`,
    )
  if (version > MIGRATIONS.length)
    throw new LedgerSetupError(
      `ledger ${file}: a newer Headgate wrote it (its format is ${version}, this Headgate knows ${MIGRATIONS.length}); use that version or a newer one`,
    )
  return version
}

function isEmpty(database: Database.Database, application: number, version: number): boolean {
  if (application !== 0 || version !== 0) return false
  return database.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
}
