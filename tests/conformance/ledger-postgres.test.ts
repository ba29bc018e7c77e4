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
