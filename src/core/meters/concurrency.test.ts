import { describe, expect, it } from 'vitest'
import { createMeter } from './create-meter.ts'

describe('ConcurrencyMeter', () => {
  it('has room again only when a lease ends', () => {
    const meter = createMeter(
      { algorithm: 'concurrency', dimension: 'concurrency', amount: 2, source: 'configured' },
      0,
    )
    meter.take(1, 0)
    expect(meter.readyAt(1, 0)).toBe(0)
    meter.take(1, 0)
    expect(meter.remaining(0)).toBe(0)
    expect(meter.readyAt(1, 1e12)).toBe(Number.POSITIVE_INFINITY)
    meter.correct(-1, 0, 5)
    expect(meter.readyAt(1, 5)).toBe(5)
  })
})
