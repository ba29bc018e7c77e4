// Opens the ledger that the settings name. Owns: which ledger that is, and this process's name among
// those that share it. Must not know: what is kept there.
//
// A database's driver is loaded only where it is used.
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock } from '../core/clock.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { LedgerEvents } from '../ledger/ledger-events.ts'
import type { LedgerAddress } from '../policy/ledger-address.ts'

export interface OpenLedgerOptions {
  readonly clock: Clock
  readonly events: LedgerEvents
  /** How long what nobody waits for may wait to be written. @default 0 */
  readonly lingerMs?: number
}

/**
 * Null where the ledger is off.
 *
 * @throws LedgerSetupError when the address or what is there is wrong.
 * @throws LedgerUnavailable when it cannot be used now.
 */
export async function openLedger(
  address: LedgerAddress,
  { clock, events, lingerMs = 0 }: OpenLedgerOptions,
): Promise<Ledger | null> {
  const holder = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`
  switch (address.kind) {
    case 'off':
      return null
    case 'sqlite': {
      const { openSqliteLedger } = await import('../ledger/sqlite/sqlite-ledger.ts')
      return await openSqliteLedger({ file: address.file, holder, clock, events, lingerMs })
    }
    case 'postgres': {
      const { openPostgresLedger } = await import('../ledger/postgres/postgres-ledger.ts')
      return await openPostgresLedger({ url: address.url, holder, clock, events, lingerMs })
    }
  }
}
