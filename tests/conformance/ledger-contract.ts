// The suite that every ledger passes. Owns: what a ledger means, case by case.
// Must not know: where the record is kept.
import { afterEach, beforeEach, describe } from 'vitest'
import { accountCases } from './ledger-account-cases.ts'
import { concurrencyCases } from './ledger-concurrency-cases.ts'
import { historyCase } from './ledger-history.ts'
import { holderLedgerCases } from './ledger-holder-cases.ts'
import { registryCases } from './ledger-registry-cases.ts'
import type { CreateHome, HomeOf, LedgerHome } from './ledger-under-test.ts'
import { usageCases } from './ledger-usage-cases.ts'

export function ledgerContract(name: string, create: CreateHome): void {
  describe(`the ledger on ${name}`, () => {
    let home: LedgerHome
    beforeEach(async () => {
      home = await create()
    })
    afterEach(() => home.dispose())
    const current: HomeOf = () => home
    accountCases(current)
    usageCases(current)
    holderLedgerCases(current)
    concurrencyCases(current)
    registryCases(current)
    historyCase(current)
  })
}
