import Database from 'better-sqlite3'
import { beforeEach, describe, expect, test } from 'vitest'
import type { LedgerCall, Reservation, UsageEvent } from '../ledger.ts'
import { Records } from './records.ts'
import { RegistryTables } from './registry-tables.ts'
import { migrate } from './schema.ts'

const NOON = Date.parse('2026-05-20T12:00:00Z')

let database: Database.Database
let records: Records

beforeEach(() => {
  database = new Database(':memory:')
  migrate(database, ':memory:')
  records = new Records(database, 'one')
})

const call = (id: string): LedgerCall => ({
  id,
  user: 'alice',
  team: null,
  key: null,
  tier: null,
  provider: 'anthropic',
  model: null,
})

const reserve = (id: string) => {
  const reservation: Reservation = { call: call(id), at: NOON, amount: 7, budgets: [] }
  return { kind: 'reserve', reservation } as const
}

const settle = (id: string) => {
  const event: UsageEvent = {
    call: call(id),
    attempt: 1,
    at: NOON + 500,
    cost: 5,
    outcome: 'answered',
    isExact: true,
    inputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 0,
  }
  return { kind: 'settle', event } as const
}

/** Every row that is ever put into the table is noted. */
function watchReservations(): () => unknown[] {
  database.exec(`
    CREATE TABLE written (id TEXT);
    CREATE TRIGGER watch AFTER INSERT ON reservations BEGIN INSERT INTO written VALUES (new.id); END`)
  return () => database.prepare('SELECT id FROM written ORDER BY rowid').pluck().all()
}

describe('a reservation that binds no budget', () => {
  test('is not written when it ends in the same commit', () => {
    const written = watchReservations()
    records.commit([
      reserve('a'),
      reserve('b'),
      settle('a'),
      reserve('c'),
      { kind: 'release', id: 'c' },
    ])
    expect(written()).toEqual(['b'])
    const { events } = records.log.page({ query: { from: 0, to: NOON + 1 }, after: null, limit: 9 })
    expect(events).toMatchObject([{ event: { call: { id: 'a' }, at: NOON, cost: 5 } }])
  })

  test('is written when it is begun once more after its end', () => {
    const written = watchReservations()
    records.commit([reserve('a'), { kind: 'release', id: 'a' }, reserve('a')])
    expect(written()).toContain('a')
    records.beat(NOON, 1000)
    expect(new Records(database, 'two').beat(NOON + 5000, 1000)).toMatchObject({
      requests: 1,
      cost: 7,
    })
  })
})

describe('usage events', () => {
  beforeEach(() => void records.commit([settle('a')]))

  test.each([
    'UPDATE events SET cost = 0',
    'DELETE FROM events',
    "INSERT INTO events SELECT * FROM events WHERE id = 'a'",
  ])('cannot be tampered with: %s', (statement) => {
    expect(() => database.exec(statement)).toThrow()
  })
})

test('a sum that could not be exact fails, and leaves what there was', () => {
  const budget = {
    subject: 'user:alice',
    amount: Number.MAX_SAFE_INTEGER,
    period: { unit: 'month', timeZone: 'UTC' },
    warnAt: [],
    isShadow: false,
  } as const
  records.commit([settle('a')])
  records.reset([budget], NOON)
  const huge = settle('b')
  const event = { ...huge.event, cost: Number.MAX_SAFE_INTEGER }
  expect(() => records.commit([settle('c'), { kind: 'settle', event }])).toThrow(/CHECK/)
  expect(records.balances([budget], NOON)).toMatchObject([{ spent: 5 }])
})

test('a ledger of before keys had scopes is brought up to date, with its keys', () => {
  database.exec('ALTER TABLE keys DROP COLUMN scopes')
  database.exec(`INSERT INTO keys VALUES ('aa', 'old', NULL, NULL, NULL, ${NOON}, NULL, NULL)`)
  database.pragma('user_version = 1')
  migrate(database, ':memory:')
  const registry = new RegistryTables(database)
  const key = { sha256: 'aa', id: 'old', user: null, team: null, tier: null, scopes: null }
  const old = { ...key, createdAt: NOON, expiresAt: null, revokedAt: null }
  const next = { ...old, sha256: 'bb', id: 'new', scopes: ['leases'] }
  registry.addKey(next)
  expect(registry.read().keys).toEqual([next, old])
})

test('a ledger that is up to date is not migrated again', () => {
  const before = database.pragma('schema_version')
  migrate(database, ':memory:')
  expect(database.pragma('schema_version')).toEqual(before)
})
