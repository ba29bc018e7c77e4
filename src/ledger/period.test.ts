import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Period } from './ledger.ts'
import { periodAt } from './period.ts'

const at = (text: string): number => Date.parse(text)
const shown = (period: Period, instant: string): string[] => {
  const { startAt, endAt } = periodAt(period, at(instant))
  return [new Date(startAt).toISOString(), new Date(endAt).toISOString()]
}

describe('the period of an instant', () => {
  test('is a month of the time zone, a change of clocks included', () => {
    const period = { unit: 'month', timeZone: 'Europe/Berlin' } as const
    expect(shown(period, '2026-03-31T21:59:59.999Z')).toEqual([
      '2026-02-28T23:00:00.000Z',
      '2026-03-31T22:00:00.000Z',
    ])
  })

  test('is an hour of the local clock where zones are half an hour off', () => {
    const period = { unit: 'hour', timeZone: 'Asia/Kolkata' } as const
    expect(shown(period, '2026-05-01T10:29:00Z')).toEqual([
      '2026-05-01T09:30:00.000Z',
      '2026-05-01T10:30:00.000Z',
    ])
  })

  test('ends where the clocks change in the midst of an hour', () => {
    // On Lord Howe, 02:00 becomes 01:30 again on 5 April 2026, at 15:00 UTC of the day before.
    const period = { unit: 'hour', timeZone: 'Australia/Lord_Howe' } as const
    expect(shown(period, '2026-04-04T14:59:00Z')).toEqual([
      '2026-04-04T14:00:00.000Z',
      '2026-04-04T15:00:00.000Z',
    ])
    expect(shown(period, '2026-04-04T15:01:00Z')).toEqual([
      '2026-04-04T15:00:00.000Z',
      '2026-04-04T15:30:00.000Z',
    ])
  })
})

const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe']

test('periods tile time: each begins where the one before ends', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('hour' as const, 'day' as const, 'month' as const),
      fc.constantFrom(...ZONES),
      fc.integer({ min: at('2001-01-01T00:00:00Z'), max: at('2035-01-01T00:00:00Z') }),
      (unit, timeZone, instant) => {
        const period = { unit, timeZone }
        const { startAt, endAt } = periodAt(period, instant)
        expect(startAt).toBeLessThanOrEqual(instant)
        expect(endAt).toBeGreaterThan(instant)
        expect(periodAt(period, startAt - 1).endAt).toBe(startAt)
        expect(periodAt(period, endAt).startAt).toBe(endAt)
        expect(periodAt(period, startAt)).toEqual({ startAt, endAt })
        expect(periodAt(period, endAt - 1)).toEqual({ startAt, endAt })
      },
    ),
    { numRuns: 300 },
  )
})
