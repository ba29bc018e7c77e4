// Many at once, from several processes.
import { describe, expect, test } from 'vitest'
import {
  beginAt,
  budgetOf,
  eventOf,
  type HomeOf,
  NOON,
  reservationOf,
  USD,
} from './ledger-under-test.ts'

const ONE_DOLLAR = budgetOf('user:alice', USD, { warnAt: [50] })

export function concurrencyCases(home: HomeOf): void {
  const beginTwo = async () => [
    (await beginAt(home(), 'one', NOON)).ledger,
    (await beginAt(home(), 'two', NOON)).ledger,
  ]

  describe('two processes', () => {
    test('never set aside more than there is, together', async () => {
      const ledgers = await beginTwo()
      const amount = USD / 7
      const answers = await Promise.all(
        ledgers.flatMap((ledger, process) =>
          Array.from({ length: 60 }, (_, n) =>
            ledger.reserve(reservationOf(`${process}-${n}`, Math.ceil(amount), [ONE_DOLLAR])),
          ),
        ),
      )
      expect(answers.filter(({ kind }) => kind === 'reserved')).toHaveLength(6)
    })

    test('hear of a warning once', async () => {
      const ledgers = await beginTwo()
      const settled = await Promise.all(
        ledgers.flatMap((ledger, process) =>
          Array.from({ length: 20 }, async (_, n) => {
            const id = `${process}-${n}`
            await ledger.reserve(reservationOf(id, USD / 40, [ONE_DOLLAR]))
            return ledger.settle(eventOf(id, USD / 40))
          }),
        ),
      )
      expect(settled.flatMap(({ warnings }) => warnings)).toMatchObject([{ step: 50 }])
      const [last] = await Promise.all(ledgers.map((l) => l.balances([ONE_DOLLAR], NOON)))
      expect(last).toMatchObject([{ spent: USD, reserved: 0 }])
    })
  })
}
