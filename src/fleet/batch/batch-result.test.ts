import { expect, it } from 'vitest'
import { Prices } from '../../ledger/prices.ts'
import { readResultLine, resultOf } from './batch-result.ts'
import type { Place } from './draft.ts'

/** A nano-dollar for a token that is read, five for one that is written, and half of both in a batch. */
const PRICES = new Prices([{ match: 'm', input: 1000, output: 5000 }])

function costOf(usage: object | null, more: Partial<Place> = {}, model = 'm'): number | null {
  const message = { model, usage }
  const line = readResultLine(
    JSON.stringify({ custom_id: 'x', result: { type: 'succeeded', message } }),
  )
  if (!line) throw new Error('it is no result')
  const place = { id: 'a', index: 0, worstNanoUsd: 99_000, ...more }
  const sent = { batchId: 'b', sentAt: 0, attempts: 1 }
  const { result, charge } = resultOf(line, place, sent, { prices: PRICES, now: 0 })
  expect(charge?.costNanoUsd).toBe(result.costNanoUsd)
  return result.costNanoUsd
}

const used = { input_tokens: 1000, output_tokens: 200 }

it('costs what the answer says, or else what was asked for', () => {
  expect(costOf(used)).toBe(1000)
  expect(costOf(used, { pricePercent: 220 })).toBe(2200)
  expect(costOf({ ...used, inference_geo: 'us' })).toBe(1100)
  expect(costOf({ ...used, inference_geo: 'global' }, { pricePercent: 110 })).toBe(1000)
})

it('costs the most where nobody knows', () => {
  expect(costOf(null, { pricePercent: 110 })).toBe(99_000)
  expect(costOf(used, {}, 'a model without a price')).toBe(99_000)
})
