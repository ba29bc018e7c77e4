// Answers what the main thread asks, on the ledger's own thread. Must not know: messages.
import { existsSync, statSync } from 'node:fs'
import { LedgerUnavailable } from '../ledger.ts'
import type { FileSettings, Handlers } from './exchange.ts'
import { openFile } from './open-file.ts'
import { Records } from './records.ts'
import { totalOf } from './usage-total.ts'

/** @throws LedgerSetupError, LedgerUnavailable as `openFile` does. */
export function openHandlers({ file, holder, busyTimeoutMs }: FileSettings): Handlers {
  const database = openFile(file, busyTimeoutMs)
  const opened = identityOf(file)
  const records = new Records(database, holder)
  const close = (): null => {
    try {
      records.leave()
    } finally {
      database.close()
    }
    return null
  }
  return { ...recordHandlers(records, () => refuseAnother(file, opened)), close }
}

const identityOf = (file: string): string => {
  const { dev, ino } = statSync(file)
  return `${dev} ${ino}`
}

/** What is written to a file that was deleted is gone with the process. */
function refuseAnother(file: string, opened: string): void {
  const present = existsSync(file) ? identityOf(file) : null
  if (present !== opened)
    throw new LedgerUnavailable(
      `ledger ${file}: the file was deleted or replaced while it was in use; put it back and start again`,
    )
}

/**
 * SQLite keeps no line for its lock: whoever waits looks again now and then, and one who writes without
 * a pause would keep it. So where others share the file each leaves it alone for a moment.
 */
const LEFT_ALONE_MS = 2
const never = new Int32Array(new SharedArrayBuffer(4))

const letOthersIn = (): void => void Atomics.wait(never, 0, 0, LEFT_ALONE_MS)

function recordHandlers(records: Records, refuseAnother: () => void): Omit<Handlers, 'close'> {
  const { log, registry, warnings } = records
  return {
    commit: (operations) => {
      refuseAnother()
      if (records.hasCompany()) letOthersIn()
      return records.commit(operations)
    },
    beat: ({ now, lifeMs }) => records.beat(now, lifeMs),
    balances: ({ budgets, at }) => records.balances(budgets, at),
    reset: ({ budgets, at }) => records.reset(budgets, at),
    total: (slice) => {
      const { events, next } = log.page(slice)
      return { total: totalOf(events), next }
    },
    events: (slice) => {
      const { events, next } = log.page(slice)
      return { events: events.map(({ event }) => event), next }
    },
    untold: (now) => warnings.untold(now),
    told: (warning) => {
      records.write(() => warnings.told(warning))
      return null
    },
    registry: () => records.read(() => registry.read()),
    revision: () => registry.revision(),
    addKey: (record) => records.write(() => registry.addKey(record)),
    revokeKey: ({ id, at }) => records.write(() => registry.revokeKey(id, at)),
    rotateKey: ({ id, next }) => records.write(() => registry.rotateKey(id, next)),
    setOverride: (override) => {
      records.write(() => registry.setOverride(override))
      return null
    },
    removeOverride: (subject) => records.write(() => registry.removeOverride(subject)),
  }
}
