import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SlidingWindowLimit } from '../limit.ts'
import { SlidingWindow } from './sliding-window.ts'

const EPOCH = 1.8e12

const limitOf = (amount: number, windowMs: number): SlidingWindowLimit => ({
  algorithm: 'sliding_window',
  dimension: 'tokens',
  amount,
  windowMs,
  source: 'configured',
})

describe('SlidingWindow', () => {
  it('never admits more than its amount in any window, and is not late by more than a slot', () => {
    const step = fc.record({
      gapMs: fc.double({ min: 0, max: 900, noNaN: true }),
      amount: fc.integer({ min: 1, max: 10 }),
    })
    fc.assert(
      fc.property(
        fc.constantFrom(1000, 977, 60, 1),
        fc.double({ min: 0, max: 5000, noNaN: true }),
        fc.array(step, { maxLength: 80 }),
        (windowMs, offset, steps) => {
          const window = new SlidingWindow(limitOf(10, windowMs))
          const taken: { at: number; amount: number }[] = []
          let now = EPOCH + offset
          for (const { gapMs, amount } of steps) {
            now += gapMs
            const readyAt = window.readyAt(amount, now)
            const since = (at: number) =>
              taken
                .filter((entry) => entry.at > at - windowMs)
                .reduce((sum, e) => sum + e.amount, 0)
            if (since(now) + amount > 10) expect(readyAt).toBeGreaterThan(now)
            if (readyAt > now) {
              const earlier = readyAt - windowMs / 30
              if (earlier > now) expect(since(earlier) + amount).toBeGreaterThan(10)
            }
            now = readyAt
            expect(window.readyAt(amount, now)).toBe(now)
            expect(since(now) + amount).toBeLessThanOrEqual(10)
            window.take(amount, now)
            taken.push({ at: now, amount })
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('admits an oversized amount only when nothing is left in the window', () => {
    const window = new SlidingWindow(limitOf(10, 600))
    window.take(1, EPOCH)
    const freeAt = window.readyAt(25, EPOCH)
    expect(freeAt).toBeGreaterThanOrEqual(EPOCH + 600)
    expect(freeAt).toBeLessThanOrEqual(EPOCH + 620)
    window.take(25, freeAt)
    expect(window.remaining(freeAt)).toBe(-15)
    expect(window.readyAt(1, freeAt)).toBeGreaterThanOrEqual(freeAt + 600)
  })

  it('corrects what was taken where it was taken', () => {
    const window = new SlidingWindow(limitOf(10, 600))
    window.take(8, EPOCH)
    window.take(2, EPOCH + 300)
    window.correct(-5, EPOCH, EPOCH + 300)
    expect(window.remaining(EPOCH + 300)).toBe(5)
    expect(window.remaining(EPOCH + 620)).toBe(8)
    window.correct(-3, EPOCH, EPOCH + 700)
    expect(window.remaining(EPOCH + 700)).toBe(8)
  })

  it('is wholly free again after a window, fractions and all', () => {
    const window = new SlidingWindow(limitOf(10, 600))
    let now = EPOCH
    for (const amount of [0.1, 0.2, 0.3, 0.7]) {
      window.take(amount, now)
      window.correct(-amount / 3, now, now)
      now += 7
    }
    for (let step = 0; step < 100; step++) {
      now += 9
      expect(window.remaining(now)).toBeLessThanOrEqual(10)
    }
    expect(window.remaining(now)).toBe(10)
  })
})
