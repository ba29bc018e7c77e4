// What a caller of any store can count on, one plain case each.
import { describe, expect, it } from 'vitest'
import type { Bounce } from '../../src/core/admission.ts'
import { costOf, NOTHING } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import type { ObservedLimit } from '../../src/core/observation.ts'
import { Line, RESOURCE, START_AT, type StoreUnderTest, type settingsOf } from './line.ts'

const bucket = (amount: number, windowMs = 1000): Limit => ({
  algorithm: 'token_bucket',
  dimension: 'input_tokens',
  amount,
  windowMs,
  source: 'configured',
})

const slots = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

const inputs = (input_tokens: number) => costOf({ input_tokens })

const refusal = (retryAfterMs: number | null, sentAt = START_AT): Bounce => ({
  kind: 'rate_limited',
  retryAfterMs,
  observation: { limits: [], sentAt },
})

const observed = (remaining: number, amount = 60_000): ObservedLimit => ({
  dimension: 'input_tokens',
  amount,
  remaining,
  roundedBy: 0,
  fullInMs: null,
  fullInErrorMs: 0,
})

export function cases(underTest: StoreUnderTest): void {
  const open = (settings: Parameters<typeof settingsOf>[0]) => Line.open(underTest, settings)
  const unlessExempt = (what: (typeof underTest.exempt)[number]) =>
    it.skipIf(underTest.exempt.includes(what))

  describe('a lease', () => {
    it('ends once: settling again, or after a release, changes nothing', async () => {
      const line = await open({ limits: [bucket(100), slots(1)] })
      const [first, second] = [await line.add({ input: 40 }), await line.add({ input: 40 })]
      expect(await line.settle(first, inputs(10))).toBe(true)
      expect(await line.settle(first, inputs(90))).toBe(false)
      expect(await line.release(second)).toBe(true)
      expect(await line.settle(second, inputs(90))).toBe(false)
      expect(await line.release('stranger')).toBe(false)
      const snapshot = await line.snapshot()
      expect(snapshot?.inFlight).toBe(0)
      expect(snapshot?.limits.map((limit) => limit.remaining)).toEqual([90, 1])
    })

    it('that is settled by estimate may be charged more, never less', async () => {
      const line = await open({ limits: [bucket(100)] })
      const cheap = await line.add({ input: 40 })
      await line.settle(cheap, inputs(10), false)
      expect((await line.snapshot())?.limits[0]?.remaining).toBe(60)
      const dear = await line.add({ input: 40 })
      await line.settle(dear, inputs(70), false)
      expect((await line.snapshot())?.limits[0]?.remaining).toBe(-10)
    })

    it('that proves dearer before it is used waits again for its turn, at its new price', async () => {
      const line = await open({ limits: [bucket(100)] })
      const first = await line.add({ input: 40 })
      const second = await line.add({ input: 80 })
      await line.bounce(first, { kind: 'repriced', estimate: inputs(90) })
      expect(line.pushed).toEqual([first])
      expect((await line.snapshot())?.limits[0]?.remaining).toBe(10)
      await line.drain()
      expect(line.pushed).toEqual([first, second])
    })

    it('lets others in as its estimate is disproved', async () => {
      const line = await open({ limits: [bucket(100)] })
      const first = await line.add({ input: 100 })
      const second = await line.add({ input: 40 })
      expect(line.admitted).toEqual([first])
      expect(await line.revise(first, inputs(60), 0)).toBe(true)
      expect(line.admitted).toEqual([first, second])
      expect(await line.revise('stranger', inputs(1), 0)).toBe(false)
    })

    it('is no waiting ticket: it cannot be cancelled', async () => {
      const line = await open({ limits: [bucket(100)] })
      const id = await line.add()
      expect(await line.cancel(id)).toBeNull()
      expect(await line.cancel('stranger')).toBeNull()
      expect((await line.snapshot())?.inFlight).toBe(1)
    })

    it('has its id to itself: asked again, the store answers how it stands', async () => {
      const line = await open({ limits: [bucket(100), slots(1)] })
      await line.enqueue({ id: 'same', input: 40 })
      expect(await line.enqueue({ id: 'same', input: 40 })).toEqual({ kind: 'admitted' })
      await line.enqueue({ id: 'next', input: 40 })
      const hopeless = { id: 'next', input: 4000, deadlineAt: START_AT }
      expect(await line.enqueue(hopeless)).toMatchObject({ kind: 'waiting', position: 0 })
      const snapshot = await line.snapshot()
      expect(snapshot).toMatchObject({ inFlight: 1, queued: 1 })
      expect(snapshot?.limits[0]?.remaining).toBe(60)
      await line.settle('same')
      expect(line.pushed).toEqual(['next'])
      expect(await line.enqueue({ id: 'next', input: 40 })).toEqual({ kind: 'admitted' })
      expect((await line.snapshot())?.inFlight).toBe(1)
    })
  })

  describe('an admission', () => {
    it('is answered or pushed, never both', async () => {
      const line = await open({ limits: [slots(1)] })
      const [first, second] = [await line.add(), await line.add()]
      expect(line.pushed).toEqual([])
      await line.settle(first)
      expect(line.pushed).toEqual([second])
      await line.wait(100_000)
      expect(line.pushed).toEqual([second])
    })

    it('happens at the very instant that was named', async () => {
      const line = await open({ limits: [bucket(1000, 60_000)] })
      await line.add({ input: 1000 })
      const placement = await line.enqueue({ id: 'next', input: 7 })
      expect(placement).toMatchObject({ kind: 'waiting', position: 0 })
      const nextAt = (await line.snapshot())?.nextAt ?? 0
      expect(nextAt).toBeCloseTo(START_AT + 420, 2)
      await line.at.advance(nextAt - 0.01)
      expect(line.pushed).toEqual([])
      await line.at.advance(nextAt)
      expect(line.pushed).toEqual(['next'])
    })

    it('goes to flows in turn where only slots are limited', async () => {
      const line = await open({ limits: [slots(1)] })
      await line.add({ flow: 'other' })
      for (let count = 0; count < 5; count++) await line.add({ id: `a${count}`, flow: 'a' })
      for (let count = 0; count < 3; count++) await line.add({ id: `b${count}`, flow: 'b' })
      await line.drain()
      expect(line.admitted.slice(1)).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2', 'a3', 'a4'])
    })

    it('comes to a low lane under a constant stream of a high one', async () => {
      const line = await open({ limits: [bucket(100)], agingMs: 5000 })
      await line.add({ input: 100 })
      const patient = await line.add({ lane: 'low', flow: 'patient', input: 100 })
      for (let count = 0; count < 400 && !line.admitted.includes(patient); count++) {
        await line.add({ lane: 'critical', flow: 'greedy', input: 10 })
        await line.wait(90)
      }
      expect(line.admitted).toContain(patient)
      expect(line.now - START_AT).toBeLessThan(25_000)
    })
  })

  describe('a place', () => {
    it('that is given back keeps its turn', async () => {
      const line = await open({ limits: [slots(1)] })
      const held = await line.add()
      const first = await line.add({ flow: 'a' })
      await line.wait(1)
      const second = await line.add({ flow: 'b' })
      await line.wait(1000)
      const place = await line.cancel(first)
      expect(place).toMatchObject({ enqueuedAt: START_AT, lane: 'normal' })
      const third = await line.add({ flow: 'c' })
      await line.enqueue({ id: 'back', flow: 'a', place })
      expect((await line.snapshot())?.oldestEnqueuedAt).toBe(START_AT)
      await line.drain()
      expect(line.admitted).toEqual([held, 'back', second, third])
    })

    it('keeps the lane that it had risen to', async () => {
      const line = await open({ limits: [slots(1)], agingMs: 1000 })
      const held = await line.add()
      const low = await line.add({ lane: 'low', flow: 'a' })
      await line.wait(1500)
      const high = await line.add({ lane: 'high' })
      const other = await line.add({ lane: 'low', flow: 'b' })
      await line.settle(held)
      const place = await line.cancel(low)
      expect(place?.lane).toBe('normal')
      await line.enqueue({ id: 'back', lane: 'low', flow: 'a', place })
      await line.drain()
      expect(line.admitted).toEqual([held, high, 'back', other])
    })
  })

  describe('a refusal', () => {
    it('comes at once when the deadline cannot be met, with the prediction', async () => {
      const line = await open({ limits: [bucket(100, 1000)] })
      await line.add({ input: 100 })
      await line.add({ flow: 'a', input: 50 })
      const placement = await line.enqueue({
        flow: 'b',
        input: 50,
        deadlineAt: START_AT + 800,
      })
      expect(placement).toMatchObject({ kind: 'refused', reason: 'wait_too_long', position: 1 })
      if (placement.kind !== 'refused') return
      expect(placement.expectedAt).toBeCloseTo(START_AT + 1000, 2)
      expect(placement.boundBy).toMatchObject({ kind: 'limit', limit: { amount: 100 } })
      expect((await line.snapshot())?.queued).toBe(1)
      const patient = { flow: 'b', input: 50, deadlineAt: START_AT + 1100 }
      expect(await line.enqueue(patient)).toMatchObject({ kind: 'waiting' })
    })

    it('comes at once although nobody waits, when nothing can pass in time', async () => {
      const line = await open({ limits: [bucket(100)] })
      await line.pause(10_000)
      const hurried = { deadlineAt: START_AT + 9000 }
      expect(await line.enqueue(hurried)).toMatchObject({
        kind: 'refused',
        reason: 'wait_too_long',
        expectedAt: START_AT + 10_000,
        boundBy: { kind: 'paused' },
      })
      expect(await line.snapshot()).toMatchObject({ queued: 0, nextAt: null, boundBy: null })
    })

    it('does not come where only an event can tell the wait', async () => {
      const line = await open({ limits: [slots(1)] })
      await line.add()
      expect(await line.enqueue({ deadlineAt: START_AT + 1 })).toMatchObject({
        kind: 'waiting',
        expectedAt: Number.POSITIVE_INFINITY,
      })
    })

    it('does not come to an oversized ticket for its own size', async () => {
      const line = await open({ limits: [bucket(100, 1000)] })
      await line.add({ input: 50 })
      const placement = await line.enqueue({ input: 5000, deadlineAt: START_AT + 600 })
      expect(placement).toMatchObject({ kind: 'waiting' })
    })

    it('comes when the line is full, though never to one who can pass', async () => {
      const line = await open({ limits: [slots(1)], maxQueued: 2 })
      const held = await line.add()
      const [first, second] = [await line.add(), await line.add()]
      const placement = await line.enqueue({ id: 'late' })
      expect(placement).toMatchObject({ kind: 'refused', reason: 'queue_full', position: 2 })
      expect(await line.cancel('late')).toBeNull()
      await line.settle(held)
      expect(line.admitted).toEqual([held, first])
      await line.settle(first)
      await line.settle(second)
      for (const id of ['p', 'q']) await line.enqueue({ id, parked: true })
      expect(await line.enqueue({ id: 'passer' })).toEqual({ kind: 'admitted' })
      expect(await line.enqueue({ parked: true })).toMatchObject({ reason: 'queue_full' })
    })
  })

  describe('a parked ticket', () => {
    it('blocks nobody, and returns to where it would be by now', async () => {
      const line = await open({ limits: [slots(1)] })
      const held = await line.add()
      const parked = await line.add({ flow: 'a', parked: true })
      const [second, third] = [await line.add({ flow: 'b' }), await line.add({ flow: 'a' })]
      await line.settle(held)
      expect(line.admitted).toEqual([held, second])
      expect((await line.snapshot())?.queued).toBe(2)
      expect(await line.unpark(parked, inputs(3))).toBe(true)
      expect(await line.unpark(parked, inputs(3))).toBe(false)
      await line.drain()
      expect(line.admitted).toEqual([held, second, parked, third])
    })

    it('is admitted at once when it returns to a free gate, and can be cancelled', async () => {
      const line = await open({ limits: [slots(2)] })
      const [first, second] = [await line.add({ parked: true }), await line.add({ parked: true })]
      await line.wait(10_000)
      expect(line.admitted).toEqual([])
      await line.unpark(first)
      expect(line.pushed).toEqual([first])
      expect(await line.cancel(second)).toMatchObject({ enqueuedAt: START_AT })
      expect(await line.unpark(second)).toBe(false)
    })
  })

  describe('a merge', () => {
    unlessExempt('merge')('loses nobody and keeps the order', async () => {
      const line = await open({ limits: [slots(1)] })
      const from = await line.add({ resource: 'from', flow: 'a' })
      const into = await line.add({ flow: 'b' })
      const waiting: string[] = []
      for (const [index, flow] of ['a', 'a', 'c', 'a'].entries()) {
        waiting.push(await line.add({ id: `${flow}${index}`, resource: 'from', flow }))
        await line.wait(1)
      }
      const last = await line.add({ flow: 'b' })
      for (const caller of line.waiting) Object.assign(caller, { resource: RESOURCE })
      await line.store.merge('from', RESOURCE)
      expect(await line.snapshot('from')).toBeUndefined()
      expect(await line.snapshot()).toMatchObject({ queued: 5, inFlight: 2 })
      expect(await line.settle(from)).toBe(true)
      await line.drain()
      expect(line.admitted).toEqual([from, into, 'a0', 'c2', last, 'a1', 'a3'])
    })

    unlessExempt('merge')('counts leases of both as one', async () => {
      const line = await open({ limits: [slots(2)] })
      for (let held = 0; held < 2; held++) await line.add({ resource: 'from' })
      const low = await line.add({ resource: 'from', lane: 'low' })
      const high = await line.add({ resource: 'from', lane: 'high' })
      for (const caller of line.waiting) Object.assign(caller, { resource: RESOURCE })
      await line.store.merge('from', RESOURCE)
      await line.at.delivered()
      // What the leases hold, they hold of the other from now on.
      expect(line.pushed).toEqual([])
      const [first] = line.admitted
      await line.settle(first ?? '')
      expect(line.pushed).toEqual([high])
      await line.store.merge('unknown', RESOURCE)
      await line.store.merge(RESOURCE, RESOURCE)
      expect(line.waiting.map(({ id }) => id)).toEqual([low])
    })
  })

  describe('a refusal by the provider', () => {
    it('puts the ticket at the front of its flow, for nothing, and pauses', async () => {
      const line = await open({ limits: [bucket(100)] })
      const [first, second] = [await line.add({ input: 60 }), await line.add({ input: 60 })]
      expect(await line.bounce(first, refusal(5000))).toBe(true)
      expect(await line.bounce('stranger', refusal(5000))).toBe(false)
      const snapshot = await line.snapshot()
      expect(snapshot).toMatchObject({ pausedUntil: START_AT + 5000, nextAt: START_AT + 5000 })
      expect(snapshot?.boundBy).toEqual({ kind: 'paused' })
      expect(snapshot?.limits[0]?.remaining).toBe(100)
      await line.wait(4999)
      expect(line.pushed).toEqual([])
      await line.wait(1)
      expect(line.pushed).toEqual([first])
      await line.settle(first)
      await line.drain()
      expect(line.pushed).toEqual([first, second])
    })

    it('keeps the order of those that it hits together', async () => {
      const line = await open({ limits: [slots(3)] })
      const ids = [await line.add(), await line.add(), await line.add()]
      for (const id of ids) await line.bounce(id, refusal(1000))
      const last = await line.add()
      await line.wait(1000)
      await line.drain()
      expect(line.pushed).toEqual([...ids, last])
    })

    it('starts again from one, however many are answered that left before', async () => {
      const line = await open({ limits: [slots(100)] })
      const old: string[] = []
      for (let count = 0; count < 20; count++) old.push(await line.add())
      for (let count = 0; count < 10; count++) await line.bounce(old[count] ?? '', refusal(1000))
      for (let count = 0; count < 10; count++) await line.answered()
      await line.wait(1000)
      expect(line.pushed.length).toBe(1)
      expect((await line.snapshot())?.boundBy).toEqual({ kind: 'ramp' })
      await line.answered()
      expect(line.pushed.length).toBe(3)
      await line.wait(2000)
      expect(line.pushed.length).toBe(10)
    })

    it('that names no time pauses longer each time, until an answer comes', async () => {
      const line = await open({ limits: [slots(1)] })
      const id = await line.add()
      const pauseMs = async (): Promise<number> => {
        await line.bounce(id, refusal(null, line.now))
        const pausedUntil = (await line.snapshot())?.pausedUntil ?? 0
        const ms = pausedUntil - line.now
        await line.wait(ms)
        return Math.round(ms)
      }
      expect([await pauseMs(), await pauseMs(), await pauseMs()]).toEqual([1000, 2000, 4000])
      await line.answered()
      expect(await pauseMs()).toBe(1000)
    })

    it('is one refusal for all that had left before it was known', async () => {
      const line = await open({ limits: [slots(5)] })
      const ids: string[] = []
      for (let count = 0; count < 5; count++) ids.push(await line.add())
      await line.wait(10)
      for (const id of ids) await line.bounce(id, refusal(null))
      const next = await line.waitForNext().then(() => line.pushed[0] ?? '')
      await line.bounce(next, refusal(null, line.now))
      expect((await line.snapshot())?.pausedUntil).toBeCloseTo(line.now + 2000, 3)
    })
  })

  describe('a pause', () => {
    it('is never shortened', async () => {
      const line = await open({ limits: [bucket(100)] })
      await line.pause(5000)
      await line.pause(1000)
      const first = await line.add()
      await line.wait(4999)
      expect(line.pushed).toEqual([])
      await line.wait(1)
      expect(line.pushed).toEqual([first])
      expect((await line.snapshot())?.pausedUntil).toBeNull()
    })

    it('is not shortened by a refusal either, and has a bound', async () => {
      const line = await open({ limits: [bucket(100)] })
      const id = await line.add()
      await line.pause(5000)
      await line.bounce(id, refusal(1000))
      expect((await line.snapshot())?.pausedUntil).toBe(START_AT + 5000)
      await line.pause(1e12)
      expect((await line.snapshot())?.pausedUntil).toBe(START_AT + 3_600_000)
    })
  })

  describe('an overload', () => {
    const overloaded: Bounce = { kind: 'overloaded', backoffMs: 100 }

    it('is retried after its back-off, for nothing', async () => {
      const line = await open({ limits: [bucket(100)] })
      const id = await line.add({ input: 60 })
      await line.bounce(id, overloaded)
      const snapshot = await line.snapshot()
      expect(snapshot).toMatchObject({ queued: 1, inFlight: 0, nextAt: START_AT + 100 })
      expect(snapshot?.limits[0]?.remaining).toBe(100)
      await line.wait(100)
      expect(line.pushed).toEqual([id])
      await line.bounce(id, overloaded)
      expect(await line.cancel(id)).toMatchObject({ enqueuedAt: START_AT })
      expect((await line.snapshot())?.nextAt ?? null).toBeNull()
    })

    it('is retried within a budget that all share', async () => {
      const line = await open({ limits: [slots(100)] })
      const ids: string[] = []
      for (let count = 0; count < 30; count++) ids.push(await line.add())
      for (const id of ids) await line.bounce(id, overloaded)
      await line.wait(100)
      expect(line.pushed.length).toBe(10)
      for (let second = 1; second <= 45; second++) {
        for (const { id } of [...line.held]) await line.settle(id)
        await line.wait(1000)
        expect(line.pushed.length).toBe(10 + Math.floor(second / 3))
      }
    })

    it('bounds how many are in flight, once there are many of them', async () => {
      const line = await open({ limits: [slots(100)] })
      const ids: string[] = []
      for (let count = 0; count < 10; count++) ids.push(await line.add())
      for (const id of ids.slice(0, 2)) await line.bounce(id, overloaded)
      expect((await line.snapshot())?.concurrencyLimit).toBeNull()
      await line.bounce(ids[2] ?? '', overloaded)
      expect((await line.snapshot())?.concurrencyLimit).toBe(7)
      const placement = await line.enqueue({})
      expect(placement).toMatchObject({ kind: 'waiting', boundBy: { kind: 'overload' } })
      await line.settle(ids[3] ?? '')
      expect(line.pushed.length).toBe(1)
    })
  })

  describe('a resource that learns', () => {
    it('starts slowly until its limits are known', async () => {
      const line = await open({ learns: true })
      for (let count = 0; count < 50; count++) await line.add()
      expect(line.admitted.length).toBe(4)
      expect((await line.snapshot())?.boundBy).toEqual({ kind: 'ramp' })
      await line.wait(1000)
      expect(line.admitted.length).toBe(8)
      const limits = [observed(60_000)]
      await line.store.observe(RESOURCE, { limits, sentAt: line.now })
      await line.at.delivered()
      expect(line.admitted.length).toBe(50)
      expect((await line.snapshot())?.limits).toMatchObject([{ amount: 60_000, source: 'learnt' }])
    })

    it('admits nothing under the hard floor', async () => {
      const line = await open({ learns: true, floors: { soft: 0, hard: 20_000 } })
      await line.store.observe(RESOURCE, { limits: [observed(25_000)], sentAt: line.now })
      const placements = [await line.enqueue({ input: 3000 }), await line.enqueue({ input: 3000 })]
      expect(placements.map(({ kind }) => kind)).toEqual(['admitted', 'waiting'])
      expect((await line.snapshot())?.boundBy).toMatchObject({ kind: 'limit' })
    })

    it('slows down to half the refill under the soft floor', async () => {
      const line = await open({ learns: true, floors: { soft: 50_000, hard: 0 } })
      await line.store.observe(RESOURCE, { limits: [observed(40_000)], sentAt: line.now })
      for (let count = 0; count < 10; count++) await line.add({ input: 1000 })
      expect(line.admitted.length).toBe(1)
      expect((await line.snapshot())?.boundBy).toMatchObject({ kind: 'limit' })
      await line.wait(10_000)
      expect(line.admitted.length).toBe(6)
    })

    it('takes no limit for one that says nothing', async () => {
      const line = await open({ learns: true })
      await line.store.observe(RESOURCE, { limits: [observed(0, 0)], sentAt: line.now })
      expect(await line.enqueue({})).toEqual({ kind: 'admitted' })
      expect((await line.snapshot())?.limits).toEqual([])
    })
  })

  describe('a waiting ticket', () => {
    unlessExempt('position')('has a position, an instant and what binds it', async () => {
      const line = await open({ limits: [bucket(100, 1000)] })
      const held = await line.add({ input: 100 })
      const ids: string[] = []
      for (let count = 0; count < 3; count++) ids.push(await line.add({ input: 50 }))
      const predictions = await Promise.all(ids.map((id) => line.store.position(RESOURCE, id)))
      expect(predictions.map((prediction) => prediction?.position)).toEqual([0, 1, 2])
      const waits = predictions.map((prediction) =>
        Math.round((prediction?.expectedAt ?? 0) - START_AT),
      )
      expect(waits).toEqual([500, 1000, 1500])
      expect(predictions[0]?.boundBy).toMatchObject({ kind: 'limit', limit: bucket(100, 1000) })
      expect(await line.store.position(RESOURCE, held)).toBeNull()
      expect(await line.store.position('unknown', held)).toBeNull()
    })
  })

  describe('settings that change', () => {
    it('are in force at once, and what is used stays used', async () => {
      const line = await open({ limits: [bucket(100, 1000), slots(1)] })
      const first = await line.add({ input: 60 })
      const [second, third] = [await line.add({ input: 60 }), await line.add({ input: 90 })]
      await line.reconfigure([bucket(200, 1000), slots(3)])
      expect(line.admitted).toEqual([first, second])
      const look = await line.store.look(RESOURCE)
      expect(look).toMatchObject({ name: RESOURCE, inFlight: 2, queued: 1 })
      expect(look?.limits.map(({ amount, remaining }) => [amount, remaining])).toEqual([
        [200, 80],
        [3, 1],
      ])
      await line.reconfigure([bucket(500, 1000), slots(3)])
      expect(line.admitted).toEqual([first, second, third])
    })

    it('leave nothing of what they do not name, and begin what is new afresh', async () => {
      const line = await open({ limits: [bucket(100, 1000)] })
      await line.add({ input: 60 })
      await line.reconfigure([bucket(50, 3000)])
      expect((await line.snapshot())?.limits).toMatchObject([{ amount: 50, remaining: 50 }])
      expect(await line.store.look('unknown')).toBeNull()
    })
  })

  describe('a store', () => {
    unlessExempt('forgets idle resources')('forgets resources that are idle', async () => {
      const line = await open({ limits: [bucket(100), slots(1)] })
      for (let count = 0; count < 50; count++) {
        const id = await line.add({ resource: `r${count}` })
        await line.settle(id)
      }
      await line.wait(10_000)
      for (let count = 0; count < 60; count++) {
        const id = await line.add()
        await line.settle(id)
      }
      const names = (await line.store.snapshot()).map(({ name }) => name)
      expect(names.filter((name) => name !== RESOURCE)).toEqual([])
    })

    it('keeps resources apart', async () => {
      const line = await open({ limits: [slots(1)] })
      await line.add({ resource: 'one' })
      expect(await line.enqueue({ resource: 'two' })).toEqual({ kind: 'admitted' })
      expect(await line.enqueue({ resource: 'one' })).toMatchObject({ kind: 'waiting' })
      await line.store.pause('two', line.now + 1000)
      expect((await line.snapshot('one'))?.pausedUntil).toBeNull()
    })

    it('is asked about what it does not know in vain', async () => {
      const line = await open({})
      expect(await line.store.cancel('unknown', 'x')).toBeNull()
      expect(await line.store.leave('unknown', 'x', 'any')).toBe(false)
      expect(await line.store.settle('unknown', 'x', NOTHING, true)).toBe(false)
      expect(await line.store.unpark('unknown', 'x', NOTHING)).toBe(false)
      await line.store.answered('unknown', 5)
      expect(await line.store.snapshot()).toEqual([])
    })
  })
}
