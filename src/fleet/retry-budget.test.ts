import fc from 'fast-check'
import { expect, it } from 'vitest'
import { pauseMs, RetryBudget } from './retry-budget.ts'

const HOUR_MS = 3_600_000

it('lets no more be tried again in any minute of the clock than it has, in whatever order they come, and makes nobody wait in vain', () => {
  const instants = fc.array(fc.integer({ min: 0, max: 600_000 }), { maxLength: 80 })
  fc.assert(
    fc.property(instants, fc.integer({ min: 1, max: 7 }), (wishes, perMinute) => {
      const budget = new RetryBudget(perMinute)
      const used = new Map<number, number>()
      const usedOf = (at: number): number => used.get(Math.floor(at / 60_000)) ?? 0
      for (const wishedAt of wishes) {
        const at = budget.take(wishedAt)
        expect(at).toBeGreaterThanOrEqual(wishedAt)
        // Every minute that it has to wait for is used up.
        for (let before = wishedAt; Math.floor(before / 60_000) < Math.floor(at / 60_000); ) {
          expect(usedOf(before)).toBe(perMinute)
          before += 60_000
        }
        used.set(Math.floor(at / 60_000), usedOf(at) + 1)
        expect(usedOf(at)).toBeLessThanOrEqual(perMinute)
      }
    }),
  )
})

it('lets nobody wait for one that the provider has asked to come back much later', () => {
  const budget = new RetryBudget(20)
  expect(budget.take(HOUR_MS)).toBe(HOUR_MS)
  expect(budget.take(2000)).toBe(2000)
})

it('waits for what the provider asks for, or longer each time', () => {
  expect([0, 1, 2, 3, 4, 9].map((retries) => pauseMs(retries, null, 1))).toEqual([
    2000, 4000, 8000, 16_000, 30_000, 30_000,
  ])
  expect(pauseMs(0, null, 0)).toBe(1000)
  expect(pauseMs(0, 45_000, 0.5)).toBe(45_000)
})
