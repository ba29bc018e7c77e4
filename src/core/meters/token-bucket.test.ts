import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TokenBucketLimit } from '../limit.ts'
import { TokenBucket } from './token-bucket.ts'

const EPOCH = 1.8e12

const limitOf = (amount: number, windowMs: number, burst?: number): TokenBucketLimit => ({
  algorithm: 'token_bucket',
  dimension: 'tokens',
  amount,
  windowMs,
  source: 'configured',
  ...(burst !== undefined && { burst }),
})

describe('TokenBucket', () => {
  it('starts full, admits its burst, and refills at its rate', () => {
    const bucket = new TokenBucket(limitOf(60, 60_000, 10), EPOCH)
    expect(bucket.readyAt(10, EPOCH)).toBe(EPOCH)
    bucket.take(10, EPOCH)
    expect(bucket.readyAt(3, EPOCH)).toBe(EPOCH + 3000)
    expect(bucket.remaining(EPOCH + 1500)).toBe(1.5)
    expect(bucket.remaining(EPOCH + 60_000)).toBe(10)
  })

  it('admits at exactly the instant that it named, at any rate', () => {
    const amount = fc.integer({ min: 1, max: 1e12 })
    const windowMs = fc.constantFrom(1, 1000, 7000, 60_000, 86_400_000, 2_592_000_000)
    fc.assert(
      fc.property(
        amount,
        windowMs,
        fc.double({ min: 0, max: 1e7, noNaN: true }),
        fc.array(fc.double({ min: 0, max: 2, noNaN: true }), { minLength: 1, maxLength: 30 }),
        (amount, windowMs, offset, parts) => {
          let now = EPOCH + offset
          const bucket = new TokenBucket(limitOf(amount, windowMs), now)
          for (const part of parts) {
            now = bucket.readyAt(amount * part, now)
            expect(bucket.readyAt(amount * part, now)).toBe(now)
            bucket.take(amount * part, now)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('never admits more than amount and burst in any window', () => {
    const step = fc.record({
      gapMs: fc.nat(400),
      amount: fc.integer({ min: 1, max: 12 }),
      actual: fc.nat(12),
      heldMs: fc.nat(3000),
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.array(step, { maxLength: 60 }),
        (burst, steps) => {
          const limit = limitOf(10, 1000, burst)
          const bucket = new TokenBucket(limit, EPOCH)
          const taken: { at: number; amount: number; actual: number; endAt: number }[] = []
          let now = EPOCH
          for (const { gapMs, amount, actual, heldMs } of steps) {
            now += gapMs
            for (const lease of taken) {
              if (lease.endAt > now || lease.amount === lease.actual) continue
              bucket.correct(lease.actual - lease.amount, lease.at, now)
              lease.amount = lease.actual
            }
            const need = Math.min(amount, burst)
            if (bucket.readyAt(need, now) > now) continue
            bucket.take(need, now)
            const final = Math.min(actual, need)
            taken.push({ at: now, amount: need, actual: final, endAt: now + heldMs })
          }
          for (const { at: startAt } of taken) {
            const inWindow = taken.filter(
              ({ at }) => at >= startAt && at < startAt + limit.windowMs,
            )
            const sum = inWindow.reduce((sum, lease) => sum + lease.actual, 0)
            expect(sum).toBeLessThanOrEqual(limit.amount + burst + 1e-6)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('admits an oversized amount when it is full, and pays the debt after', () => {
    const bucket = new TokenBucket(limitOf(10, 1000), EPOCH)
    bucket.take(1, EPOCH)
    expect(bucket.readyAt(35, EPOCH)).toBe(EPOCH + 100)
    bucket.take(35, EPOCH + 100)
    expect(bucket.remaining(EPOCH + 100)).toBe(-25)
    expect(bucket.readyAt(1, EPOCH + 100)).toBe(EPOCH + 2700)
  })

  it('gives back what was taken, but nothing that a full bucket ran over', () => {
    const bucket = new TokenBucket(limitOf(10, 1000), EPOCH)
    bucket.take(6, EPOCH)
    bucket.correct(-6, EPOCH, EPOCH + 100)
    expect(bucket.remaining(EPOCH + 100)).toBe(10)

    bucket.take(6, EPOCH + 100)
    bucket.take(10, EPOCH + 5000)
    bucket.correct(-6, EPOCH + 100, EPOCH + 5000)
    expect(bucket.remaining(EPOCH + 5000)).toBe(0)
  })

  it('gives back as much as was always missing since', () => {
    const bucket = new TokenBucket(limitOf(10, 1000), EPOCH)
    bucket.take(6, EPOCH)
    bucket.take(5, EPOCH + 400)
    expect(bucket.remaining(EPOCH + 400)).toBe(3)
    bucket.correct(-6, EPOCH, EPOCH + 400)
    expect(bucket.remaining(EPOCH + 400)).toBe(5)
  })

  it('keeps its reserve back, yet admits when it is full', () => {
    const bucket = new TokenBucket(limitOf(10, 1000), EPOCH)
    bucket.reserve = 4
    bucket.take(3, EPOCH)
    expect(bucket.readyAt(3, EPOCH)).toBe(EPOCH)
    expect(bucket.readyAt(4, EPOCH)).toBe(EPOCH + 100)
    expect(bucket.readyAt(9, EPOCH)).toBe(EPOCH + 300)
  })

  it('follows a new rate and a new level from the instant they are set', () => {
    const bucket = new TokenBucket(limitOf(10, 1000), EPOCH)
    bucket.setLevel(-5, EPOCH)
    expect(bucket.remaining(EPOCH + 500)).toBe(0)
    bucket.setRate(1 / 1000, EPOCH + 500)
    expect(bucket.remaining(EPOCH + 2500)).toBe(2)
    bucket.setLevel(50, EPOCH + 2500)
    expect(bucket.remaining(EPOCH + 2500)).toBe(10)
  })
})
