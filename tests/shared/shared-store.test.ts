import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../src/core/clock.ts'
import { costOf, NOTHING } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import type { FailurePolicy } from '../../src/stores/shared/local-share.ts'
import { FakeServer } from './fake-gates.ts'
import { advance, Process, perMinute, RESOURCE, START_AT, settingsWith, slots } from './process.ts'

const STRANGER = 'stranger'
const spentIn = (server: FakeServer): number =>
  server.spent.reduce((sum, { input_tokens }) => sum + input_tokens, 0)

function open(limits: readonly Limit[], onFailure: FailurePolicy = 'degrade') {
  const clock = new VirtualClock(START_AT)
  const settings = settingsWith(...limits)
  const server = new FakeServer(clock, () => settings)
  const join = (name: string) => new Process(server, clock, name, settings, onFailure)
  const wait = (ms: number) => advance(clock, ms)
  const sharedNow = async () =>
    (await server.gates.snapshot()).find(({ name }) => name === RESOURCE)
  return { clock, server, join, wait, sharedNow, one: join('one') }
}

describe('SharedStore', () => {
  it('goes by the shared gate while that can be reached', async () => {
    const { join, one } = open([slots(1)])
    const two = join('two')
    const [first, second] = [await one.ask(), await two.ask()]
    expect([first.state, second.state]).toEqual(['held', 'waiting'])
    await one.settle(first)
    await setImmediate()
    expect(second.state).toBe('held')
    expect([one.store.kind, one.store.isDegraded]).toEqual(['fake', false])
  })

  it('keeps its tickets alive by beating, and has no timer when it has none', async () => {
    const { clock, one, wait, sharedNow } = open([slots(1)])
    const first = await one.ask()
    const second = await one.ask()
    await wait(60_000)
    expect(await sharedNow()).toMatchObject({ inFlight: 1, queued: 1 })
    await one.settle(first)
    await setImmediate()
    await one.settle(second)
    await wait(120_000)
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })

  it('finds the grant whose push was lost', async () => {
    const { one, wait } = open([slots(1)])
    const first = await one.ask()
    const second = await one.ask()
    one.gates.isDeaf = true
    await one.settle(first)
    await wait(1000)
    expect(second.state).toBe('waiting')
    one.gates.isDeaf = false
    await wait(6000)
    expect(second.state).toBe('held')
  })

  it('brings its tickets back to a server that has lost all', async () => {
    const { one, server, wait, sharedNow } = open([slots(1), perMinute(100)])
    const first = await one.ask({ input: 30 })
    const second = await one.ask({ input: 20 })
    await wait(3000)
    server.loseState()
    await wait(3000)
    expect(await sharedNow()).toMatchObject({ inFlight: 1, queued: 1 })
    await one.settle(first)
    await setImmediate()
    expect(second.state).toBe('held')
    expect(one.told).toEqual([])
  })

  it('lets nobody in at a server that has lost all before the others have brought what they hold', async () => {
    const { join, one, server, wait, sharedNow } = open([slots(2)])
    const two = join('two')
    const [first, second] = [await one.ask(), await two.ask()]
    const waiting = [await one.ask(), await one.ask()]
    await wait(3000)
    for (const { gates } of [one, two]) gates.cutOff()
    server.loseState()
    one.gates.restore()
    await wait(1000)
    two.gates.restore()
    await wait(1000)
    expect(await sharedNow()).toMatchObject({ inFlight: 2, queued: 2 })
    for (const caller of waiting) expect(caller.state).toBe('waiting')
    await one.settle(first)
    await two.settle(second)
    await wait(1000)
    for (const caller of waiting) expect(caller.state).toBe('held')
  })

  it('waits once more for a lease that the server had lost when the provider refused it', async () => {
    const { one, server, wait } = open([slots(1)])
    const first = await one.ask()
    server.loseState()
    expect(await one.bounce(first, { kind: 'disconnected', backoffMs: 100 })).toBe(true)
    await wait(1000)
    expect(first.state).toBe('held')
  })

  it('brings its tickets back when it slept so long that it was taken for dead', async () => {
    const { clock, one, sharedNow } = open([slots(1)])
    const first = await one.ask()
    const second = await one.ask()
    // Nothing goes out until all timers that were due have run, the gate's own among them.
    clock.advanceTo(START_AT + 30_000)
    expect(await sharedNow()).toMatchObject({ inFlight: 0, queued: 0 })
    await advance(clock, 5000)
    expect(await sharedNow()).toMatchObject({ inFlight: 1, queued: 1 })
    await one.settle(first)
    await setImmediate()
    expect(second.state).toBe('held')
  })

  it('leaves nothing behind of a ticket that it never heard of again', async () => {
    const { one, sharedNow, wait } = open([slots(1)])
    one.gates.faultOf = (operation) => (operation === 'enqueue' ? 'after' : 'none')
    const first = await one.ask()
    one.gates.faultOf = () => 'none'
    await one.settle(first)
    await wait(5000)
    expect((await sharedNow())?.inFlight ?? 0).toBe(0)
  })

  it('ends a lease whose push was lost when its caller leaves', async () => {
    const { one, sharedNow } = open([slots(1)])
    const first = await one.ask()
    const second = await one.ask()
    one.gates.isDeaf = true
    await one.settle(first)
    await one.leave(second)
    await setImmediate()
    expect(await sharedNow()).toMatchObject({ inFlight: 0, queued: 0 })
  })
})

