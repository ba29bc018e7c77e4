import { describe, expect, it } from 'vitest'
import { Mortals } from './mortals.ts'

const SECOND = 1000
const MORTAL = { id: 'mortal', ttlMs: 30 * SECOND }

describe('a holder other than the process', () => {
  it('lives as long as was said at most by tickets, and exactly as long as it says itself', () => {
    const mortals = new Mortals()
    mortals.heardOf('a', MORTAL, 0)
    mortals.heardOf('b', { ...MORTAL, ttlMs: SECOND }, 0)
    expect(mortals.asOf(MORTAL, 10 * SECOND).ttlMs).toBe(20 * SECOND)
    mortals.renew({ ...MORTAL, ttlMs: 2 * SECOND }, 10 * SECOND)
    expect(mortals.asOf(MORTAL, 10 * SECOND).ttlMs).toBe(2 * SECOND)
    expect(mortals.silentSince(12 * SECOND - 1)).toEqual([])
    expect(mortals.silentSince(12 * SECOND)).toEqual(['a', 'b'])
  })

  it('is forgotten with its last ticket, and what it says then is nothing', () => {
    const mortals = new Mortals()
    for (const id of ['a', 'b']) mortals.heardOf(id, MORTAL, 0)
    mortals.leave('a', MORTAL)
    expect(mortals.silentSince(MORTAL.ttlMs)).toEqual(['b'])
    mortals.leave('b', MORTAL)
    mortals.renew(MORTAL, SECOND)
    expect(mortals.silentSince(Number.POSITIVE_INFINITY)).toEqual([])
  })

  it('is believed by the shared gate only as long as that one has been told', () => {
    const mortals = new Mortals()
    mortals.heardOf('a', MORTAL, 0)
    expect(mortals.isBelievedThere(MORTAL, 0)).toBe(false)
    mortals.told(MORTAL)
    mortals.renew(MORTAL, 20 * SECOND)
    expect(mortals.isBelievedThere(MORTAL, 30 * SECOND - 1)).toBe(true)
    expect(mortals.isBelievedThere(MORTAL, 30 * SECOND)).toBe(false)
    mortals.told(MORTAL)
    expect(mortals.isBelievedThere(MORTAL, 50 * SECOND - 1)).toBe(true)
  })

  it('goes with its tickets when two resources become one', () => {
    const [one, other] = [new Mortals(), new Mortals()]
    one.heardOf('a', MORTAL, 0)
    other.heardOf('b', MORTAL, SECOND)
    one.absorb(other)
    expect(one.silentSince(MORTAL.ttlMs)).toEqual([])
    expect(one.silentSince(MORTAL.ttlMs + SECOND)).toEqual(['a', 'b'])
    expect(other.silentSince(Number.POSITIVE_INFINITY)).toEqual([])
  })
})
