// A ticket with a holder of its own is not bound to a process: others may ask for it, renew and end it.
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../src/core/clock.ts'
import { FakeServer } from './fake-gates.ts'
import { advance, Process, RESOURCE, START_AT, settingsWith, slots } from './process.ts'

const SECOND = 1000
const MORTAL = { id: 'holder', ttlMs: 30 * SECOND }
const TICKET = { id: 'ticket', holder: MORTAL }

function open(amount: number) {
  const clock = new VirtualClock(START_AT)
  const settings = settingsWith(slots(amount))
  const server = new FakeServer(clock, () => settings)
  const [one, two] = ['one', 'two'].map((name) => new Process(server, clock, name, settings))
  if (!one || !two) throw new Error('there are two')
  const sharedNow = async () => (await server.gates.tickets(RESOURCE, 10)).map(({ id }) => id)
  const renew = (process: Process, ttlMs = MORTAL.ttlMs) =>
    process.store.renew(RESOURCE, MORTAL.id, ttlMs)
  return { server, one, two, sharedNow, renew, wait: (ms: number) => advance(clock, ms) }
}

/** Its connection is lost and comes back: it brings all that it thinks it has. */
async function blink(process: Process): Promise<void> {
  process.gates.cutOff()
  process.gates.restore()
  await setImmediate()
}

/** One process has the only slot, and a ticket in line behind it. */
async function inLine(given: ReturnType<typeof open>) {
  const { one } = given
  const first = await one.ask()
  const before = await one.ask(TICKET)
  expect(before.state).toBe('waiting')
  return { first, before }
}

describe('a ticket that another process asks for', () => {
  it('has its turn told to that one, and to no other', async () => {
    const given = open(1)
    const { one, two } = given
    const { first, before } = await inLine(given)
    const after = await two.ask(TICKET)
    await one.settle(first)
    await setImmediate()
    expect([before.state, after.state]).toEqual(['waiting', 'held'])
  })

  it('has had its turn when the news went to one that is dead', async () => {
    const given = open(1)
    const { one, two, sharedNow } = given
    const { first } = await inLine(given)
    await one.settle(first)
    await one.store.close()
    expect((await two.ask(TICKET)).state).toBe('held')
    expect(await sharedNow()).toEqual([TICKET.id])
  })

  it('is not taken for its own lease by the process that had it before', async () => {
    for (const isDeaf of [false, true]) {
      const given = open(1)
      const { one, two, sharedNow } = given
      const { first, before } = await inLine(given)
      one.gates.isDeaf = isDeaf
      // Its caller has gone to the other process: whatever comes of it here is given back.
      before.state = 'left'
      const after = await two.ask(TICKET)
      await one.settle(first)
      await setImmediate()
      await blink(one)
      expect(after.state).toBe('held')
      expect(await sharedNow()).toEqual([TICKET.id])
    }
  })

  it('is not ended by the process that had it before, be it a lease or not', async () => {
    for (const isDeaf of [false, true]) {
      const given = open(1)
      const { one, two, sharedNow } = given
      const { first, before } = await inLine(given)
      one.gates.isDeaf = isDeaf
      await two.ask(TICKET)
      expect(await one.store.leave(RESOURCE, before.id, 'own')).toBe(false)
      expect(await sharedNow()).toEqual(['one0', TICKET.id])
      await one.settle(first)
      expect(await one.store.leave(RESOURCE, before.id, 'own')).toBe(false)
      expect(await sharedNow()).toEqual([TICKET.id])
      expect(await one.store.leave(RESOURCE, before.id, 'any')).toBe(true)
      expect(await sharedNow()).toEqual([])
    }
  })

  it('is no stranger to be ended, though the news of its turn is on its way to another', async () => {
    const given = open(1)
    const { one, two, renew, wait, sharedNow } = given
    const { first } = await inLine(given)
    // Only the other process hears of its holder: this one takes it for dead in the end.
    for (let count = 0; count < 5; count++) {
      await wait(10 * SECOND)
      await renew(two)
    }
    one.gates.latencyMs = () => SECOND
    const settled = one.settle(first)
    await wait(1.5 * SECOND)
    expect((await two.ask(TICKET)).state).toBe('held')
    await wait(5 * SECOND)
    expect(await settled).toBe(true)
    expect(await sharedNow()).toEqual([TICKET.id])
  })

  it('is a stranger to be ended where nobody asks for it', async () => {
    const given = open(1)
    const { one, two, renew, wait, sharedNow } = given
    const { first } = await inLine(given)
    for (let count = 0; count < 5; count++) {
      await wait(10 * SECOND)
      await renew(two)
    }
    await one.settle(first)
    await wait(SECOND)
    expect(await sharedNow()).toEqual([])
  })

  it('may come back to the process that had it first, be the news of its loss on the way', async () => {
    const given = open(1)
    const { one, two, wait, sharedNow } = given
    const { first, before } = await inLine(given)
    await wait(1)
    one.gates.latencyMs = () => SECOND
    await two.ask(TICKET)
    await wait(100)
    const again = one.ask(TICKET)
    await wait(3 * SECOND)
    expect((await again).state).toBe('waiting')
    void one.settle(first)
    await wait(3 * SECOND)
    expect([before.state, two.held]).toEqual(['held', []])
    await blink(two)
    expect(await sharedNow()).toEqual([TICKET.id])
  })
})

describe('a lease that another process ends', () => {
  it('is not brought back, be the news of it lost', async () => {
    for (const isDeaf of [false, true]) {
      const { one, two, sharedNow, wait } = open(2)
      await one.ask()
      const lease = await one.ask(TICKET)
      await wait(3 * SECOND)
      one.gates.isDeaf = isDeaf
      expect(await two.settle(lease)).toBe(true)
      await setImmediate()
      await blink(one)
      expect(await sharedNow()).toEqual(['one0'])
    }
  })

  it('is not brought to a gate that has begun anew since nobody was there', async () => {
    const { server, one, two, sharedNow, wait } = open(1)
    const lease = await one.ask(TICKET)
    await wait(3 * SECOND)
    await two.settle(lease)
    server.loseState()
    await wait(20 * SECOND)
    expect(await sharedNow()).toEqual([])
  })

  it('is brought back where the gate could not hear of its holder for too long', async () => {
    const { one, renew, wait, sharedNow } = open(1)
    await one.ask(TICKET)
    await wait(3 * SECOND)
    one.gates.cutOff()
    for (let count = 0; count < 4; count++) {
      await wait(10 * SECOND)
      expect(await renew(one)).toBe(true)
    }
    expect(await sharedNow()).toEqual([])
    one.gates.restore()
    await setImmediate()
    expect(await sharedNow()).toEqual([TICKET.id])
  })
})

describe('a lease that a gate has lost', () => {
  it('comes back to last as long as its holder was said to live, be it longer or shorter', async () => {
    for (const ttlMs of [3600 * SECOND, 8 * SECOND]) {
      const { server, one, renew, wait } = open(1)
      await one.ask(TICKET)
      await renew(one, ttlMs)
      await wait(3 * SECOND)
      server.loseState()
      await wait(3 * SECOND)
      const [lease] = await server.gates.tickets(RESOURCE, 10)
      expect(lease?.expiresAt).toBeCloseTo(START_AT + ttlMs, 0)
    }
  })
})
