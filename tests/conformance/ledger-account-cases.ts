// Budgets: setting aside, charging, giving back, warning.
import { describe, expect, test } from 'vitest'
import type { Balance, Budget, Ledger } from '../../src/ledger/ledger.ts'
import {
  beginAt,
  budgetOf,
  callOf,
  eventOf,
  type HomeOf,
  LIFE_MS,
  NOON,
  reservationOf,
  USD,
} from './ledger-under-test.ts'

const ALICE = budgetOf('user:alice', 10 * USD)
const MAY = { startAt: Date.parse('2026-05-01'), endAt: Date.parse('2026-06-01') }

export function accountCases(home: HomeOf): void {
  const begin = async (): Promise<Ledger> => (await beginAt(home(), 'one', NOON)).ledger
  const balanceOf = async (ledger: Ledger, budget: Budget, at = NOON): Promise<Balance> => {
    const [balance] = await ledger.balances([budget], at)
    if (!balance) throw new Error('no balance')
    return balance
  }

  describe('a reservation', () => {
    test('is set aside, and leaves nothing when it is released', async () => {
      const ledger = await begin()
      const balance = { budget: ALICE, ...MAY, spent: 0, reserved: 3 * USD, credited: 0 }
      expect(await ledger.reserve(reservationOf('a', 3 * USD, [ALICE]))).toEqual({
        kind: 'reserved',
        balances: [balance],
        warnings: [],
      })
      await ledger.release('a')
      expect(await balanceOf(ledger, ALICE)).toEqual({ ...balance, reserved: 0 })
    })

    test('may take the last nano-dollar, and not one more', async () => {
      const ledger = await begin()
      await ledger.reserve(reservationOf('a', 10 * USD - 1, [ALICE]))
      const refused = await ledger.reserve(reservationOf('b', 2, [ALICE]))
      expect(refused).toMatchObject({ kind: 'over_budget', balance: { reserved: 10 * USD - 1 } })
      expect(await ledger.reserve(reservationOf('c', 1, [ALICE]))).toMatchObject({
        kind: 'reserved',
      })
    })

    test('is set aside for all budgets or for none', async () => {
      const ledger = await begin()
      const hour = budgetOf('user:alice', USD, { period: { unit: 'hour', timeZone: 'UTC' } })
      const answer = await ledger.reserve(reservationOf('a', 2 * USD, [ALICE, hour]))
      expect(answer).toMatchObject({ kind: 'over_budget', balance: { budget: hour } })
      expect(await balanceOf(ledger, ALICE)).toMatchObject({ reserved: 0 })
    })

    test('that is asked for again is answered as before, and set aside once', async () => {
      const ledger = await begin()
      const first = await ledger.reserve(reservationOf('a', 6 * USD, [ALICE]))
      expect(await ledger.reserve(reservationOf('a', 6 * USD, [ALICE]))).toEqual(first)
      await ledger.settle(eventOf('a', USD))
      expect(await ledger.reserve(reservationOf('a', 6 * USD, [ALICE]))).toMatchObject({
        kind: 'reserved',
        balances: [{ spent: USD, reserved: 0 }],
      })
    })

    test('in shadow mode is counted and never refused', async () => {
      const ledger = await begin()
      const shadow = budgetOf('user:alice', USD, { isShadow: true })
      const answer = await ledger.reserve(reservationOf('a', 4 * USD, [shadow, ALICE]))
      // Both count in the account of Alice's month: it is set aside there once.
      expect(answer).toMatchObject({
        kind: 'reserved',
        balances: [{ reserved: 4 * USD }, { reserved: 4 * USD }],
        warnings: [],
      })
      const settled = await ledger.settle(eventOf('a', 2 * USD))
      expect(settled.balances).toMatchObject([
        { spent: 2 * USD, reserved: 0 },
        { spent: 2 * USD, reserved: 0 },
      ])
    })

    test('that ends and is made once more in the same moment is set aside', async () => {
      const ledger = await begin()
      const again = () => ledger.reserve(reservationOf('a', USD, []))
      await Promise.all([again(), ledger.release('a'), again()])
      const { recovered } = await beginAt(home(), 'heir', NOON + LIFE_MS + 1)
      expect(recovered).toEqual([{ requests: 1, cost: USD }])
    })

    test('of another subject than its call is refused for good', async () => {
      const ledger = await begin()
      const bob = budgetOf('user:bob', USD)
      await expect(ledger.reserve(reservationOf('a', 1, [bob]))).rejects.toThrow(/user:bob/)
    })

    test('beyond what is spent, of almost nine million dollars, is exact', async () => {
      const ledger = await begin()
      const most = budgetOf('user:alice', Number.MAX_SAFE_INTEGER)
      await ledger.reserve(reservationOf('a', Number.MAX_SAFE_INTEGER - 2, [most]))
      const settled = await ledger.settle(eventOf('a', Number.MAX_SAFE_INTEGER - 2))
      expect(settled.balances).toMatchObject([{ spent: Number.MAX_SAFE_INTEGER - 2 }])
      expect(await ledger.reserve(reservationOf('b', 2, [most]))).toMatchObject({
        kind: 'reserved',
        balances: [{ reserved: 2 }],
      })
      expect(await ledger.reserve(reservationOf('c', 1, [most]))).toMatchObject({
        kind: 'over_budget',
      })
    })
  })

  describe('a settlement', () => {
    test('charges what was used and gives the rest back, once', async () => {
      const ledger = await begin()
      await ledger.reserve(reservationOf('a', 3 * USD, [ALICE]))
      const balance = { budget: ALICE, ...MAY, spent: 4 * USD, reserved: 0, credited: 0 }
      expect(await ledger.settle(eventOf('a', 4 * USD))).toEqual({
        isNew: true,
        balances: [balance],
        warnings: [],
      })
      expect(await ledger.settle(eventOf('a', 4 * USD))).toMatchObject({ isNew: false })
      expect(await balanceOf(ledger, ALICE)).toEqual(balance)
    })

    test('reaches the team whose budget it did not name', async () => {
      const ledger = await begin()
      const team = budgetOf('team:research', 10 * USD)
      const call = callOf('a', { team: 'research' })
      await ledger.reserve({ call, at: NOON, amount: USD, budgets: [team] })
      await ledger.settle({ ...eventOf('a', USD), call })
      const other = callOf('b', { user: 'bob', team: 'research' })
      await ledger.reserve({ call: other, at: NOON, amount: USD, budgets: [] })
      await ledger.settle({ ...eventOf('b', 2 * USD), call: other })
      expect(await balanceOf(ledger, team)).toMatchObject({ spent: 3 * USD })
    })

    test('belongs to the period in which its request was sent, however late it comes', async () => {
      const ledger = await begin()
      const sentAt = MAY.endAt - 1
      await ledger.reserve(reservationOf('a', USD, [ALICE], sentAt))
      await ledger.reserve(reservationOf('b', USD, [ALICE], MAY.endAt))
      await ledger.settle(eventOf('a', USD, { at: MAY.endAt + 5000 }))
      expect(await balanceOf(ledger, ALICE, sentAt)).toMatchObject({ spent: USD, reserved: 0 })
      expect(await balanceOf(ledger, ALICE, MAY.endAt)).toMatchObject({ spent: 0, reserved: USD })
    })

    test('without a price charges nothing', async () => {
      const ledger = await begin()
      await ledger.reserve(reservationOf('a', USD, [ALICE]))
      const settled = await ledger.settle(eventOf('a', null))
      expect(settled.balances).toMatchObject([{ spent: 0, reserved: 0 }])
    })

    test('of a fraction of a nano-dollar is refused, and those beside it are not', async () => {
      const failures: Error[] = []
      const { ledger } = await beginAt(home(), 'one', NOON, { failed: (e) => failures.push(e) })
      await Promise.all(['a', 'b'].map((id) => ledger.reserve(reservationOf(id, USD, [ALICE]))))
      const [bad, good] = [ledger.settle(eventOf('a', 0.5)), ledger.settle(eventOf('b', USD))]
      await expect(bad).rejects.toThrow()
      expect(await good).toMatchObject({ isNew: true })
      expect(failures).toHaveLength(1)
      expect(ledger.isAvailable).toBe(true)
    })
  })

  describe('a budget', () => {
    test('that comes in the midst of a month knows what was spent before', async () => {
      const ledger = await begin()
      await ledger.reserve(reservationOf('a', USD, []))
      await ledger.settle(eventOf('a', 2 * USD))
      await ledger.reserve(reservationOf('b', USD, [], MAY.startAt - 1))
      await ledger.settle(eventOf('b', 5 * USD))
      expect(await ledger.reserve(reservationOf('c', 9 * USD, [ALICE]))).toMatchObject({
        kind: 'over_budget',
        balance: { spent: 2 * USD },
      })
    })

    test('begins afresh when it is reset, warnings too', async () => {
      const ledger = await begin()
      const budget = { ...ALICE, warnAt: [50] }
      await ledger.reserve(reservationOf('a', 9 * USD, [budget]))
      expect((await ledger.settle(eventOf('a', 9 * USD))).warnings).toHaveLength(1)
      const [reset] = await ledger.reset([budget], NOON)
      expect(reset).toMatchObject({ spent: 9 * USD, credited: 9 * USD, reserved: 0 })
      await ledger.reserve(reservationOf('b', 10 * USD, [budget]))
      const settled = await ledger.settle(eventOf('b', 5 * USD))
      const [again] = settled.warnings
      expect(settled.warnings).toMatchObject([{ step: 50, spent: 5 * USD, credited: 9 * USD }])
      // What was told before the reset says nothing of this one.
      if (again) await ledger.told({ ...again, spent: 9 * USD, credited: 0 })
      expect(await ledger.untold()).toEqual([again])
    })

    test('warns once of each step in each period', async () => {
      const ledger = await begin()
      const budget = { ...ALICE, warnAt: [50, 80, 100] }
      const spend = async (id: string, cost: number, at = NOON) => {
        await ledger.reserve(reservationOf(id, cost, [budget], at))
        return (await ledger.settle(eventOf(id, cost))).warnings
      }
      expect(await spend('a', 5 * USD - 1)).toEqual([])
      const warning = {
        subject: 'user:alice' as const,
        period: budget.period,
        ...MAY,
        step: 50,
        amount: 10 * USD,
        spent: 5 * USD,
        credited: 0,
        isShadow: false,
      }
      expect(await spend('b', 1)).toEqual([warning])
      expect(await spend('c', 1)).toEqual([])
      expect(await spend('d', 5 * USD - 1)).toMatchObject([{ step: 80 }, { step: 100 }])
      expect(await spend('e', 5 * USD, MAY.endAt)).toMatchObject([{ step: 50 }])
      expect(await ledger.untold()).toHaveLength(4)
      await ledger.told(warning)
      expect(await ledger.untold()).toMatchObject([{ step: 80 }, { step: 100 }, { step: 50 }])
    })
  })

  describe('a warning', () => {
    const budget = { ...ALICE, warnAt: [50, 100] }

    test('of step 100 comes with the first refusal, once in a period', async () => {
      const ledger = await begin()
      await ledger.reserve(reservationOf('a', 9 * USD, [budget]))
      const refused = await ledger.reserve(reservationOf('b', 2 * USD, [budget]))
      const { kind, warnings } = refused
      expect(kind).toBe('over_budget')
      expect(warnings).toMatchObject([{ step: 100, amount: 10 * USD, spent: 0, ...MAY }])
      expect(await ledger.reserve(reservationOf('c', 2 * USD, [budget]))).toMatchObject({
        kind: 'over_budget',
        warnings: [],
      })
      expect(await ledger.untold()).toEqual(warnings)
      const june = await ledger.reserve(reservationOf('d', 11 * USD, [budget], MAY.endAt))
      expect(june.warnings).toMatchObject([{ step: 100, startAt: MAY.endAt }])
    })

    test('of step 100 comes for all budgets without room, and for those that ask for it', async () => {
      const ledger = await begin()
      const [day, hour] = (['day', 'hour'] as const).map((unit) =>
        budgetOf('user:alice', USD, { period: { unit, timeZone: 'UTC' }, warnAt: [100] }),
      )
      if (!day || !hour) throw new Error('there are two')
      const all = [budget, { ...day, warnAt: [50] }, hour, { ...day, isShadow: true }]
      const refused = await ledger.reserve(reservationOf('a', 2 * USD, all))
      expect(refused).toMatchObject({
        kind: 'over_budget',
        balance: { budget: { period: { unit: 'day' } } },
        warnings: [
          { period: { unit: 'hour' }, isShadow: false },
          { period: { unit: 'day' }, isShadow: true },
        ],
      })
    })

    test('of step 100 comes for a budget in shadow mode that would have refused', async () => {
      const ledger = await begin()
      const shadow = { ...budget, isShadow: true }
      expect(await ledger.reserve(reservationOf('a', 11 * USD, [shadow]))).toMatchObject({
        kind: 'reserved',
        warnings: [{ step: 100, isShadow: true }],
      })
    })

    test('that an attempt caused which was sent again is told of', async () => {
      const { ledger, warned } = await beginAt(home(), 'one', NOON)
      await ledger.reserve(reservationOf('a', 6 * USD, [budget]))
      await ledger.record(eventOf('a', 5 * USD, { outcome: 'broken' }))
      expect(warned).toMatchObject([{ step: 50, spent: 5 * USD }])
      expect((await ledger.settle(eventOf('a', USD, { attempt: 2 }))).warnings).toEqual([])
    })

    test('of a period that has ended is no longer untold', async () => {
      const ledger = await begin()
      await ledger.reserve(reservationOf('a', 6 * USD, [budget]))
      const { warnings } = await ledger.settle(eventOf('a', 6 * USD))
      const { ledger: late } = await beginAt(home(), 'late', MAY.endAt - 1)
      expect(await late.untold()).toEqual(warnings)
      const { ledger: later } = await beginAt(home(), 'later', MAY.endAt)
      expect(await later.untold()).toEqual([])
    })
  })
}
