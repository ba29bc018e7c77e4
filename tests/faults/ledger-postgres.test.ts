// A ledger whose Postgres is away, frozen, locked, or not what its URL says.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { realClock } from '../../src/core/clock.ts'
import {
  type Ledger,
  LedgerSetupError,
  LedgerUnavailable,
  type Reservation,
  type UsageEvent,
} from '../../src/ledger/ledger.ts'
import { openPostgresLedger } from '../../src/ledger/postgres/postgres-ledger.ts'
import { budgetOf, callOf, eventOf, listOf } from '../conformance/ledger-under-test.ts'
import { type PostgresServer, run, startPostgres } from '../servers/postgres.ts'
import { GUARDED_ROLE } from '../servers/postgres-process.ts'
import { until } from '../servers/until.ts'

const PATIENCE_MS = 300
const ALICE = budgetOf('user:alice', 1000)
const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }

let server: PostgresServer
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server.stop())

const ledgers: Ledger[] = []
afterEach(async () => {
  await Promise.all(ledgers.splice(0).map((ledger) => ledger.close(1000)))
})

async function open(url: string): Promise<{ ledger: Ledger; told: string[] }> {
  const told: string[] = []
  const ledger = await openPostgresLedger({
    url,
    holder: `holder-${ledgers.length}`,
    clock: realClock(),
    patienceMs: PATIENCE_MS,
    events: {
      unavailable: () => told.push('unavailable'),
      returned: () => told.push('returned'),
      recovered: () => told.push('recovered'),
      warned: () => told.push('warned'),
      failed: (error) => told.push(error.message),
    },
  })
  ledgers.push(ledger)
  return { ledger, told }
}

const reservationOf = (id: string, amount: number): Reservation => ({
  call: callOf(id),
  at: Date.now(),
  amount,
  budgets: [ALICE],
})

const spendingOf = (id: string, cost: number): UsageEvent => eventOf(id, cost, { at: Date.now() })

describe('a ledger', () => {
  let url: string
  beforeEach(async () => {
    url = await server.freshDatabase()
  })
  afterEach(() => server.resume())

  const balance = (ledger: Ledger) => ledger.balances([ALICE], Date.now())

  it('refuses what is new while Postgres is away, and writes what has ended when it is back', async () => {
    const { ledger, told } = await open(url)
    await ledger.reserve(reservationOf('a', 100))
    await server.kill()
    const settled = ledger.settle(spendingOf('a', 70))
    await expect(ledger.reserve(reservationOf('b', 100))).rejects.toThrow(LedgerUnavailable)
    expect(ledger.isAvailable).toBe(false)
    expect(ledger.pending).toBe(1)
    await server.restart()
    expect(await settled).toMatchObject({ isNew: true })
    expect(await balance(ledger)).toMatchObject([{ spent: 70, reserved: 0 }])
    expect(told).toEqual(['unavailable', 'returned'])
  })

  it('waits for a frozen Postgres no longer than it says, and leaves nothing set aside by what it gave up', async () => {
    const { ledger, told } = await open(url)
    await ledger.reserve(reservationOf('a', 100))
    await server.pause()
    const reserved = ledger.reserve(reservationOf('b', 200))
    await expect(reserved).rejects.toThrow(`not written within ${PATIENCE_MS} ms`)
    const settled = ledger.settle(spendingOf('a', 70))
    const pausedAt = performance.now()
    await until('it is told', async () => told.includes('unavailable'))
    expect(performance.now() - pausedAt).toBeLessThan(3000)
    // The commit that was given up on is still on its way: it must not come after the release.
    await server.resume()
    expect(await settled).toMatchObject({ isNew: true })
    await until('nothing is pending', async () => ledger.pending === 0)
    expect(await balance(ledger)).toMatchObject([{ spent: 70, reserved: 0 }])
  })

  it('counts each request once, however often its Postgres dies in the midst of them', async () => {
    const { ledger } = await open(url)
    const costs = Array.from({ length: 300 }, (_, index) => index + 1)
    const spend = async (cost: number): Promise<void> => {
      await ledger.record({ ...spendingOf(`request-${cost}`, 0), outcome: 'overloaded' })
      await ledger.settle({ ...spendingOf(`request-${cost}`, cost), attempt: 2 })
    }
    const all: Promise<void>[] = []
    for (let round = 0; round < 3; round++) {
      all.push(...costs.slice(round * 100, round * 100 + 50).map(spend))
      await all[round * 100]
      all.push(...costs.slice(round * 100 + 50, round * 100 + 100).map(spend))
      await server.restart()
    }
    await Promise.all(all)
    const found = await listOf(ledger.events(ALWAYS))
    expect(found).toHaveLength(2 * costs.length)
    const sum = costs.reduce((a, b) => a + b, 0)
    expect(await ledger.total(ALWAYS)).toMatchObject({ requests: costs.length, cost: sum })
    expect(await balance(ledger)).toMatchObject([{ spent: sum }])
  })

  it('outlives another program that keeps its tables locked', async () => {
    const { ledger, told } = await open(url)
    const locked = run(url, 'begin; lock headgate.holders; select pg_sleep(2); commit')
    await until('it is locked', async () => {
      const rows = await run(
        url,
        `select from pg_locks where mode = 'AccessExclusiveLock'
        and granted and relation = 'headgate.holders'::regclass`,
      )
      return rows.length > 0
    })
    await expect(ledger.reserve(reservationOf('a', 100))).rejects.toThrow(LedgerUnavailable)
    const settled = ledger.settle(spendingOf('b', 5))
    await locked
    expect(await settled).toMatchObject({ isNew: true })
    await until('nothing is pending', async () => ledger.pending === 0)
    expect(await balance(ledger)).toMatchObject([{ spent: 5, reserved: 0 }])
    expect(told).toEqual(['unavailable', 'returned'])
  })

  it('charges a model whose name Postgres cannot hold', async () => {
    const { ledger } = await open(url)
    const call = callOf('a', { model: 'claude\0\ud83d' })
    await ledger.reserve({ ...reservationOf('a', 100), call })
    expect(await ledger.settle({ ...spendingOf('a', 7), call })).toMatchObject({ isNew: true })
    const [event] = await listOf(ledger.events(ALWAYS))
    expect(event).toMatchObject({ cost: 7, call: { model: 'claude\uFFFD\uFFFD' } })
  })

  it('keeps one whose sum would not be exact from the rest', async () => {
    const { ledger, told } = await open(url)
    await ledger.settle(spendingOf('a', Number.MAX_SAFE_INTEGER))
    const beyond = { ...ALICE, amount: Number.MAX_SAFE_INTEGER }
    expect(await ledger.balances([beyond], Date.now())).toMatchObject([
      { spent: Number.MAX_SAFE_INTEGER },
    ])
    await ledger.settle(spendingOf('b', 1))
    await expect(ledger.total(ALWAYS)).rejects.toThrow()
    await expect(ledger.reserve(reservationOf('c', 1))).rejects.toThrow()
    expect(ledger.isAvailable).toBe(true)
    expect(told).toHaveLength(1)
  })

  it('is opened by many processes at once', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => open(url)))
    await Promise.all(all.map(({ ledger }, i) => ledger.settle(spendingOf(`by-${i}`, 1))))
    expect(await run(url, 'select version from headgate.version')).toEqual([{ version: 2 }])
    expect(await all[0]?.ledger.total(ALWAYS)).toMatchObject({ cost: 4 })
  })

  it('never changes or forgets an event, whoever asks', async () => {
    const { ledger } = await open(url)
    await ledger.settle(spendingOf('a', 7))
    for (const wish of [
      'update headgate.events set cost = 1',
      'delete from headgate.events',
      'truncate headgate.events',
    ])
      await expect(run(url, wish)).rejects.toThrow('appended, never changed')
  })
})

