// Turns what a shared store tells into lines of the log. Must not know: how lines look, or where they go.

import type { StoreEvents } from '../../backends/open-store.ts'
import type { Log } from '../../telemetry/log.ts'

export function logStore(log: Log): Omit<StoreEvents, 'failed'> {
  return {
    storeDegraded: (outage) => log.event({ kind: 'store.degraded', ...outage }),
    storeReturned: (back) => log.event({ kind: 'store.returned', ...back }),
    storeWarned: (sentence) => log.warn(sentence),
  }
}
