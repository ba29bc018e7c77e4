// Where a ledger's Postgres is, as its URL says. Owns: what may be shown of it, which is never a password.
// Must not know: what is kept there.
import { Client, escapeIdentifier } from 'pg'
import { LedgerSetupError } from '../ledger.ts'

/** The schema of a URL that names none. */
const DEFAULT_SCHEMA = 'headgate'
const SCHEMA = /^[a-z_][a-z0-9_]{0,62}$/

export interface PostgresAddress {
  /** As the driver wants it; holds the password. */
  readonly connectionString: string
  /** Quoted, for SQL. */
  readonly schema: string
  /** For people. */
  readonly shown: string
}

/**
 * `postgres://user:password@host:port/database`, with `?schema=` and what libpq understands of TLS:
 * `sslmode`, `sslrootcert`, `sslcert`, `sslkey`; `?host=` names a folder with a Unix socket.
 * @throws LedgerSetupError
 */
export function parseAddress(text: string): PostgresAddress {
  const url = urlOf(text)
  const schema = url.searchParams.get('schema') ?? DEFAULT_SCHEMA
  if (!SCHEMA.test(schema))
    throw new LedgerSetupError(
      'ledger URL: a schema is named with lower-case letters, digits and underscores',
    )
  url.searchParams.delete('schema')
  // Otherwise the driver takes `require` for `verify-full`, and says that it won't for long.
  if (url.searchParams.has('sslmode')) url.searchParams.set('uselibpqcompat', 'true')
  const connectionString = url.href
  checkWithDriver(connectionString)
  return { connectionString, schema: escapeIdentifier(schema), shown: shownOf(url) }
}

function urlOf(text: string): URL {
  const url = URL.parse(text)
  // An unescaped `/` or `@` in a password makes it a part of the path, which is shown.
  const isClear = url && /^postgres(ql)?:$/.test(url.protocol) && /^\/[^/@]+$/.test(url.pathname)
  if (!isClear)
    throw new LedgerSetupError(
      'ledger URL: not of the form postgres://user:password@host:5432/database; ' +
        'write special letters of the password as %XX',
    )
  return url
}

function shownOf({ protocol, username, host, pathname }: URL): string {
  return `${protocol}//${username && `${username}@`}${host}${pathname}`
}

/** It reads the certificates that the URL names. */
function checkWithDriver(connectionString: string): void {
  try {
    new Client({ connectionString })
  } catch (error) {
    throw new LedgerSetupError(`ledger URL: ${error instanceof Error ? error.message : error}`)
  }
}
