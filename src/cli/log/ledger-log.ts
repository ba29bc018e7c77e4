// Turns what a ledger tells into lines of the log. Must not know: how lines look, or where they go.

import type { LedgerNews } from '../../engine/books.ts'
import type { Log } from '../../telemetry/log.ts'

const NANO = 1e9

export function logLedger(log: Log): LedgerNews {
  return {
    ledgerUnavailable: (why) => log.event({ kind: 'ledger.unavailable', why }),
    ledgerReturned: (afterMs, pending) => log.event({ kind: 'ledger.returned', afterMs, pending }),
    ledgerRecovered: (requests, cost) =>
      log.event({ kind: 'ledger.recovered', requests, costUsd: cost / NANO }),
  }
}
