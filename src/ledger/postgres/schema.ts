// A ledger's tables in Postgres. Owns: making them, and bringing older ones up to date, once, whoever
// comes first. Must not know: what is asked of them.
import { Client } from 'pg'
import { LedgerSetupError } from '../ledger.ts'
import { accountFunctions } from './accounts.sql.ts'
import type { PostgresAddress } from './address.ts'
import { asOpeningError } from './failure.ts'
import { keyScopes } from './key-scopes.sql.ts'
import { lifeFunctions } from './lives.sql.ts'
import { readingFunctions } from './reading.sql.ts'
import { registryFunctions } from './registry.sql.ts'
import { tables } from './tables.sql.ts'

const CONNECT_TIMEOUT_MS = 5000
/** Others may be bringing a large ledger up to date. */
const MIGRATE_TIMEOUT_MS = 60_000

/** From a quoted schema name to statements. */
type Migration = (s: string) => string

const FIRST: readonly Migration[] = [
  tables,
  accountFunctions,
  readingFunctions,
  registryFunctions,
  lifeFunctions,
]

/** In order; the schema says how many it has had. Never edited once released: added to. */
const MIGRATIONS: readonly Migration[] = [(s) => FIRST.map((part) => part(s)).join('\n'), keyScopes]

/**
 * @throws LedgerSetupError when this user may not, or a newer Headgate was here.
 * @throws LedgerUnavailable when there is no server.
 */
export async function migrate(address: PostgresAddress): Promise<void> {
  const client = new Client({
    connectionString: address.connectionString,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: MIGRATE_TIMEOUT_MS,
    application_name: 'headgate',
  })
  // It is told of by the query that it befalls.
  client.on('error', () => {})
  try {
    await client.connect()
    if ((await versionOf(client, address)) < MIGRATIONS.length) await bringUpToDate(client, address)
  } catch (error) {
    throw asOpeningError(error, address.shown)
  } finally {
    await client.end()
  }
}

/** All in one transaction, as the lock is: a pooler may give the connection to others after it. */
async function bringUpToDate(client: Client, address: PostgresAddress): Promise<void> {
  const { schema: s } = address
  await client.query('begin')
  await client.query('select pg_advisory_xact_lock(hashtext($1))', [`headgate migration ${s}`])
  // Another process may have been quicker.
  const version = await versionOf(client, address)
  if (version === 0) {
    await client.query(`create schema if not exists ${s}`)
    await client.query(`create table ${s}.version (version integer not null)`)
    await client.query(`insert into ${s}.version values (0)`)
  }
  for (const migration of MIGRATIONS.slice(version)) await client.query(migration(s))
  await client.query(`update ${s}.version set version = $1`, [MIGRATIONS.length])
  await client.query('commit')
}

/** 0 where there is no ledger yet. */
async function versionOf(client: Client, { schema: s, shown }: PostgresAddress): Promise<number> {
  // Read, not looked up by name: names are cached, and another process may have made it just now.
  const known = await client.query(
    `select from pg_tables where format('"%s"', schemaname) = $1 and tablename = 'version'`,
    [s],
  )
  if (known.rowCount === 0) return 0
  const { rows } = await client.query(`select version from ${s}.version`)
  const version = Number(rows[0]?.version)
  if (version > MIGRATIONS.length)
    throw new LedgerSetupError(
      `ledger ${shown}: a newer Headgate wrote it (its format is ${version}, this Headgate knows ${MIGRATIONS.length}); use that version or a newer one`,
    )
  return version
}
