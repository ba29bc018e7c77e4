import { expect, test } from 'vitest'
import type { GatheredOptions } from '../../src/ledger/gathered-ledger.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { parseAddress } from '../../src/ledger/postgres/address.ts'
import { openPostgresLedger } from '../../src/ledger/postgres/postgres-ledger.ts'
import { migrate } from '../../src/ledger/postgres/schema.ts'
import { freshSchema, run } from '../servers/postgres.ts'
import { ledgerContract } from './ledger-contract.ts'
import {
  beginAt,
  budgetOf,
  eventOf,
  type LedgerHome,
  NOON,
  reservationOf,
  USD,
} from './ledger-under-test.ts'

/** Processes upon a schema of their own. */
function homeAt(url: string, setTime: (now: number) => Promise<unknown>): LedgerHome {
  const ledgers: Ledger[] = []
  return {
    async open(holder: string, options: GatheredOptions) {
      await setTime(options.clock.now())
      const ledger = await openPostgresLedger({ ...options, url, holder })
      ledgers.push(ledger)
      return ledger
    },
    async dispose() {
      await Promise.all(ledgers.map((ledger) => ledger.close(0)))
    },
  }
}

ledgerContract('Postgres', async () => {
  const url = await freshSchema()
  const address = parseAddress(url)
  await migrate(address)
  // The server's clock stands still too, at what the process that began last says.
  const setTime = (now: number) =>
    run(
      url,
      `create or replace function ${address.schema}.now_ms() returns float8
      language sql volatile as 'select ${now}::float8'`,
    )
  return homeAt(url, setTime)
})

test('a record of before keys had scopes is brought up to date, with its keys', async () => {
  const url = await freshSchema()
  const { schema } = parseAddress(url)
  const home = homeAt(url, async () => {})
  const { ledger } = await beginAt(home, 'one', NOON)
  const key = { sha256: 'a', id: 'old', user: null, team: null, tier: null, scopes: null }
  const lasts = { createdAt: NOON, expiresAt: null, revokedAt: null }
  await ledger.addKey({ ...key, ...lasts })
  await run(url, `alter table ${schema}.keys drop column scopes`)
  await run(
    url,
    `drop function ${schema}.add_key(text,text,text,text,text,text[],bigint,bigint,bigint)`,
  )
  await run(url, `update ${schema}.version set version = 1`)

  const { ledger: upgraded } = await beginAt(home, 'two', NOON)
  const next = { ...key, id: 'new', sha256: 'b', scopes: ['leases'] }
  await upgraded.addKey({ ...next, ...lasts })
  // A gateway of the former version is still running.
  const former = `select ${schema}.add_key('c', 'other', null, null, null, ${NOON}, null, null)`
  await run(url, former)
  expect((await upgraded.registry()).keys).toEqual([
    { ...next, ...lasts },
    { ...key, ...lasts },
    { ...key, id: 'other', sha256: 'c', ...lasts },
  ])
  await home.dispose()
})

type Begun = Awaited<ReturnType<typeof beginAt>>

test('gateways whose clocks disagree do not take each other for dead', async () => {
  const home = homeAt(await freshSchema(), async () => {})
  const alice = budgetOf('user:alice', 10 * USD)
  const DAY_MS = 86_400_000
  const all: Begun[] = []
  for (const at of [NOON, NOON + DAY_MS, NOON - DAY_MS]) {
    const begun = await beginAt(home, `at-${at}`, at)
    await begun.ledger.reserve(reservationOf(`${all.length}`, USD, [alice]))
    all.push(begun)
  }
  for (const [index, { ledger, recovered }] of all.entries()) {
    expect(recovered).toEqual([])
    const settled = await ledger.settle(eventOf(`${index}`, 5))
    expect(settled).toMatchObject({ balances: [{ budget: alice }] })
  }
  await home.dispose()
})
