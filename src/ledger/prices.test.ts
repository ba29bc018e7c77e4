import { calcPrice } from '@pydantic/genai-prices'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TokenCounts } from './ledger.ts'
import { costOf, type ModelPrice, Prices } from './prices.ts'

const AT = Date.UTC(2026, 10, 20)
const MILLION = 1_000_000
const DOLLAR = 1e9

function tokens(counts: Partial<TokenCounts>): TokenCounts {
  return {
    inputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 0,
    ...counts,
  }
}

function known(
  model: string,
  { provider = 'anthropic', at = AT, prices = new Prices([]) } = {},
): ModelPrice {
  const price = prices.priceOf(provider, model, at)
  if (!price) throw new Error(`no price for ${model}`)
  return price
}

describe('prices of the package', () => {
  test('each kind of token has its own price', () => {
    const price = known('claude-opus-4-8')
    const cost = (counts: Partial<TokenCounts>) => costOf(price, tokens(counts)) / DOLLAR
    expect(cost({ inputTokens: MILLION })).toBe(5)
    expect(cost({ cacheReadTokens: MILLION })).toBe(0.5)
    expect(cost({ cacheWriteTokens: MILLION })).toBe(6.25)
    expect(cost({ cacheWriteTokens: MILLION, cacheWriteHourTokens: MILLION })).toBe(10)
    expect(cost({ outputTokens: MILLION })).toBe(25)
  })

  test('aliases and dated names are understood', () => {
    expect(known('claude-haiku-4-5-20251001')).toEqual(known('claude-haiku-4-5'))
    expect(known('gpt-4o-mini', { provider: 'openai' }).base.input).toBe(150_000)
  })

  test('an unknown model, an unknown provider and a model not sold by the token have no price', () => {
    const prices = new Prices([])
    expect(prices.priceOf('anthropic', 'claude-of-next-year', AT)).toBeNull()
    expect(prices.priceOf('nobody', 'claude-opus-4-8', AT)).toBeNull()
    expect(prices.priceOf('openai', 'whisper-1', AT)).toBeNull()
  })

  test('a long request costs its tier, whatever its input was', () => {
    const price = known('claude-sonnet-4-5')
    const short = tokens({ inputTokens: 100_000, cacheReadTokens: 100_000, outputTokens: 1000 })
    const long = tokens({ inputTokens: 100_000, cacheReadTokens: 100_001, outputTokens: 1000 })
    expect(costOf(price, short) / DOLLAR).toBe(0.3 + 0.03 + 0.015)
    expect(costOf(price, long)).toBe(600_000_000 + 60_000_600 + 22_500_000)
  })

  test('a price that changed is that of the instant', () => {
    const prices = new Prices([])
    const before = known('o3', { provider: 'openai', at: Date.UTC(2025, 5, 9, 23, 59), prices })
    const after = known('o3', { provider: 'openai', at: Date.UTC(2025, 5, 10), prices })
    expect([before.base.input, after.base.input]).toEqual([10_000_000, 2_000_000])
    expect(known('o3', { provider: 'openai', at: Date.UTC(2025, 5, 9), prices })).toEqual(before)
  })

  test('costs agree with the package to the nano-dollar', () => {
    const models = ['claude-opus-4-8', 'claude-sonnet-4-5', 'claude-3-haiku', 'claude-opus-5-5']
    const counts = fc.record({
      inputTokens: fc.nat(300_000),
      cacheReadTokens: fc.nat(300_000),
      cacheWriteTokens: fc.nat(50_000),
      cacheWriteHourTokens: fc.constant(0),
      outputTokens: fc.nat(100_000),
    })
    fc.assert(
      fc.property(fc.constantFrom(...models), counts, (model, used) => {
        const theirs = calcPrice(
          {
            input_tokens: used.inputTokens + used.cacheReadTokens + used.cacheWriteTokens,
            cache_read_tokens: used.cacheReadTokens,
            cache_write_tokens: used.cacheWriteTokens,
            output_tokens: used.outputTokens,
          },
          model,
          { providerId: 'anthropic', timestamp: new Date(AT) },
        )
        const difference = costOf(known(model), used) - (theirs?.total_price ?? 0) * DOLLAR
        expect(difference).toBeGreaterThan(-0.001)
        expect(difference).toBeLessThan(1.001)
      }),
      { numRuns: 60 },
    )
  })
})

