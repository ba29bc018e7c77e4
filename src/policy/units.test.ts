import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Limit } from '../core/limit.ts'
import {
  formatBudget,
  formatDuration,
  formatLimit,
  formatPrice,
  formatSize,
  parseBudget,
  parseDuration,
  parseLimit,
  parsePrice,
  parseSize,
} from './units.ts'

const parsed = <T>(value: T) => ({ kind: 'parsed', value })

describe('durations', () => {
  it.each([
    ['250ms', 250],
    ['60s', 60_000],
    ['10m', 600_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
    ['0s', 0],
  ])('reads %s', (text, ms) => {
    expect(parseDuration(text)).toEqual(parsed(ms))
  })

  it.each(['', '10', '1.5h', '1,5h', 'P1DT2H', '10 m', '30m1h', '1m1m', '-1s', '1H', 'm', '１s'])(
    'refuses %j',
    (text) => {
      expect(parseDuration(text)).toEqual({
        kind: 'refused',
        why: 'is not a duration, write one such as 250ms, 60s, 10m or 1h30m',
      })
    },
  )

  it('refuses one that numbers cannot hold', () => {
    expect(parseDuration('99999999999999999d')).toMatchObject({ kind: 'refused' })
  })

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (ms) => {
        expect(parseDuration(formatDuration(ms))).toEqual(parsed(ms))
      }),
    )
  })
})

describe('sizes', () => {
  it.each([
    ['512B', 512],
    ['64KB', 64_000],
    ['32MiB', 33_554_432],
    ['1GiB', 1_073_741_824],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toEqual(parsed(bytes))
  })

  it.each(['', '1', '1.5GiB', '1 GiB', '1gib', '1kb', '-1B', '1GiBs'])('refuses %j', (text) => {
    expect(parseSize(text)).toEqual({
      kind: 'refused',
      why: 'is not a size, write one such as 64KB, 32MiB or 1GiB',
    })
  })

  it('reads back what it writes', () => {
    const bytes = fc.oneof(
      fc.maxSafeNat(),
      fc.nat(4095).map((count) => count * 2 ** 30),
      fc.nat(4095).map((count) => count * 1e6),
    )
    fc.assert(
      fc.property(bytes, (count) => {
        expect(parseSize(formatSize(count))).toEqual(parsed(count))
      }),
    )
  })
})

describe('limits', () => {
  const minute = { dimension: 'requests', amount: 1000, windowMs: 60_000, source: 'configured' }

  it.each([
    ['1000/min', { ...minute, algorithm: 'token_bucket' }],
    ['1000/min bucket', { ...minute, algorithm: 'token_bucket' }],
    ['1000/min burst 50', { ...minute, algorithm: 'token_bucket', burst: 50 }],
    ['1000/min burst 50 bucket', { ...minute, algorithm: 'token_bucket', burst: 50 }],
    ['1000/6s sliding', { ...minute, windowMs: 6000, algorithm: 'sliding_window' }],
    ['1000/hour fixed', { ...minute, windowMs: 3_600_000, algorithm: 'fixed_window' }],
    ['1000/2day fixed', { ...minute, windowMs: 172_800_000, algorithm: 'fixed_window' }],
    ['1000/month', { ...minute, windowMs: 2_592_000_000, algorithm: 'token_bucket' }],
    [
      '1000/day fixed',
      {
        ...minute,
        windowMs: 86_400_000,
        algorithm: 'fixed_window',
        calendar: { unit: 'day', timeZone: 'UTC' },
      },
    ],
    [
      '1000/month fixed',
      {
        ...minute,
        windowMs: 2_592_000_000,
        algorithm: 'fixed_window',
        calendar: { unit: 'month', timeZone: 'UTC' },
      },
    ],
    [
      '1000/month fixed in America/New_York',
      {
        ...minute,
        windowMs: 2_592_000_000,
        algorithm: 'fixed_window',
        calendar: { unit: 'month', timeZone: 'America/New_York' },
      },
    ],
  ])('reads %s', (text, limit) => {
    expect(parseLimit('requests', text)).toEqual(parsed(limit))
  })

  it.each([
    ['1000', /^is not a limit, write AMOUNT\/WINDOW/],
    ['1000/m', /^is not a limit/],
    ['1000/minute', /^is not a limit/],
    ['1e3/min', /^is not a limit/],
    ['1000 / min', /^is not a limit/],
    ['1000/min sliding burst 5', /^is not a limit/],
    ['0/min', /^has a part that is zero/],
    ['5/0s', /^has a part that is zero/],
    ['5/min burst 0', /^has a part that is zero/],
    ['99999999999999999/min', /^has a part that is zero or too large/],
    ['5/min burst 5 sliding', /^gives a burst to a sliding window/],
    ['5/min burst 5 fixed', /^gives a burst to a fixed window/],
    ['5/2month fixed', /^fixes a window of several months/],
    ['5/day in Europe/Berlin', /^names a time zone without fixing a day or a month/],
    ['5/day sliding in Europe/Berlin', /^names a time zone without/],
    ['5/hour fixed in Europe/Berlin', /^names a time zone without/],
    ['5/day fixed in Atlantis', /^names a time zone that is not known, write one such as/],
  ])('refuses %j', (text, why) => {
    expect(parseLimit('requests', text)).toEqual({
      kind: 'refused',
      why: expect.stringMatching(why),
    })
  })

  const amount = fc.integer({ min: 1, max: 1e12 })
  const window = fc
    .tuple(fc.integer({ min: 1, max: 500 }), fc.constantFrom('s', 'min', 'hour', 'day', 'month'))
    .map(([count, unit]) => (count === 1 ? unit : `${count}${unit}`))
  const bucket = fc
    .tuple(amount, window, fc.option(amount))
    .map(([n, per, burst]) => `${n}/${per}${burst === null ? '' : ` burst ${burst}`}`)
  const sliding = fc.tuple(amount, window).map(([n, per]) => `${n}/${per} sliding`)
  const fixed = fc
    .tuple(amount, window)
    .filter(([, per]) => !/^\d+month$/.test(per))
    .map(([n, per]) => `${n}/${per} fixed`)
  const zoned = fc
    .tuple(amount, fc.constantFrom('day', 'month'), fc.constantFrom('UTC', 'Asia/Kolkata'))
    .map(([n, per, zone]) => `${n}/${per} fixed in ${zone}`)

  const read = (text: string): Limit => {
    const result = parseLimit('tokens', text)
    if (result.kind === 'refused') throw new Error(`${text} ${result.why}`)
    return result.value
  }

  it('reads back what it writes', () => {
    const readsBack = (text: string): void => {
      expect(read(formatLimit(read(text)))).toEqual(read(text))
    }
    for (const calendarTwin of ['9/24hour fixed', '9/30day fixed', '9/60day fixed']) {
      readsBack(calendarTwin)
    }
    fc.assert(fc.property(fc.oneof(bucket, sliding, fixed, zoned), readsBack))
  })

  it('never accepts junk: what it reads matches the grammar', () => {
    const junk = fc.oneof(
      fc.string(),
      fc.tuple(fc.oneof(bucket, fixed), fc.string({ minLength: 1 })).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(junk, (text) => {
        const grammar =
          /^\d+\/\d*(s|min|hour|day|month)( burst \d+)?( (bucket|sliding|fixed))?( in [\w/]+)?$/
        expect(parseLimit('tokens', text).kind === 'parsed' && !grammar.test(text)).toBe(false)
      }),
    )
  })

  it('writes a concurrency limit as its number', () => {
    expect(
      formatLimit({
        algorithm: 'concurrency',
        dimension: 'concurrency',
        amount: 10,
        source: 'configured',
      }),
    ).toBe('10')
  })
})

