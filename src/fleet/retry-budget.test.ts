import fc from 'fast-check'
import { expect, it } from 'vitest'
import { pauseMs, RetryBudget } from './retry-budget.ts'

it('lets no more be tried again in any minute of its own than it has, and makes nobody wait in vain', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 80 })
  fc.assert(
    fc.property(gaps, fc.integer({ min: 1, max: 7 }), (waits, perMinute) => {
      const budget = new RetryBudget(perMinute)
      let now = 0
      let minuteAt = Number.NEGATIVE_INFINITY
      let used = 0
      for (const wait of waits) {
        now += wait
        const at = budget.take(now)
        expect(at).toBeGreaterThanOrEqual(now)
        if (at >= minuteAt + 60_000) {
          // It is the next minute only because this one is over, or has none left.
          expect(now >= minuteAt + 60_000 || used === perMinute).toBe(true)
          minuteAt = at
          used = 0
        }
        used++
        expect(used).toBeLessThanOrEqual(perMinute)
      }
    }),
  )
})

it('waits for what the provider asks for, or longer each time', () => {
  expect([0, 1, 2, 3, 4, 9].map((retries) => pauseMs(retries, null, 1))).toEqual([
    2000, 4000, 8000, 16_000, 30_000, 30_000,
  ])
  expect(pauseMs(0, null, 0)).toBe(1000)
  expect(pauseMs(0, 45_000, 0.5)).toBe(45_000)
})
