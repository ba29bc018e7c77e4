import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BATCH_TYPICAL_MS, chooseLane, type LaneQuestion } from './choose-lane.ts'

const HOUR_MS = 3_600_000

/** 18,000 prompts at five a second: an hour one by one. */
const JOB: LaneQuestion = {
  deadlineAt: 8 * HOUR_MS,
  now: 0,
  batchTypicalMs: BATCH_TYPICAL_MS,
  directRate: 5,
  queueLength: 18_000,
  priceKnown: true,
}

describe('chooseLane', () => {
  it.each([
    ['overnight', {}, 'batch', 'cheaper'],
    ['without a deadline', { deadlineAt: null }, 'batch', 'cheaper'],
    ['just in time to fall back', { deadlineAt: 2 * HOUR_MS }, 'batch', 'cheaper'],
    ['an instant too late for that', { deadlineAt: 2 * HOUR_MS - 1 }, 'direct', 'too_late'],
    ['where a batch alone would fit', { deadlineAt: HOUR_MS }, 'direct', 'too_late'],
    ['where nothing fits', { deadlineAt: HOUR_MS / 2 }, 'direct', 'too_late'],
    ['after the deadline', { deadlineAt: -1 }, 'direct', 'too_late'],
    ['at a rate that takes too long', { directRate: 0.1 }, 'batch', 'only_way'],
    ['where nothing gets through', { directRate: 0 }, 'batch', 'only_way'],
    ['at unknown prices', { priceKnown: false }, 'direct', 'price_unknown'],
    [
      'at unknown prices and no rate',
      { priceKnown: false, directRate: 0 },
      'direct',
      'price_unknown',
    ],
    ['with batches that take half a day', { batchTypicalMs: 12 * HOUR_MS }, 'direct', 'too_late'],
    ['with nothing left', { queueLength: 0 }, 'direct', 'empty'],
  ] as const)('%s', (_case, change, lane, because) => {
    expect(chooseLane({ ...JOB, ...change })).toEqual({ lane, because })
  })

  it('asks the same whenever it is asked', () => {
    const amounts = fc.record({
      now: fc.nat(1e9),
      leftMs: fc.nat(1e9),
      batchTypicalMs: fc.nat(1e9),
      directRate: fc.double({ min: 0, max: 100, noNaN: true }),
      queueLength: fc.nat(1e6),
      priceKnown: fc.boolean(),
    })
    fc.assert(
      fc.property(amounts, ({ now, leftMs, ...rest }) => {
        const here = chooseLane({ ...rest, now, deadlineAt: now + leftMs })
        expect(chooseLane({ ...rest, now: 0, deadlineAt: leftMs })).toEqual(here)
      }),
    )
  })

  it('never gives a batch less time than it takes as a rule', () => {
    const amounts = fc.record({
      deadlineAt: fc.integer({ min: -1e9, max: 1e9 }),
      batchTypicalMs: fc.nat(1e9),
      directRate: fc.double({ min: 0, max: 100, noNaN: true }),
      queueLength: fc.nat(1e6),
      priceKnown: fc.boolean(),
    })
    fc.assert(
      fc.property(amounts, (question) => {
        const { lane } = chooseLane({ ...question, now: 0 })
        if (lane === 'batch')
          expect(question.deadlineAt).toBeGreaterThanOrEqual(question.batchTypicalMs)
      }),
    )
  })
})
