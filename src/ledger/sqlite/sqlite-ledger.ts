// A ledger in one SQLite file, for the processes of one machine. Owns: opening it.
// Must not know: who asks it.
import { GatheredLedger, type GatheredOptions, LIFE_MS } from '../gathered-ledger.ts'
import type { Ledger } from '../ledger.ts'
import { startWorker } from './connection.ts'
import { SqliteBackend } from './sqlite-backend.ts'

/** How long one try to commit waits for other processes' commits; then it is told of, and tried again. */
const BUSY_TIMEOUT_MS = 1000

export interface SqliteLedgerOptions extends GatheredOptions {
  /** The file's path; folders that are missing are created, for the owner alone. */
  readonly file: string
  /** Names this process among those that share the file; never used twice. */
  readonly holder: string
}

/**
 * @throws LedgerSetupError with one clear line when the file is no ledger, damaged, or may not be used.
 * @throws LedgerUnavailable when another program keeps it locked.
 */
export async function openSqliteLedger(options: SqliteLedgerOptions): Promise<Ledger> {
  const { file, holder, lifeMs = LIFE_MS } = options
  const backend = new SqliteBackend({
    file,
    holder,
    lifeMs,
    busyTimeoutMs: BUSY_TIMEOUT_MS,
    startWorker,
  })
  await backend.open()
  return GatheredLedger.start(backend, options)
}
