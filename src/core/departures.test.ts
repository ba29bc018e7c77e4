import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { costOf } from './cost.ts'
import { Departures } from './departures.ts'

describe('Departures', () => {
  it('sums what left after an instant', () => {
    const departure = fc.record({ gapMs: fc.nat(3), tokens: fc.nat(100) })
    fc.assert(
      fc.property(fc.array(departure, { maxLength: 50 }), fc.nat(200), (list, since) => {
        const departures = new Departures()
        let at = 0
        let expected = 0
        for (const { gapMs, tokens } of list) {
          at += gapMs
          departures.record(costOf({ input_tokens: tokens }), at)
          if (at > since) expected += tokens
        }
        expect(departures.since(since, 'input_tokens')).toBe(expected)
      }),
    )
  })

  it('knows every dimension', () => {
    const departures = new Departures()
    departures.record(costOf({ input_tokens: 3, output_tokens: 4, cost: 5 }), 1)
    expect(departures.since(0, 'requests')).toBe(1)
    expect(departures.since(0, 'output_tokens')).toBe(4)
    expect(departures.since(0, 'tokens')).toBe(7)
    expect(departures.since(0, 'cost')).toBe(5)
    expect(departures.since(1, 'cost')).toBe(0)
  })

  it('forgets the oldest, and never counts them again', () => {
    const departures = new Departures()
    const total = 100_000
    for (let at = 1; at <= total; at++) departures.record(costOf({}), at)
    expect(departures.since(total - 1000, 'requests')).toBe(1000)
    const all = departures.since(0, 'requests')
    expect(all).toBeGreaterThanOrEqual(2048)
    expect(all).toBeLessThanOrEqual(4096)
  })
})