describe('while the shared gates are out of reach', () => {
  it('everyone goes on, and is back when they are', async () => {
    const { one, wait, sharedNow } = open([slots(1)])
    const first = await one.ask()
    const [second, third] = [await one.ask(), await one.ask()]
    one.gates.cutOff()
    expect(one.store.isDegraded).toBe(true)
    expect(await one.settle(first)).toBe(true)
    await setImmediate()
    expect([second.state, third.state]).toEqual(['held', 'waiting'])
    const late = await one.ask()
    expect(late.state).toBe('waiting')
    expect(await one.snapshot()).toMatchObject({ inFlight: 1, queued: 2 })
    await wait(60_000)
    one.gates.restore()
    await setImmediate()
    expect(one.store.isDegraded).toBe(false)
    expect(await sharedNow()).toMatchObject({ inFlight: 1, queued: 2 })
    expect(one.told).toEqual(['degrade among 1', 'returned 1 with 3'])
    for (const caller of [second, third, late]) {
      expect(caller.state).toBe('held')
      await one.settle(caller)
      await setImmediate()
    }
    expect(await sharedNow()).toMatchObject({ inFlight: 0, queued: 0 })
  })

  it('one failed operation makes its resource local, and no other', async () => {
    const { one, wait } = open([slots(1)])
    await one.ask()
    const elsewhere = await one.ask({ resource: 'elsewhere' })
    one.gates.faultOf = (operation) => (operation === 'enqueue' ? 'before' : 'none')
    const second = await one.ask()
    expect(second.state).toBe('waiting')
    one.gates.faultOf = (operation) => (operation === 'rejoin' ? 'before' : 'none')
    expect(await one.store.position('elsewhere', elsewhere.id)).toBeNull()
    await wait(10_000)
    expect(one.told).toEqual(['degrade among 1'])
    one.gates.faultOf = () => 'none'
    await wait(3000)
    expect(one.told).toEqual(['degrade among 1', 'returned 1 with 2'])
  })

  it('asks whether they are back ever more rarely, and never more often than it has to', async () => {
    const { one, wait } = open([slots(1)])
    let probes = 0
    one.gates.faultOf = (operation) => {
      if (operation === 'probe') probes++
      return 'before'
    }
    await one.ask()
    await wait(1000)
    expect(probes).toBeGreaterThanOrEqual(2)
    await wait(59_000)
    expect(probes).toBeLessThanOrEqual(64)
    expect(probes).toBeGreaterThanOrEqual(30)
  })

  it('an operation on its way is answered at once, by where its ticket is now', async () => {
    const { one, wait } = open([slots(1)])
    one.gates.latencyMs = () => 1000
    const [first, second] = [one.ask(), one.ask()]
    await wait(500)
    one.gates.cutOff()
    expect([(await first).state, (await second).state]).toEqual(['held', 'waiting'])
  })

  it('each has its share of what was left, and all together no more than the whole', async () => {
    const { join, one, wait } = open([perMinute(600)])
    const two = join('two')
    const processes = [one, two]
    for (const process of processes) await process.ask({ input: 100 })
    // Both know of each other by then, but not of what follows.
    await wait(2500)
    for (let count = 0; count < 3; count++) await one.ask({ input: 50 })
    for (const process of processes) process.gates.cutOff()
    for (let count = 0; count < 60; count++) {
      await wait(1000)
      for (const process of processes) await process.ask({ input: 20 })
    }
    const takes = processes.flatMap((process) => process.takes).sort((a, b) => a.at - b.at)
    let taken = 0
    for (const { at, cost } of takes) {
      taken += cost.input_tokens
      // What a full bucket held, and what has come in since.
      expect(taken).toBeLessThanOrEqual(600 + (at - START_AT) / 100)
    }
    expect(taken).toBeGreaterThan(900)
  })

  it('slots are shared out, one at the least', async () => {
    const { join, one, wait } = open([slots(5)])
    const [two, three] = [join('two'), join('three')]
    const processes = [one, two, three]
    for (const process of processes) await process.ask()
    await wait(2500)
    for (const process of processes) {
      process.gates.cutOff()
      for (let count = 0; count < 4; count++) await process.ask()
      expect(process.held.length).toBe(1)
    }
  })

  it('what was spent is told once, however often that is begun', async () => {
    const { one, server, wait } = open([perMinute(1000)])
    const before = await one.ask({ input: 100 })
    one.gates.cutOff()
    const [settled, guessed, released] = [
      await one.ask({ input: 200 }),
      await one.ask({ input: 50 }),
      await one.ask({ input: 70 }),
    ]
    await one.settle(before, 40)
    await one.settle(settled, 120)
    await one.settle(guessed, 10, false)
    await one.release(released)
    let failures = 3
    one.gates.faultOf = (operation) =>
      ['settle', 'rejoin', 'owned'].includes(operation) && failures-- > 0 ? 'before' : 'none'
    one.gates.restore()
    await wait(20_000)
    expect(one.store.isDegraded).toBe(false)
    expect(spentIn(server)).toBe(120 + 50)
    one.gates.cutOff()
    one.gates.restore()
    await wait(20_000)
    expect(spentIn(server)).toBe(120 + 50)
  })

  it('what a lease took before is not counted anew, unless the server has lost it', async () => {
    for (const hasLost of [false, true]) {
      const { one, server, sharedNow } = open([perMinute(1000), slots(5)])
      await one.ask({ input: 400 })
      const second = await one.ask({ input: 300 })
      one.gates.cutOff()
      if (hasLost) server.loseState()
      await one.settle(second, 200)
      one.gates.restore()
      await setImmediate()
      const limits = (await sharedNow())?.limits
      expect(limits?.map(({ remaining }) => remaining)).toEqual([400, 4])
    }
  })

  it('leases that it has let in itself are counted on return', async () => {
    const { one, sharedNow } = open([perMinute(1000), slots(5)])
    one.gates.cutOff()
    await one.ask({ input: 300 })
    one.gates.restore()
    await setImmediate()
    const limits = (await sharedNow())?.limits
    expect(limits?.map(({ remaining }) => remaining)).toEqual([700, 4])
  })

  it('brings back a line of any length', async () => {
    const { one, sharedNow, wait } = open([slots(1)])
    one.gates.cutOff()
    for (let count = 0; count < 501; count++) await one.ask()
    one.gates.restore()
    await wait(100)
    expect(await sharedNow()).toMatchObject({ inFlight: 1, queued: 500 })
    for (let count = 0; count < 501; count++) {
      for (const caller of one.in('held')) await one.settle(caller)
      await setImmediate()
    }
    expect(one.in('over').length).toBe(501)
  })

  it('keeps those in their order who waited before', async () => {
    const { one, wait } = open([slots(1)])
    await one.ask()
    const callers = []
    for (let count = 0; count < 4; count++) {
      callers.push(await one.ask())
      await wait(10)
    }
    one.gates.cutOff()
    callers.push(await one.ask())
    await wait(12_000)
    one.gates.restore()
    await wait(100)
    const order: string[] = []
    one.onTake = () => order.push(one.held[0] ?? '')
    for (let count = 0; count < 6; count++) {
      for (const caller of one.in('held')) await one.settle(caller)
      await setImmediate()
    }
    expect(order).toEqual(callers.map(({ id }) => id))
  })

  it('a parked ticket that was brought back in line meanwhile is in line there too', async () => {
    const { one, wait } = open([slots(1)])
    const first = await one.ask()
    const parked = await one.ask({ parked: true })
    one.gates.cutOff()
    await one.unpark(parked)
    one.gates.restore()
    await wait(100)
    await one.settle(first)
    await setImmediate()
    expect(parked.state).toBe('held')
  })

  it('a lease that the provider refuses meanwhile waits its turn there too', async () => {
    const { one, wait, sharedNow } = open([slots(1)])
    const first = await one.ask()
    one.gates.cutOff()
    const observation = { limits: [], sentAt: START_AT }
    await one.bounce(first, { kind: 'rate_limited', retryAfterMs: 60_000, observation })
    await setImmediate()
    expect(first.state).toBe('waiting')
    one.gates.restore()
    await wait(100)
    expect(first.state).toBe('held')
    expect(await sharedNow()).toMatchObject({ inFlight: 1, queued: 0 })
  })

  it('a resource that was merged meanwhile is merged there too', async () => {
    const { join, one, wait, server } = open([slots(1)])
    const two = join('two')
    const first = await one.ask()
    const second = await one.ask()
    one.gates.cutOff()
    await one.merge('organization')
    await one.settle(first)
    await setImmediate()
    expect(second.state).toBe('held')
    one.gates.restore()
    await wait(100)
    expect((await server.gates.snapshot()).map(({ name }) => name)).toEqual(['organization'])
    const third = await two.ask()
    expect(third.state).toBe('waiting')
    await one.settle(second)
    await setImmediate()
    expect(third.state).toBe('held')
  })

  it('what another has merged is merged here, whatever it is called', async () => {
    const { join, one, wait } = open([slots(1)])
    const two = join('two')
    const first = await one.ask()
    const second = await one.ask()
    await two.ask()
    await two.merge('organization')
    expect(await one.settle(first)).toBe(true)
    await wait(5000)
    expect(second.state).toBe('held')
    expect(await one.settle(second)).toBe(true)
  })

  it('a holder that falls silent is forgotten', async () => {
    const { one, wait, sharedNow } = open([slots(2)])
    await one.ask({ holder: { id: 'h', ttlMs: 3000 } })
    expect(await one.store.renew(RESOURCE, 'h', 5000)).toBe(true)
    expect(await one.store.renew(RESOURCE, STRANGER, 5000)).toBe(false)
    await wait(20_000)
    one.gates.cutOff()
    one.gates.restore()
    await wait(100)
    expect((await sharedNow())?.inFlight ?? 0).toBe(0)
  })

  it('says nothing more, and waits for nothing, once it is closed', async () => {
    const { clock, one, server, wait } = open([slots(1)])
    await one.ask()
    one.gates.cutOff()
    await one.ask()
    await one.store.close()
    await server.gates.close()
    await wait(100)
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('the failure policy', () => {
  it('open lets all in', async () => {
    const { one } = open([slots(1), perMinute(10)], 'open')
    await one.ask()
    const second = await one.ask()
    one.gates.cutOff()
    await setImmediate()
    expect(second.state).toBe('held')
    await one.ask({ input: 1000 })
    expect(one.held.length).toBe(3)
  })

  it('open still heeds a pause', async () => {
    const { clock, one, wait } = open([slots(1)], 'open')
    one.gates.cutOff()
    await one.store.pause(RESOURCE, clock.now() + 1000)
    const caller = await one.ask()
    expect(caller.state).toBe('waiting')
    await wait(1000)
    expect(caller.state).toBe('held')
  })

  it('closed takes nobody new; those who wait go on waiting, those in flight finish', async () => {
    const { one, wait } = open([slots(1)], 'closed')
    const first = await one.ask()
    const second = await one.ask()
    one.gates.cutOff()
    expect((await one.ask()).state).toBe('refused')
    expect(await one.settle(first)).toBe(true)
    await wait(4_000_000)
    expect(second.state).toBe('waiting')
    expect((await one.ask()).state).toBe('refused')
    one.gates.restore()
    await setImmediate()
    expect(second.state).toBe('held')
    await one.settle(second)
    expect((await one.ask()).state).toBe('held')
  })

  it('closed leaves nothing of those it has turned away', async () => {
    const { one, wait, sharedNow } = open([slots(1)], 'closed')
    one.gates.faultOf = (operation) => (operation === 'enqueue' ? 'after' : 'none')
    expect((await one.ask()).state).toBe('refused')
    one.gates.faultOf = () => 'none'
    await wait(5000)
    expect((await sharedNow())?.inFlight ?? 0).toBe(0)
    expect(await one.store.settle(RESOURCE, STRANGER, NOTHING, true)).toBe(false)
    expect(await one.store.revise(RESOURCE, STRANGER, costOf({}), null)).toBe(false)
  })
})
