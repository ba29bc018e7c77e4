import { describe, expect, it } from 'vitest'
import { costOf } from './cost.ts'
import { Holders } from './holders.ts'
import { Ticket } from './line.ts'

let tickets = 0

const ticket = (): Ticket =>
  new Ticket(
    {
      id: `t${tickets++}`,
      resource: 'r',
      flow: 'flow',
      lane: 'normal',
      weight: 1,
      estimate: costOf({}),
      deadlineAt: Number.POSITIVE_INFINITY,
      place: null,
      parked: false,
      holder: null,
    },
    1,
    0,
  )

/** Whose time has come, in order, with how many tickets each. */
function expired(holders: Holders, now: number): [string, number][] {
  const found: [string, number][] = []
  for (let next = holders.takeExpired(now); next; next = holders.takeExpired(now))
    found.push([next.id, next.tickets.size])
  return found
}

describe('Holders', () => {
  it('die at the instant that was named, the first to die first, equals by name', () => {
    const holders = new Holders()
    for (const [id, at] of Object.entries({ c: 20, b: 10, a: 20 })) holders.join(ticket(), id, at)
    holders.join(ticket(), 'c', 15)
    expect(holders.nextExpiryAt).toBe(10)
    expect(expired(holders, 9.999)).toEqual([])
    expect(expired(holders, 10)).toEqual([['b', 1]])
    expect(expired(holders, 30)).toEqual([
      ['a', 1],
      ['c', 2],
    ])
    expect(holders.nextExpiryAt).toBe(Number.POSITIVE_INFINITY)
  })

  it('live as long as was said last on purpose, and no shorter for what is heard in passing', () => {
    const holders = new Holders()
    holders.join(ticket(), 'a', 100)
    holders.join(ticket(), 'a', 50)
    holders.heardOf({ id: 'a', ttlMs: 10 }, 60)
    expect(holders.nextExpiryAt).toBe(100)
    holders.heardOf({ id: 'a', ttlMs: 50 }, 60)
    expect(holders.nextExpiryAt).toBe(110)
    expect(holders.renew('a', 70)).toBe(true)
    expect(holders.nextExpiryAt).toBe(70)
  })

  it('are forgotten with their last ticket', () => {
    const holders = new Holders()
    const [first, second] = [ticket(), ticket()]
    holders.join(first, 'a', 100)
    holders.join(second, 'a', 100)
    holders.leave(first)
    expect(holders.renew('a', 200)).toBe(true)
    holders.leave(second)
    holders.leave(second)
    expect(holders.renew('a', 300)).toBe(false)
    holders.heardOf({ id: 'a', ttlMs: 1000 }, 0)
    expect(holders.nextExpiryAt).toBe(Number.POSITIVE_INFINITY)
  })
})
