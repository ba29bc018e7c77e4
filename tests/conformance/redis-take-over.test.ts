// Two processes at one Redis, and tickets that go from the one to the other.
import { afterEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../src/core/clock.ts'
import { costOf, NOTHING } from '../../src/core/cost.ts'
import type { Holder, TicketRequest } from '../../src/core/ticket.ts'
import type { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'
import { RESOURCE, START_AT, settingsOf } from './line.ts'
import { openStore } from './redis-under-test.ts'

const SECOND = 1000
const MORTAL = { id: 'holder', ttlMs: 30 * SECOND }

const SETTINGS = settingsOf({
  limits: [{ algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' }],
})

const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

async function openTwo() {
  const { url } = await sharedRedis()
  const clock = new VirtualClock(START_AT)
  const prefix = freshPrefix()
  const join = async (instance: string) => {
    const { shared, setClocks } = await openStore(
      `${url}?prefix=${prefix}`,
      clock,
      () => SETTINGS,
      instance,
    )
    const heard: string[] = []
    shared.onGrant(({ id }) => heard.push(`granted ${id}`))
    shared.onLost(({ id }) => heard.push(`lost ${id}`))
    cleanUps.push(() => shared.close())
    return { store: shared, heard, setClocks }
  }
  const [one, two] = [await join('one'), await join('two')]
  const wait = async (ms: number) => {
    await two.setClocks(clock.now() + ms)
    clock.advanceTo(clock.now() + ms)
    await Promise.all([one.store.idle(), two.store.idle()])
  }
  return { one, two, wait }
}

const asking = (id: string, holder: Holder | null = null): TicketRequest => ({
  id,
  resource: RESOURCE,
  flow: 'flow',
  lane: 'normal',
  weight: 1,
  estimate: costOf({ input_tokens: 10 }),
  deadlineAt: Number.POSITIVE_INFINITY,
  place: null,
  parked: false,
  holder,
})

const settle = (store: RedisStore, id: string) => store.settle(RESOURCE, id, NOTHING, true)

describe('a ticket that is asked for again, by another process', () => {
  it('has its turn told to that one, and to no other', async () => {
    const { one, two } = await openTwo()
    await one.store.enqueue(asking('first'))
    await one.store.enqueue(asking('ticket', MORTAL))
    await one.store.enqueue(asking('behind'))
    expect(await two.store.enqueue(asking('ticket', MORTAL))).toMatchObject({ kind: 'waiting' })
    await settle(one.store, 'first')
    await until('it is told', async () => two.heard.includes('granted ticket'))
    expect(await settle(two.store, 'ticket')).toBe(true)
    await until('the next is told', async () => one.heard.includes('granted behind'))
    expect(one.heard).toEqual(['lost ticket', 'granted behind'])
    expect(two.heard).toEqual(['granted ticket'])
  })

  it('lives by who renews it when the process that asked first is gone', async () => {
    const { one, two, wait } = await openTwo()
    await two.store.enqueue(asking('first'))
    await one.store.enqueue(asking('ticket', MORTAL))
    await two.store.enqueue(asking('ticket', MORTAL))
    await one.store.close()
    cleanUps.shift()
    for (let count = 0; count < 5; count++) {
      await wait(20 * SECOND)
      expect(await two.store.renew(RESOURCE, MORTAL.id, MORTAL.ttlMs)).toBe(true)
    }
    await settle(two.store, 'first')
    expect(two.heard).toEqual(['granted ticket'])
    await wait(MORTAL.ttlMs)
    expect(await two.store.tickets(RESOURCE, 10)).toEqual([])
  })

  it('is answered as the lease that it is, when the news went to a process that is gone', async () => {
    const { one, two } = await openTwo()
    await two.store.enqueue(asking('first'))
    await one.store.enqueue(asking('ticket', MORTAL))
    await one.store.close()
    cleanUps.shift()
    await settle(two.store, 'first')
    expect(await two.store.enqueue(asking('ticket', MORTAL))).toEqual({ kind: 'admitted' })
    expect(await two.store.mine(RESOURCE, ['ticket', 'first'])).toEqual(['ticket'])
    expect(await settle(two.store, 'ticket')).toBe(true)
  })

  it('is left by its own process only, be it waiting or a lease, unless anybody’s is meant', async () => {
    const { one, two } = await openTwo()
    await one.store.enqueue(asking('ticket', MORTAL))
    expect(await one.store.mine(RESOURCE, ['ticket'])).toEqual(['ticket'])
    expect(await two.store.enqueue(asking('ticket', MORTAL))).toEqual({ kind: 'admitted' })
    expect(await one.store.mine(RESOURCE, ['ticket'])).toEqual([])
    expect(await one.store.leave(RESOURCE, 'ticket', 'own')).toBe(false)
    const ticket = { request: asking('ticket', MORTAL), grantedAt: null, countedIn: null }
    expect(await one.store.rejoin(RESOURCE, [ticket], NOTHING)).toEqual([])
    expect(await two.store.rejoin(RESOURCE, [ticket], NOTHING)).toEqual(['ticket'])
    expect(await one.store.enqueue(asking('behind', { ...MORTAL, id: 'other' }))).toMatchObject({
      kind: 'waiting',
    })
    expect(await two.store.leave(RESOURCE, 'behind', 'own')).toBe(false)
    expect(await one.store.leave(RESOURCE, 'behind', 'own')).toBe(true)
    expect(await one.store.leave(RESOURCE, 'ticket', 'any')).toBe(true)
    await until('both are told', async () => two.heard.length > 0 && one.heard.length > 0)
    expect([one.heard, two.heard]).toEqual([['lost ticket'], ['lost ticket']])
    await two.store.enqueue(asking('another', MORTAL))
    expect(await two.store.leave(RESOURCE, 'another', 'own')).toBe(true)
    await one.store.enqueue(asking('lasting'))
    expect(await two.store.leave(RESOURCE, 'lasting', 'own')).toBe(true)
  })

  it('stays the first one’s where it lives and dies with that process', async () => {
    const { one, two } = await openTwo()
    await one.store.enqueue(asking('first'))
    await one.store.enqueue(asking('ticket'))
    await two.store.enqueue(asking('ticket'))
    await settle(two.store, 'first')
    await until('it is told', async () => one.heard.length > 0)
    expect([one.heard, two.heard]).toEqual([['granted ticket'], []])
  })
})

describe('a holder that dies', () => {
  it('has its tickets end, and their process told of that by whoever noticed', async () => {
    const { one, two, wait } = await openTwo()
    await one.store.enqueue(asking('ticket', MORTAL))
    // Whose promise it is to wake the gate is gone with its connection.
    await wait(MORTAL.ttlMs - 1)
    expect(await one.store.tickets(RESOURCE, 10)).toHaveLength(1)
    await two.store.renew(RESOURCE, MORTAL.id, 0.5)
    await wait(1)
    expect(await two.store.enqueue(asking('next'))).toEqual({ kind: 'admitted' })
    expect(await one.store.tickets(RESOURCE, 10)).toMatchObject([{ id: 'next', state: 'held' }])
  })
})