describe('budgets', () => {
  it.each([
    ['20 USD/month', 20_000_000_000, 'month', 'UTC'],
    ['0.1 USD/day in Europe/Berlin', 100_000_000, 'day', 'Europe/Berlin'],
    ['0.000000001 USD/hour', 1, 'hour', 'UTC'],
    ['8999999.999999999 USD/day', 8_999_999_999_999_999, 'day', 'UTC'],
    ['9000000 USD/day', 9_000_000_000_000_000, 'day', 'UTC'],
  ])('%s is exact', (text, amount, unit, timeZone) => {
    const value = { amount, period: { unit, timeZone } }
    expect(parseBudget(text)).toEqual({ kind: 'parsed', value })
  })

  it.each([
    '20 USD',
    '20 EUR/month',
    '20USD/month',
    ' 20 USD/month',
    '.5 USD/day',
    '1. USD/day',
    '01 USD/day',
    '1e3 USD/day',
    '1,000 USD/day',
    '-1 USD/day',
    '1 USD/week',
    '1 USD/2day',
    '0 USD/day',
    '0.0000000001 USD/day',
    '9000000.000000001 USD/day',
    '99999999999999999999 USD/day',
    '1 USD/day in Mars/Olympus',
    '1 USD/day in',
  ])('%j is none', (text) => {
    expect(parseBudget(text).kind).toBe('refused')
  })

  it('are read back as they are written, to the nano-dollar', () => {
    const budget = fc.record({
      amount: fc.integer({ min: 1, max: 9_000_000_000_000_000 }),
      period: fc.record({
        unit: fc.constantFrom('hour', 'day', 'month'),
        timeZone: fc.constantFrom('UTC', 'Asia/Kolkata'),
      }),
    })
    fc.assert(
      fc.property(budget, (value) => {
        expect(parseBudget(formatBudget(value))).toEqual({ kind: 'parsed', value })
      }),
    )
  })
})

describe('prices', () => {
  it.each([
    ['3 USD/Mtok', 3_000_000],
    ['0.1 USD/Mtok', 100_000],
    ['0.000001 USD/Mtok', 1],
    ['0 USD/Mtok', 0],
  ])('%s is exact', (text, value) => {
    expect(parsePrice(text)).toEqual({ kind: 'parsed', value })
  })

  it.each(['3', '3 USD', '3 USD/ktok', '0.0000001 USD/Mtok', '1000000.1 USD/Mtok', '-1 USD/Mtok'])(
    '%j is none',
    (text) => {
      expect(parsePrice(text).kind).toBe('refused')
    },
  )

  it('are read back as they are written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e12 }), (value) => {
        expect(parsePrice(formatPrice(value))).toEqual({ kind: 'parsed', value })
      }),
    )
  })
})
