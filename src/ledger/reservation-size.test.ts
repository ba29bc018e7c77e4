import fc from 'fast-check'
import { expect, test } from 'vitest'
import { reservationSize } from './reservation-size.ts'

const money = fc.integer({ min: 0, max: 10 ** 12 })

const needs = fc
  .record({ a: money, b: money, smallestBudget: money })
  .map(({ a, b, smallestBudget }) => ({
    expected: Math.min(a, b),
    worst: Math.max(a, b),
    smallestBudget,
  }))

test('a request whose worst case is at most a tenth of the budget sets all of it aside', () => {
  expect(reservationSize({ expected: 1, worst: 10, smallestBudget: 100 })).toBe(10)
})

test('a request that may cost more than a tenth sets a tenth aside', () => {
  expect(reservationSize({ expected: 1, worst: 11, smallestBudget: 100 })).toBe(10)
})

test('a request that will probably cost more than a tenth sets that aside', () => {
  expect(reservationSize({ expected: 42, worst: 90, smallestBudget: 100 })).toBe(42)
})

test('without a budget the expected cost is set aside', () => {
  expect(reservationSize({ expected: 42, worst: 90, smallestBudget: null })).toBe(42)
})

test('a reservation is between the expected and the worst cost', () => {
  fc.assert(
    fc.property(needs, (need) => {
      const size = reservationSize(need)
      expect(size).toBeGreaterThanOrEqual(need.expected)
      expect(size).toBeLessThanOrEqual(need.worst)
      expect(Number.isInteger(size)).toBe(true)
    }),
  )
})

test('no reservation holds back more than a tenth of a budget beyond what is expected', () => {
  fc.assert(
    fc.property(needs, (need) => {
      const heldBack = reservationSize(need) - need.expected
      expect(heldBack * 10).toBeLessThanOrEqual(need.smallestBudget)
    }),
  )
})
