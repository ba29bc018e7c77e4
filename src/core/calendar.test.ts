import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { calendarWindowAt } from './calendar.ts'

const HOUR_MS = 3_600_000
const at = (text: string): number => Date.parse(text)
const dayIn = (timeZone: string, text: string) =>
  calendarWindowAt({ unit: 'day', timeZone }, at(text))

const iso = ({ startAt, endAt }: { startAt: number; endAt: number }): string[] => [
  new Date(startAt).toISOString(),
  new Date(endAt).toISOString(),
]

describe('calendarWindowAt', () => {
  it('follows the zone’s midnight', () => {
    expect(iso(dayIn('Europe/Berlin', '2026-07-01T23:30:00Z'))).toEqual([
      '2026-07-01T22:00:00.000Z',
      '2026-07-02T22:00:00.000Z',
    ])
  })

  it('has days of 23 and 25 hours where clocks change', () => {
    const spring = dayIn('Europe/Berlin', '2026-03-29T12:00:00Z')
    const autumn = dayIn('Europe/Berlin', '2026-10-25T12:00:00Z')
    expect((spring.endAt - spring.startAt) / HOUR_MS).toBe(23)
    expect((autumn.endAt - autumn.startAt) / HOUR_MS).toBe(25)
  })

  it('starts a day whose midnight is skipped at its first instant', () => {
    expect(iso(dayIn('America/Sao_Paulo', '2018-11-04T12:00:00Z'))).toEqual([
      '2018-11-04T03:00:00.000Z',
      '2018-11-05T02:00:00.000Z',
    ])
    expect(iso(dayIn('America/Sao_Paulo', '2018-11-04T02:30:00Z'))).toEqual([
      '2018-11-03T03:00:00.000Z',
      '2018-11-04T03:00:00.000Z',
    ])
  })

  it('ends a day whose last hour is repeated after the second time', () => {
    expect(iso(dayIn('America/Sao_Paulo', '2018-02-18T02:30:00Z'))).toEqual([
      '2018-02-17T02:00:00.000Z',
      '2018-02-18T03:00:00.000Z',
    ])
  })

  it('starts a day whose midnight is repeated at the first one', () => {
    expect(iso(dayIn('America/Havana', '2025-11-02T12:00:00Z'))).toEqual([
      '2025-11-02T04:00:00.000Z',
      '2025-11-03T05:00:00.000Z',
    ])
  })

  it('has months of the zone, over the year’s end', () => {
    const december = calendarWindowAt(
      { unit: 'month', timeZone: 'America/Sao_Paulo' },
      at('2026-12-31T23:00:00Z'),
    )
    expect(iso(december)).toEqual(['2026-12-01T03:00:00.000Z', '2027-01-01T03:00:00.000Z'])
    const march = calendarWindowAt(
      { unit: 'month', timeZone: 'Europe/Berlin' },
      at('2026-03-15T00:00:00Z'),
    )
    expect(iso(march)).toEqual(['2026-02-28T23:00:00.000Z', '2026-03-31T22:00:00.000Z'])
  })

  it('always holds the instant, and the next window starts where it ends', () => {
    const zones = ['UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'America/Havana', 'Africa/Cairo']
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.constantFrom('day' as const, 'month' as const),
        fc.integer({ min: at('2012-01-01T00:00:00Z'), max: at('2040-01-01T00:00:00Z') }),
        (timeZone, unit, instant) => {
          const period = { unit, timeZone }
          const window = calendarWindowAt(period, instant)
          expect(window.startAt).toBeLessThanOrEqual(instant)
          expect(window.endAt).toBeGreaterThan(instant)
          expect(calendarWindowAt(period, window.startAt)).toEqual(window)
          expect(calendarWindowAt(period, window.endAt - 1)).toEqual(window)
          expect(calendarWindowAt(period, window.endAt).startAt).toBe(window.endAt)
        },
      ),
      { numRuns: 300 },
    )
  })
})