describe('a ledger’s URL', () => {
  const PASSWORD = 'open-sesame'
  let database: string
  beforeAll(async () => {
    database = await server.freshDatabase()
    await run(database, `create role ${GUARDED_ROLE} login password '${PASSWORD}'`)
  })

  const as = (user: string, name = new URL(database).pathname): string =>
    Object.assign(new URL(database), { username: user, password: 'wrong-word', pathname: name })
      .href

  const failureOf = async (url: string): Promise<Error> => {
    const failure: unknown = await open(url).catch((error: unknown) => error)
    if (failure instanceof Error) return failure
    throw new Error('it has been opened')
  }

  it.each([
    [
      'a wrong password',
      () => as(GUARDED_ROLE),
      /password authentication failed.*check the user and the password/,
    ],
    ['an unknown user', () => as('nobody'), /role "nobody" does not exist.*check the user/],
    [
      'an unknown database',
      () => as('headgate', '/missing'),
      /"missing" does not exist.*create it/,
    ],
    [
      'no rights',
      () => as(GUARDED_ROLE).replace('wrong-word', PASSWORD),
      /permission denied.*grant the user/,
    ],
    ['another scheme', () => 'mysql://u:wrong-word@host/db', /not of the form postgres/],
    [
      'a password with a slash',
      () => 'postgres://u:1/wrong-word@host/db',
      /write special letters.*as %XX/,
    ],
    ['a schema that needs quotes', () => `${database}?schema=My`, /a schema is named with/],
    [
      'a certificate that is not there',
      () => `${database}?sslmode=require&sslrootcert=/missing`,
      /\/missing/,
    ],
  ])('with %s is told in one line without the password', async (_, url, line) => {
    const failure = await failureOf(url())
    expect(failure).toBeInstanceOf(LedgerSetupError)
    expect(failure.message).toMatch(line)
    expect(failure.message).not.toMatch(/\n|wrong-word|open-sesame/)
  })

  it('without the password that is asked for says so', async () => {
    const failure = await failureOf(as(GUARDED_ROLE).replace(':wrong-word', ''))
    expect(failure).toBeInstanceOf(LedgerSetupError)
    expect(failure.message).toContain('write the password into its URL')
  })

  it('of no server says that it is out of reach', async () => {
    const failure = await failureOf('postgres://u:wrong-word@127.0.0.1:1/db')
    expect(failure).toBeInstanceOf(LedgerUnavailable)
    expect(failure.message).toMatch(
      /^ledger postgres:\/\/u@127\.0\.0\.1:1\/db: out of reach: .*ECONNREFUSED/,
    )
  })

  it('of a record that a newer Headgate wrote is refused', async () => {
    const url = await server.freshDatabase()
    await open(url)
    await run(url, 'update headgate.version set version = 999')
    const failure = await failureOf(url)
    expect(failure).toBeInstanceOf(LedgerSetupError)
    expect(failure.message).toContain('a newer Headgate wrote it')
  })
})
