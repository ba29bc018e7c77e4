// What a caller can count on when others, or it itself, may die: one plain case each.
import { describe, expect, it } from 'vitest'
import { costOf, NOTHING } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import { Line, RESOURCE, START_AT, type StoreUnderTest, type settingsOf } from './line.ts'

const SECOND = 1000

/** So slow that what is taken stays taken for the length of a case. */
const tokens = (amount: number): Limit => ({
  algorithm: 'token_bucket',
  dimension: 'input_tokens',
  amount,
  windowMs: 1e12,
  source: 'configured',
})

const slots = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

const mortal = { id: 'mortal', ttlMs: SECOND }
const inputs = (input_tokens: number) => costOf({ input_tokens })

export function holderCases(underTest: StoreUnderTest): void {
  const open = (settings: Parameters<typeof settingsOf>[0]) => Line.open(underTest, settings)
  const left = async (line: Line) =>
    (await line.snapshot())?.limits.map(({ remaining }) => remaining)

  describe('a holder that gives no sign of life', () => {
    it('has its waiting ticket leave the line, and lets those in who are behind it', async () => {
      const line = await open({ limits: [tokens(100)] })
      await line.add({ input: 50 })
      const large = await line.add({ input: 80, holder: mortal })
      const [second, third] = [await line.add({ input: 20 }), await line.add({ input: 20 })]
      await line.at.advance(START_AT + SECOND - 0.01)
      expect(line.pushed).toEqual([])
      await line.at.advance(START_AT + SECOND)
      expect(line.pushed).toEqual([second, third])
      expect((await line.snapshot())?.queued).toBe(0)
      expect(await line.cancel(large)).toBeNull()
    })

    it('has its lease free the slot at that very instant, its tokens counted as they are', async () => {
      const line = await open({ limits: [tokens(100), slots(1)] })
      const lease = await line.add({ input: 50, holder: mortal })
      await line.revise(lease, inputs(30), 0)
      const next = await line.add({ input: 10 })
      await line.at.advance(START_AT + SECOND - 0.01)
      expect(line.pushed).toEqual([])
      await line.at.advance(START_AT + SECOND)
      expect(line.pushed).toEqual([next])
      expect(line.takes.at(-1)?.at).toBeCloseTo(START_AT + SECOND, 2)
      expect(await left(line)).toEqual([60, 0])
    })

    it('has what stands aside end as well', async () => {
      const line = await open({ limits: [slots(1)] })
      const lease = await line.add({ holder: { ...mortal, ttlMs: 5 * SECOND } })
      await line.bounce(lease, { kind: 'overloaded', backoffMs: 60 * SECOND })
      await line.add({ parked: true, holder: mortal })
      expect((await line.snapshot())?.queued).toBe(2)
      await line.wait(5 * SECOND)
      expect((await line.snapshot())?.queued ?? 0).toBe(0)
      await line.wait(60 * SECOND)
      expect(line.pushed).toEqual([])
    })

    it('finds none of its tickets: each operation answers as for a stranger', async () => {
      const line = await open({ limits: [tokens(100), slots(1)] })
      const lease = await line.add({ input: 50, holder: mortal })
      const waiting = await line.add({ holder: mortal })
      const parked = await line.add({ parked: true, holder: mortal })
      await line.wait(SECOND)
      expect(await line.settle(lease, inputs(1))).toBe(false)
      expect(await line.release(lease)).toBe(false)
      expect(await line.revise(lease, inputs(1), 0)).toBe(false)
      expect(await line.bounce(lease, { kind: 'repriced', estimate: inputs(1) })).toBe(false)
      expect(await line.cancel(waiting)).toBeNull()
      expect(await line.leave(lease)).toBe(false)
      expect(await line.leave(waiting)).toBe(false)
      expect(await line.raise(waiting)).toBe(false)
      expect(await line.unpark(parked)).toBe(false)
      expect(await line.renew(mortal.id, SECOND)).toBe(false)
      expect(await line.enqueue({ id: lease, input: 10 })).toEqual({ kind: 'admitted' })
      expect(await left(line)).toEqual([40, 0])
    })

    it('costs nobody else anything', async () => {
      const line = await open({ limits: [slots(3)] })
      await line.add({ holder: mortal })
      const ids = [await line.add({ holder: { ...mortal, id: 'other', ttlMs: 9000 } })]
      ids.push(await line.add())
      await line.wait(2 * SECOND)
      expect((await line.snapshot())?.inFlight).toBe(2)
      for (const id of ids) expect(await line.settle(id)).toBe(true)
    })
  })

  describe('a sign of life', () => {
    it('keeps all that its holder has, for as long as it says', async () => {
      const line = await open({ limits: [slots(1)] })
      const lease = await line.add({ holder: mortal })
      const waiting = await line.add({ holder: mortal })
      for (let beat = 0; beat < 5; beat++) {
        await line.wait(SECOND - 1)
        expect(await line.renew(mortal.id, SECOND)).toBe(true)
      }
      expect(await line.settle(lease)).toBe(true)
      expect(line.pushed).toEqual([waiting])
      await line.renew(mortal.id, SECOND / 2)
      await line.wait(SECOND / 2)
      expect((await line.snapshot())?.inFlight ?? 0).toBe(0)
    })

    it('is a new ticket too, which never shortens what was said before', async () => {
      const line = await open({ limits: [slots(9)] })
      const first = await line.add({ holder: mortal })
      await line.wait(SECOND - 1)
      const second = await line.add({ holder: mortal })
      await line.wait(SECOND - 1)
      await line.add({ holder: { ...mortal, ttlMs: 1 } })
      await line.enqueue({ id: first, holder: { ...mortal, ttlMs: 0.5 } })
      await line.wait(0.75)
      expect(await line.settle(first)).toBe(true)
      await line.wait(SECOND)
      expect(await line.settle(second)).toBe(false)
    })

    it('of a stranger changes nothing', async () => {
      const line = await open({ limits: [slots(1)] })
      expect(await line.store.renew('unknown', 'nobody', SECOND)).toBe(false)
      const id = await line.add({ holder: mortal })
      expect(await line.renew('nobody', SECOND)).toBe(false)
      await line.settle(id)
      expect(await line.renew(mortal.id, SECOND)).toBe(false)
    })
  })

  describe('a ticket that rejoins', () => {
    const expired = async (line: Line): Promise<string> => {
      const id = await line.add({ input: 50, holder: mortal })
      await line.wait(SECOND)
      return id
    }

    it('as a lease that is counted already takes its slot, and nothing twice', async () => {
      const line = await open({ limits: [tokens(100), slots(1)] })
      const id = await expired(line)
      if (line.at.lifeOf(RESOURCE) === null) return
      expect(await left(line)).toEqual([50, 1])
      expect(await line.rejoin([line.own(id)])).toEqual([id])
      expect(line.pushed).toEqual([])
      expect(await left(line)).toEqual([50, 0])
      expect(await line.settle(id, inputs(20))).toBe(true)
      expect(await left(line)).toEqual([80, 1])
    })

    it('as a lease that another life has counted takes all that it costs', async () => {
      const line = await open({ limits: [tokens(100), slots(1)] })
      const own = { request: line.request({ id: 'own', input: 30 }), grantedAt: START_AT - 5000 }
      expect(await line.rejoin([{ ...own, countedIn: 'another life' }])).toEqual(['own'])
      const unheardOf = { ...own.request, id: 'unheard of' }
      await line.rejoin([{ request: unheardOf, grantedAt: START_AT - 5000, countedIn: null }])
      expect(await left(line)).toEqual([40, -1])
      expect(line.pushed).toEqual([])
    })

    it('may be one lease too many: then nobody passes until there is room again', async () => {
      const line = await open({ limits: [slots(1)] })
      const lease = await line.add()
      const request = line.request({ id: 'back' })
      await line.rejoin([{ request, grantedAt: START_AT - 1, countedIn: null }])
      const next = await line.add()
      await line.settle(lease)
      expect(line.pushed).toEqual([])
      await line.settle('back')
      expect(line.pushed).toEqual([next])
    })

    it('as a lease of a ticket that waits here becomes one, past all limits', async () => {
      const line = await open({ limits: [tokens(100), slots(1)] })
      await line.add({ input: 60 })
      const [first, second] = [await line.add({ input: 30 }), await line.add({ input: 30 })]
      const own = { ...line.own(second), grantedAt: START_AT - 1 }
      expect(await line.rejoin([own, line.own(first)])).toEqual([second])
      expect(await line.snapshot()).toMatchObject({ inFlight: 2, queued: 1 })
      expect(await left(line)).toEqual([10, -1])
      expect(line.pushed).toEqual([])
    })

    it('keeps its age by its place, and waits whatever bounds and deadlines say', async () => {
      const line = await open({ limits: [slots(1)], maxQueued: 1 })
      const lease = await line.add()
      const other = await line.add({ flow: 'b' })
      await line.wait(SECOND)
      const place = {
        enqueuedAt: START_AT - SECOND,
        lane: 'normal' as const,
        laneSince: START_AT - SECOND,
        startTag: 0,
      }
      const wish = { flow: 'a', place, deadlineAt: START_AT }
      const tickets = ['old', 'new'].map((id) => ({
        request: line.request({ ...wish, id, ...(id === 'new' && { place: null }) }),
        grantedAt: null,
        countedIn: null,
      }))
      expect(await line.rejoin(tickets)).toEqual([])
      expect(await line.snapshot()).toMatchObject({ queued: 3, oldestEnqueuedAt: place.enqueuedAt })
      await line.drain()
      expect(line.admitted).toEqual([lease, 'old', other, 'new'])
    })

    it('tells at once whether it is a lease by now, and is not told of it again', async () => {
      const line = await open({ limits: [slots(2)] })
      const lease = await line.add()
      const tickets = ['a', 'b'].map((id) => ({
        request: line.request({ id }),
        grantedAt: null,
        countedIn: null,
      }))
      const parked = { ...line.request({ id: 'p' }), parked: true }
      const aside = { request: parked, grantedAt: null, countedIn: null }
      const held = await line.rejoin([line.own(lease), aside, ...tickets])
      expect(new Set(held)).toEqual(new Set([lease, 'a']))
      expect(line.pushed).toEqual([])
      expect(await line.rejoin([...tickets, line.own(lease)])).toHaveLength(2)
      expect(await line.snapshot()).toMatchObject({ inFlight: 2, queued: 2 })
      await line.settle(lease)
      expect(line.pushed).toEqual(['b'])
      expect(await line.unpark('p')).toBe(true)
    })

    it('lets in others whom its coming sets free', async () => {
      const line = await open({ limits: [tokens(100)] })
      await line.add({ input: 50 })
      const [large, small] = [await line.add({ input: 60 }), await line.add({ input: 10 })]
      await line.rejoin([{ ...line.own(large), grantedAt: START_AT - 1 }])
      await line.settle(large, inputs(0))
      expect(line.pushed).toEqual([small])
    })

    it('is a sign of life', async () => {
      const line = await open({ limits: [slots(1)] })
      const id = await line.add({ holder: mortal })
      await line.wait(SECOND - 1)
      await line.rejoin([line.own(id)])
      await line.wait(SECOND - 1)
      expect(await line.settle(id)).toBe(true)
    })

    it('brings along what was spent elsewhere', async () => {
      const line = await open({ limits: [tokens(100), slots(1)] })
      expect(await line.rejoin([], inputs(70))).toEqual([])
      expect(await left(line)).toEqual([30, 1])
      await line.rejoin([], NOTHING)
      expect(await left(line)).toEqual([30, 1])
      expect(await line.enqueue({ input: 40 })).toMatchObject({ kind: 'waiting' })
    })

    it('and is refused by the provider stands in line as if it came now', async () => {
      const line = await open({ limits: [slots(1)] })
      const first = await line.add({ flow: 'a' })
      const second = await line.add({ flow: 'a' })
      await line.settle(first)
      const third = await line.add({ flow: 'b' })
      await line.wait(1)
      const request = line.request({ id: 'back', flow: 'c' })
      await line.rejoin([{ request, grantedAt: START_AT - 1, countedIn: null }])
      expect(await line.bounce('back', { kind: 'repriced', estimate: inputs(20) })).toBe(true)
      await line.drain()
      expect(line.admitted).toEqual([first, second, third, 'back'])
    })
  })
}
