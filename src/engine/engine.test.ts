import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, it, vi } from 'vitest'
import { realClock } from '../core/clock.ts'
import { settingsFrom } from '../policy/resolve.ts'
import { type EngineEvents, openEngine } from './engine.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'headgate-engine-'))
afterAll(() => rmSync(folder, { recursive: true }))

const fail = (what: unknown): never => {
  throw what
}

/** Nothing is expected to happen but failures, and those fail the test. */
const EVENTS: EngineEvents = {
  settled: () => {},
  refused: () => {},
  cancelled: () => {},
  bounced: () => {},
  shadowed: () => {},
  budgetWarned: () => {},
  failed: fail,
  storeDegraded: fail,
  storeReturned: () => {},
  storeWarned: fail,
  ledgerUnavailable: fail,
  ledgerReturned: () => {},
  ledgerRecovered: () => {},
}

it('closes every part, whichever fails, and throws the first failure', async () => {
  const { ledger, store, close } = await openEngine({
    settings: settingsFrom({ ledger: `sqlite:${path.join(folder, 'ledger.db')}` }, {}),
    clock: realClock(),
    random: Math.random,
    events: EVENTS,
    keepsBooks: true,
  })
  const broken = new Error('the store is stuck')
  vi.spyOn(store, 'close').mockRejectedValue(broken)
  expect(await ledger?.registry()).toMatchObject({ keys: [] })
  await expect(close()).rejects.toBe(broken)
  await expect(ledger?.registry()).rejects.toThrow()
})
