import { expect, test } from 'vitest'
import { observeLimits } from './limits.ts'

const DATE = { date: 'Sat, 21 Nov 2026 10:15:30 GMT' }

function trio(name: string, limit: string, remaining: string, reset = '2026-11-21T10:15:32Z') {
  return { [`${name}-limit`]: limit, [`${name}-remaining`]: remaining, [`${name}-reset`]: reset }
}

const INPUT = trio('anthropic-ratelimit-input-tokens', '2000000', '1957000')
const OUTPUT = trio('anthropic-ratelimit-output-tokens', '400000', '399500')
const REQUESTS = trio('anthropic-ratelimit-requests', '1000', '998')
const SUM = trio('anthropic-ratelimit-tokens', '2400000', '2357000')

test("reads an answer's limits and whose they are", () => {
  const headers = {
    ...DATE,
    ...INPUT,
    ...OUTPUT,
    ...REQUESTS,
    ...SUM,
    'anthropic-organization-id': 'org',
  }
  expect(observeLimits(headers)).toEqual({
    organization: 'org',
    limits: [
      {
        dimension: 'input_tokens',
        amount: 2000000,
        remaining: 1957000,
        roundedBy: 500,
        fullInMs: 2000,
        fullInErrorMs: 2000,
      },
      {
        dimension: 'output_tokens',
        amount: 400000,
        remaining: 399500,
        roundedBy: 0,
        fullInMs: 2000,
        fullInErrorMs: 2000,
      },
      {
        dimension: 'requests',
        amount: 1000,
        remaining: 998,
        roundedBy: 0,
        fullInMs: 2000,
        fullInErrorMs: 2000,
      },
    ],
  })
})

test('takes `tokens` for a limit of its own where it is stricter than the sum', () => {
  const workspace = trio('anthropic-ratelimit-tokens', '50000', '49000')
  const { limits } = observeLimits({ ...DATE, ...INPUT, ...OUTPUT, ...workspace })
  expect(limits.map(({ dimension, amount }) => [dimension, amount])).toEqual([
    ['input_tokens', 2000000],
    ['output_tokens', 400000],
    ['tokens', 50000],
  ])
})

test("reads a fast answer's own buckets in place of the standard ones", () => {
  const fast = {
    ...trio('anthropic-fast-input-tokens', '100000', '90000'),
    ...trio('anthropic-fast-output-tokens', '20000', '20000'),
  }
  const { limits } = observeLimits({ ...DATE, ...INPUT, ...OUTPUT, ...SUM, ...REQUESTS, ...fast })
  expect(limits.map(({ dimension, amount }) => [dimension, amount])).toEqual([
    ['input_tokens', 100000],
    ['output_tokens', 20000],
    ['requests', 1000],
  ])
})

test.each([
  ['a limit of 0', '0', '0'],
  ['a filler limit', '-1', '5'],
  ['a filler remainder', '1000', '-1'],
  ['an empty limit', '', '5'],
  ['a word', 'many', '5'],
  ['a fraction', '10.5', '5'],
])('skips %s', (_, limit, remaining) => {
  const headers = trio('anthropic-ratelimit-requests', limit, remaining)
  expect(observeLimits({ ...DATE, ...headers }).limits).toEqual([])
})

test('reads a limit without a reset that it can trust', () => {
  const limitOf = (headers: Record<string, string>) => observeLimits(headers).limits[0]
  const untimed = { amount: 1000, remaining: 998, fullInMs: null, fullInErrorMs: 0 }
  expect(limitOf(REQUESTS)).toMatchObject(untimed)
  const garbled = trio('anthropic-ratelimit-requests', '1000', '998', 'soon')
  expect(limitOf({ ...DATE, ...garbled })).toMatchObject(untimed)
  const past = trio('anthropic-ratelimit-requests', '1000', '998', '2026-11-21T10:15:29Z')
  expect(limitOf({ ...DATE, ...past })).toMatchObject({ fullInMs: 0, fullInErrorMs: 2000 })
})

test('never sees more remaining than the limit, which rounding could say', () => {
  const headers = trio('anthropic-ratelimit-input-tokens', '50500', '51000')
  expect(observeLimits(headers).limits[0]?.remaining).toBe(50500)
})

test('finds nothing in headers that say nothing', () => {
  expect(observeLimits({})).toEqual({ organization: null, limits: [] })
})