describe('prices that are newer than the package', () => {
  test('a newer model is not mistaken for its elder', () => {
    expect(known('claude-sonnet-5').base.cacheRead).toBe(200_000)
    expect(known('claude-sonnet-5-5').base.cacheRead).toBe(100_000)
    expect(known('claude-sonnet-5-20260301').base.cacheRead).toBe(200_000)
  })

  test('a long prompt of Haiku 5.5 costs five times as much', () => {
    const price = known('claude-haiku-5-5-20261101')
    expect(costOf(price, tokens({ inputTokens: 100_000 }))).toBe(10_000_000)
    expect(costOf(price, tokens({ inputTokens: 100_001 }))).toBe(50_000_500)
  })
})

describe('overrides', () => {
  const prices = new Prices([
    { match: 'house-*', input: 1_000_000, output: 2_000_000 },
    {
      match: 'claude-opus-4-8',
      input: 7,
      output: 9,
      cacheRead: 0,
      cacheWrite: 8,
      cacheWriteHour: 1,
    },
    { match: '*', input: 3, output: 4 },
  ])

  test('the first that matches wins over the package', () => {
    const { base, tiers } = known('claude-opus-4-8', { prices })
    expect(base).toEqual({ input: 7, output: 9, cacheRead: 0, cacheWrite: 8, cacheWriteHour: 1 })
    expect(tiers).toEqual([])
    expect(known('anything', { provider: 'nobody', prices }).base.input).toBe(3)
  })

  test('cache prices that are left out follow the input price', () => {
    expect(known('house-1', { provider: 'local', prices }).base).toEqual({
      input: 1_000_000,
      output: 2_000_000,
      cacheRead: 100_000,
      cacheWrite: 1_250_000,
      cacheWriteHour: 2_000_000,
    })
  })

  test('only the star stands for other letters', () => {
    const dotted = new Prices([{ match: 'gpt-5.1', input: 1, output: 1 }])
    expect(dotted.priceOf('nobody', 'gpt-5x1', AT)).toBeNull()
    expect(dotted.priceOf('nobody', 'gpt-5.1', AT)).not.toBeNull()
  })
})

describe('costs', () => {
  const penny: ModelPrice = {
    base: { input: 1, cacheRead: 1, cacheWrite: 1, cacheWriteHour: 1, output: 1 },
    tiers: [],
    batchFactor: 0.5,
  }

  test('the smallest part of a nano-dollar counts as a whole one', () => {
    expect(costOf(penny, tokens({ outputTokens: 1 }))).toBe(1)
    expect(costOf(penny, tokens({ outputTokens: 1000 }))).toBe(1)
    expect(costOf(penny, tokens({ outputTokens: 1001 }))).toBe(2)
    expect(costOf(penny, tokens({}))).toBe(0)
  })

  test('a batch costs half with Anthropic, and the full price where no discount is known', () => {
    const used = tokens({ inputTokens: MILLION })
    expect(costOf(known('claude-opus-4-8'), used, { isBatch: true })).toBe(2.5 * DOLLAR)
    const prices = new Prices([{ match: '*', input: MILLION, output: MILLION }])
    const house = known('house', { provider: 'local', prices })
    expect(costOf(house, used, { isBatch: true })).toBe(DOLLAR)
  })

  test('more writes for an hour than writes are no discount', () => {
    const price = known('claude-opus-4-8')
    const odd = tokens({ cacheWriteTokens: 10, cacheWriteHourTokens: 20 })
    expect(costOf(price, odd)).toBe(
      costOf(price, tokens({ cacheWriteTokens: 10, cacheWriteHourTokens: 10 })),
    )
  })
})
