import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BATCH_TYPICAL_MS, chooseRoute } from './choose-route.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

const times = fc.nat(48 * HOUR_MS)

describe('chooseRoute', () => {
  it.each([
    ['overnight', { leftMs: 8 * HOUR_MS, directMs: HOUR_MS }, 'batch'],
    ['with time enough for both', { leftMs: 90 * MINUTE_MS, directMs: 30 * MINUTE_MS }, 'batch'],
    [
      'an instant short of that',
      { leftMs: 90 * MINUTE_MS - 1, directMs: 30 * MINUTE_MS },
      'direct',
    ],
    ['where only a batch fits', { leftMs: 2 * HOUR_MS, directMs: 6 * HOUR_MS }, 'batch'],
    ['where one by one just fits', { leftMs: 6.5 * HOUR_MS, directMs: 6 * HOUR_MS }, 'batch'],
    ['where nothing gets through', { leftMs: HOUR_MS, directMs: Infinity }, 'batch'],
    ['where nothing fits', { leftMs: HOUR_MS - 1, directMs: 6 * HOUR_MS }, 'direct'],
    ['after the deadline', { leftMs: -1, directMs: 0 }, 'direct'],
  ] as const)('%s', (_case, question, route) => {
    expect(chooseRoute(question)).toBe(route)
  })

  it('never takes a batch back for more time', () => {
    fc.assert(
      fc.property(times, times, times, (leftMs, moreMs, directMs) => {
        fc.pre(chooseRoute({ leftMs, directMs }) === 'batch')
        expect(chooseRoute({ leftMs: leftMs + moreMs, directMs })).toBe('batch')
      }),
    )
  })

  it('gives a batch the time that it takes as a rule, and never more than twice that', () => {
    fc.assert(
      fc.property(times, times, (leftMs, directMs) => {
        const route = chooseRoute({ leftMs, directMs })
        if (leftMs < BATCH_TYPICAL_MS) expect(route).toBe('direct')
        if (leftMs >= 2 * BATCH_TYPICAL_MS) expect(route).toBe('batch')
      }),
    )
  })
})
