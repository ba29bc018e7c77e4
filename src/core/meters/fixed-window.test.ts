import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CalendarPeriod, FixedWindowLimit } from '../limit.ts'
import { FixedWindow } from './fixed-window.ts'

const EPOCH = 1.8e12
const at = (text: string): number => Date.parse(text)

const limitOf = (
  amount: number,
  windowMs: number,
  calendar?: CalendarPeriod,
): FixedWindowLimit => ({
  algorithm: 'fixed_window',
  dimension: 'tokens',
  amount,
  windowMs,
  source: 'configured',
  ...(calendar && { calendar }),
})

describe('FixedWindow', () => {
  it('never admits more than its amount in one window', () => {
    const step = fc.record({ gapMs: fc.nat(900), amount: fc.integer({ min: 1, max: 10 }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const window = new FixedWindow(limitOf(10, 1000))
        const byWindow = new Map<number, number>()
        let now = EPOCH
        for (const { gapMs, amount } of steps) {
          now = window.readyAt(amount, now + gapMs)
          expect(window.readyAt(amount, now)).toBe(now)
          window.take(amount, now)
          const index = Math.floor(now / 1000)
          byWindow.set(index, (byWindow.get(index) ?? 0) + amount)
        }
        for (const sum of byWindow.values()) expect(sum).toBeLessThanOrEqual(10)
      }),
    )
  })

  it('lets an oversized amount have a window to itself', () => {
    const window = new FixedWindow(limitOf(10, 1000))
    window.take(1, EPOCH + 200)
    expect(window.readyAt(25, EPOCH + 200)).toBe(EPOCH + 1000)
    window.take(25, EPOCH + 1000)
    expect(window.readyAt(1, EPOCH + 1000)).toBe(EPOCH + 2000)
    expect(window.remaining(EPOCH + 2000)).toBe(10)
  })

  it('gives nothing back to a window for what was taken in the one before', () => {
    const window = new FixedWindow(limitOf(10, 1000))
    window.take(8, EPOCH + 900)
    window.correct(-3, EPOCH + 900, EPOCH + 950)
    expect(window.remaining(EPOCH + 950)).toBe(5)
    window.take(4, EPOCH + 1100)
    window.correct(-5, EPOCH + 900, EPOCH + 1100)
    expect(window.remaining(EPOCH + 1100)).toBe(6)
  })

  it.each([
    ['Europe/Berlin', '2026-03-29T00:00:00Z', '2026-03-29T22:00:00Z'],
    ['Europe/Berlin', '2026-10-25T00:00:00Z', '2026-10-25T23:00:00Z'],
    ['America/Sao_Paulo', '2018-11-03T12:00:00Z', '2018-11-04T03:00:00Z'],
    ['America/Sao_Paulo', '2018-02-17T12:00:00Z', '2018-02-18T03:00:00Z'],
  ])('keeps the day of %s to its end where clocks change (%s)', (timeZone, from, endsAt) => {
    const window = new FixedWindow(limitOf(10, 86_400_000, { unit: 'day', timeZone }))
    window.take(10, at(from))
    for (let now = at(from); now < at(endsAt); now += 900_000)
      expect(window.readyAt(1, now)).toBe(at(endsAt))
    expect(window.readyAt(10, at(endsAt))).toBe(at(endsAt))
  })

  it('follows calendar months', () => {
    const calendar = { unit: 'month', timeZone: 'Europe/Berlin' } as const
    const window = new FixedWindow(limitOf(10, 30 * 86_400_000, calendar))
    window.take(10, at('2026-02-10T00:00:00Z'))
    expect(window.readyAt(1, at('2026-02-28T22:59:59Z'))).toBe(at('2026-02-28T23:00:00Z'))
    expect(window.remaining(at('2026-02-28T23:00:00Z'))).toBe(10)
  })
})
