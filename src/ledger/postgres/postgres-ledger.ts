// A ledger in Postgres, for processes on many machines. Owns: opening it. Must not know: who asks it.
import { GatheredLedger, type GatheredOptions, LIFE_MS } from '../gathered-ledger.ts'
import type { Ledger } from '../ledger.ts'
import { parseAddress } from './address.ts'
import { PostgresBackend } from './postgres-backend.ts'
import { migrate } from './schema.ts'

export interface PostgresLedgerOptions extends GatheredOptions {
  /** `postgres://user:password@host:port/database`; see `parseAddress`. */
  readonly url: string
  /** Names this process among those that share the ledger; never used twice. */
  readonly holder: string
}

/**
 * @throws LedgerSetupError with one clear line, which never shows the password, when the URL, the user, the
 * database or its schema is not fit for it.
 * @throws LedgerUnavailable when there is no server to be reached.
 */
export async function openPostgresLedger(options: PostgresLedgerOptions): Promise<Ledger> {
  const address = parseAddress(options.url)
  await migrate(address)
  const { clock, holder, lifeMs = LIFE_MS } = options
  const backend = new PostgresBackend({ address, clock, holder, lifeMs })
  return GatheredLedger.start(backend, options)
}
