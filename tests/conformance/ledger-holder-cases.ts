// Processes that die, or are taken for dead and come back.
import { describe, expect, test } from 'vitest'
import {
  beginAt,
  budgetOf,
  eventOf,
  type HomeOf,
  LIFE_MS,
  listOf,
  NOON,
  reservationOf,
  USD,
} from './ledger-under-test.ts'

const ALICE = budgetOf('user:alice', 10 * USD, { warnAt: [30] })
const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }
const LATER = NOON + LIFE_MS + 1

export function holderLedgerCases(home: HomeOf): void {
  describe('a process that gives no sign of life', () => {
    test('is charged what it had set aside, as lost', async () => {
      const { ledger: dead } = await beginAt(home(), 'dead', NOON)
      await dead.reserve(reservationOf('a', 3 * USD, [ALICE]))
      await dead.reserve(reservationOf('b', 4, []))
      const { ledger, recovered, warned } = await beginAt(home(), 'survivor', LATER)
      expect(recovered).toEqual([{ requests: 2, cost: 3 * USD + 4 }])
      expect(await ledger.balances([ALICE], NOON)).toMatchObject([
        { spent: 3 * USD + 4, reserved: 0 },
      ])
      const lost = { outcome: 'lost', isExact: false, inputTokens: 0, outputTokens: 0, at: NOON }
      const events = await listOf(ledger.events(ALWAYS))
      expect(events.toSorted((x, y) => (x.call.id < y.call.id ? -1 : 1))).toMatchObject([
        { ...lost, call: { id: 'a', user: 'alice', key: 'ci' }, cost: 3 * USD },
        { ...lost, call: { id: 'b' }, cost: 4 },
      ])
      expect(await ledger.total(ALWAYS)).toMatchObject({ requests: 2, cost: 3 * USD + 4 })
      expect(warned).toMatchObject([{ subject: 'user:alice', step: 30, spent: 3 * USD + 4 }])
      expect(await ledger.untold()).toEqual(warned)
    })

    test('is not charged before its life is over', async () => {
      const { ledger: quiet } = await beginAt(home(), 'quiet', NOON)
      await quiet.reserve(reservationOf('a', USD, [ALICE]))
      const { recovered } = await beginAt(home(), 'other', NOON + LIFE_MS - 1)
      expect(recovered).toEqual([])
    })

    test('and settles after all is charged what was really used', async () => {
      const { ledger: slow } = await beginAt(home(), 'slow', NOON)
      await slow.reserve(reservationOf('a', 3 * USD, [ALICE]))
      await beginAt(home(), 'survivor', LATER)
      expect(await slow.settle(eventOf('a', USD, { at: LATER }))).toMatchObject({ isNew: true })
      expect(await slow.settle(eventOf('a', USD, { at: LATER }))).toMatchObject({ isNew: false })
      expect(await slow.balances([ALICE], NOON)).toMatchObject([{ spent: USD, reserved: 0 }])
      const events = await listOf(slow.events(ALWAYS))
      expect(events).toMatchObject([
        { outcome: 'lost', cost: 3 * USD },
        { outcome: 'corrected', cost: -2 * USD, at: NOON, outputTokens: 40 },
      ])
      expect(await slow.total(ALWAYS)).toMatchObject({ requests: 1, cost: USD })
    })

    test('and settles for more than it was charged hears of the steps that this passes', async () => {
      const { ledger: slow } = await beginAt(home(), 'slow', NOON)
      await slow.reserve(reservationOf('a', USD, [ALICE]))
      const { warned } = await beginAt(home(), 'survivor', LATER)
      expect(warned).toEqual([])
      const { warnings } = await slow.settle(eventOf('a', 4 * USD, { at: LATER }))
      expect(warnings).toMatchObject([{ step: 30, spent: 4 * USD }])
    })

    test('and releases after all is charged nothing', async () => {
      const { ledger: slow } = await beginAt(home(), 'slow', NOON)
      await slow.reserve(reservationOf('a', 3 * USD, [ALICE]))
      await beginAt(home(), 'survivor', LATER)
      await slow.release('a')
      await slow.release('a')
      expect(await slow.balances([ALICE], NOON)).toMatchObject([{ spent: 0, reserved: 0 }])
    })

    test('may go on when it comes back', async () => {
      const { ledger: slow } = await beginAt(home(), 'slow', NOON)
      await beginAt(home(), 'survivor', LATER)
      await slow.reserve(reservationOf('a', USD, [ALICE], LATER))
      const { recovered } = await beginAt(home(), 'third', LATER + 1)
      expect(recovered).toEqual([])
    })
  })

  test('a process that ends in good order leaves what it set aside to be charged', async () => {
    const { ledger: ending } = await beginAt(home(), 'ending', NOON)
    await ending.reserve(reservationOf('a', USD, [ALICE]))
    const settled = ending.reserve(reservationOf('b', USD, [ALICE])).then(() => {
      void ending.settle(eventOf('b', 5))
      return ending.close(1000)
    })
    await settled
    const { ledger, recovered } = await beginAt(home(), 'next', NOON + 1)
    expect(recovered).toEqual([{ requests: 1, cost: USD }])
    expect(await ledger.balances([ALICE], NOON)).toMatchObject([{ spent: USD + 5, reserved: 0 }])
    await expect(ending.reserve(reservationOf('c', 1, []))).rejects.toThrow(/closed/)
  })
}
