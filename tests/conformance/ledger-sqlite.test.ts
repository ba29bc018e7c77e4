import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { openSqliteLedger } from '../../src/ledger/sqlite/sqlite-ledger.ts'
import { ledgerContract } from './ledger-contract.ts'

ledgerContract('SQLite', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'headgate-ledger-'))
  const ledgers: Ledger[] = []
  return {
    async open(holder, options) {
      const file = path.join(folder, 'ledger.db')
      const ledger = await openSqliteLedger({ ...options, file, holder })
      ledgers.push(ledger)
      return ledger
    },
    async dispose() {
      await Promise.all(ledgers.map((ledger) => ledger.close(0)))
      rmSync(folder, { recursive: true })
    },
  }
})
