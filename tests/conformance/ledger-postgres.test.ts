import type { Ledger } from '../../src/ledger/ledger.ts'
import { openPostgresLedger } from '../../src/ledger/postgres/postgres-ledger.ts'
import { freshSchema } from '../servers/postgres.ts'
import { ledgerContract } from './ledger-contract.ts'

ledgerContract('Postgres', async () => {
  const url = await freshSchema()
  const ledgers: Ledger[] = []
  return {
    async open(holder, options) {
      const ledger = await openPostgresLedger({ ...options, url, holder })
      ledgers.push(ledger)
      return ledger
    },
    async dispose() {
      await Promise.all(ledgers.map((ledger) => ledger.close(0)))
    },
  }
})
