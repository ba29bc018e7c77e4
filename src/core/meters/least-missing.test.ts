import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeastMissing } from './least-missing.ts'

describe('LeastMissing', () => {
  it('knows the least since any instant, as a full log would', () => {
    const note = fc.record({ gapMs: fc.integer({ min: 1, max: 3 }), missing: fc.nat(50) })
    fc.assert(
      fc.property(fc.array(note, { maxLength: 60 }), (notes) => {
        const least = new LeastMissing()
        const log: { at: number; missing: number }[] = []
        let at = 0
        for (const { gapMs, missing } of notes) {
          at += gapMs
          least.note(missing, at)
          log.push({ at, missing })
        }
        for (let since = -1; since <= at; since++) {
          const after = log.filter((entry) => entry.at > since).map((entry) => entry.missing)
          expect(least.since(since)).toBe(Math.min(...after))
        }
      }),
    )
  })

  it('lowers all that came after an instant when the bucket turns out fuller', () => {
    const least = new LeastMissing()
    least.note(3, 1)
    least.note(5, 2)
    least.note(9, 3)
    least.raise(4, 1)
    expect(least.since(2)).toBe(5)
    expect(least.since(1)).toBe(1)
    expect(least.since(0)).toBe(1)
  })

  it('claims too little rather than too much when it has to forget', () => {
    const least = new LeastMissing()
    for (let at = 1; at <= 1000; at++) least.note(at, at)
    expect(least.since(990)).toBe(991)
    expect(least.since(0)).toBe(1)
    expect(least.since(500)).toBe(1)
    expect(least.since(1000)).toBe(Number.POSITIVE_INFINITY)
  })
})
