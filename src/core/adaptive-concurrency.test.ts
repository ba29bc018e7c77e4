import { describe, expect, it } from 'vitest'
import { AdaptiveConcurrency } from './adaptive-concurrency.ts'

const MINUTE_MS = 60_000

describe('AdaptiveConcurrency', () => {
  it('is unlimited until the first overload', () => {
    const bound = new AdaptiveConcurrency()
    bound.succeeded(100, 0)
    expect(bound.limit).toBe(Number.POSITIVE_INFINITY)
    expect(bound.admits(1_000_000)).toBe(true)
  })

  it('cuts to a part of what was in flight, once for a burst of refusals', () => {
    const bound = new AdaptiveConcurrency()
    for (let count = 0; count < 20; count++) bound.overloaded(100, count)
    expect(bound.limit).toBe(70)
    expect(bound.admits(69)).toBe(true)
    expect(bound.admits(70)).toBe(false)
    bound.overloaded(70, 2000)
    expect(bound.limit).toBeCloseTo(49)
  })

  it('always lets one through', () => {
    const bound = new AdaptiveConcurrency()
    for (let count = 0; count < 20; count++) bound.overloaded(1, count * 2000)
    expect(bound.limit).toBe(1)
    expect(bound.admits(0)).toBe(true)
    expect(bound.admits(1)).toBe(false)
  })

  it('grows by about one for each round of successes', () => {
    const bound = new AdaptiveConcurrency()
    bound.overloaded(100, 0)
    for (let count = 0; count < 70; count++) bound.succeeded(null, 10_000)
    expect(bound.limit).toBeGreaterThan(70.9)
    expect(bound.limit).toBeLessThan(71.1)
  })

  it('does not grow while first answers are slower than usual', () => {
    const bound = new AdaptiveConcurrency()
    for (let count = 0; count < 50; count++) bound.succeeded(100, 0)
    bound.overloaded(10, 0)
    for (let count = 0; count < 10; count++) bound.succeeded(1000, 1)
    const slowLimit = bound.limit
    bound.succeeded(1000, 2)
    expect(bound.limit).toBe(slowLimit)
    for (let count = 0; count < 20; count++) bound.succeeded(100, 3)
    expect(bound.limit).toBeGreaterThan(slowLimit)
  })

  it('trusts again when no overload has come for a while', () => {
    const bound = new AdaptiveConcurrency()
    bound.overloaded(10, 0)
    expect(bound.remembers(5 * MINUTE_MS)).toBe(true)
    bound.succeeded(null, 4 * MINUTE_MS)
    expect(bound.limit).toBeLessThan(10)
    expect(bound.remembers(6 * MINUTE_MS)).toBe(false)
    bound.succeeded(null, 6 * MINUTE_MS)
    expect(bound.limit).toBe(Number.POSITIVE_INFINITY)
  })
})
