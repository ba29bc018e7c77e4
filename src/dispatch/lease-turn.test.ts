import { describe, expect, it } from 'vitest'
import type { Placement } from '../core/admission.ts'
import { VirtualClock } from '../core/clock.ts'
import { costOf } from '../core/cost.ts'
import { Deadlines } from '../core/deadlines.ts'
import type { Limit } from '../core/limit.ts'
import type { TicketRequest } from '../core/ticket.ts'
import type { Subject } from '../policy/subject.ts'
import { ANONYMOUS } from '../policy/subject.ts'
import { MemoryStore } from '../stores/memory/memory-store.ts'
import { GrantListeners } from './grant-listeners.ts'
import { type LeaseRequest, LeaseTurn } from './lease-turn.ts'

const START_AT = 1.8e12

const ONE_AT_ONCE: Limit = {
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount: 1,
  source: 'configured',
}

const FREE: Subject = {
  identity: ANONYMOUS,
  flow: null,
  tier: null,
  lane: null,
  weight: 1,
  scopes: [],
  budgets: [],
  maxTokensPerRequest: null,
  shadowMaxTokensPerRequest: null,
  routes: [],
  allowedModels: null,
}

/** One whose own limit lets it have one at once. */
const BOUND: Subject = {
  ...FREE,
  scopes: [
    {
      subject: 'user:alice',
      resource: 'user/alice',
      limits: [ONE_AT_ONCE],
      shadowResource: 'user/alice?shadow',
      shadowLimits: [],
      overflow: 'wait',
    },
  ],
}

/** A memory store whose answers to `enqueue` may be kept back. */
class SlowStore extends MemoryStore {
  readonly kept: (() => void)[] = []
  isSlow = false

  override async enqueue(request: TicketRequest): Promise<Placement> {
    const placement = await super.enqueue(request)
    if (this.isSlow) await new Promise<void>((resolve) => this.kept.push(resolve))
    return placement
  }
}

function open() {
  const clock = new VirtualClock(START_AT)
  const store = new SlowStore(clock, () => ({
    limits: [ONE_AT_ONCE],
    learns: false,
    agingMs: 60_000,
    maxQueued: 100,
    floors: { soft: 0, hard: 0 },
  }))
  const failures: unknown[] = []
  const follow = (operation: Promise<unknown>): void => {
    operation.catch((error: unknown) => failures.push(error))
  }
  const grants = new GrantListeners(store, follow)
  const deadlines = new Deadlines<LeaseTurn>(clock, (turn) => turn.timeUp())
  const turnOf = (id: string, more: Partial<LeaseRequest> = {}) =>
    new LeaseTurn(
      { clock, store, grants, deadlines, follow },
      {
        id,
        resource: 'r',
        isLearnt: false,
        subject: FREE,
        lane: null,
        flow: 'f',
        estimate: costOf({}),
        deadlineAt: START_AT + 60_000,
        holder: null,
        ...more,
      },
    )
  return { clock, store, grants, deadlines, failures, turnOf }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function countsOf(store: MemoryStore): Promise<Readonly<Record<string, number[]>>> {
  const all = await store.snapshot()
  return Object.fromEntries(all.map(({ name, inFlight, queued }) => [name, [inFlight, queued]]))
}

describe('leaving', () => {
  it('before anything was asked asks for nothing', async () => {
    const { store, grants, turnOf } = open()
    const turn = turnOf('a')
    const answer = turn.take()
    turn.leave()
    expect(await answer).toEqual({ kind: 'left' })
    expect([await countsOf(store), grants.size]).toEqual([{}, 0])
  })

  it('while the store is asked gives back what it gives', async () => {
    const { store, grants, turnOf } = open()
    store.isSlow = true
    const turn = turnOf('a')
    const answer = turn.take()
    await settled()
    turn.leave()
    store.kept[0]?.()
    expect(await answer).toEqual({ kind: 'left' })
    await settled()
    expect([await countsOf(store), grants.size]).toEqual([{ r: [0, 0] }, 0])
  })

  it('the line of its subject leaves that alone', async () => {
    const { store, deadlines, turnOf } = open()
    const first = turnOf('a', { subject: BOUND, resource: 'other' })
    await first.take()
    const second = turnOf('b', { subject: BOUND })
    const told: number[] = []
    const answer = second.take(({ position }) => told.push(position))
    await settled()
    expect(told).toEqual([0])
    second.leave()
    expect(await answer).toEqual({ kind: 'left' })
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], other: [1, 0] })
    expect(deadlines.size).toBe(0)
  })
})

describe('waiting', () => {
  it('in the line of its subject ends when its time is up', async () => {
    const { clock, store, turnOf } = open()
    await turnOf('a', { subject: BOUND, resource: 'other' }).take()
    const answer = turnOf('b', { subject: BOUND }).take()
    await settled()
    clock.advanceTo(START_AT + 60_000)
    expect(await answer).toMatchObject({ kind: 'refused', refusal: { reason: 'waited_out' } })
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0] })
  })

  it('ends when its time is up, though the store lets it in at that very instant', async () => {
    const { clock, store, grants, turnOf } = open()
    const first = turnOf('a', { subject: BOUND, resource: 'other' })
    await first.take()
    const second = turnOf('b', { subject: BOUND })
    const answer = second.take()
    await settled()
    store.isSlow = true
    await first.release()
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 0] })
    clock.advanceTo(START_AT + 60_000)
    store.kept[0]?.()
    expect(await answer).toMatchObject({ kind: 'refused', refusal: { reason: 'waited_out' } })
    await settled()
    expect(second.isHeld).toBe(false)
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [0, 0], r: [0, 0] })
    expect(grants.size).toBe(0)
  })

  it('says what binds it when its time is up', async () => {
    const { clock, turnOf } = open()
    await turnOf('a').take()
    const answer = turnOf('b').take()
    await settled()
    clock.advanceTo(START_AT + 60_000)
    expect(await answer).toMatchObject({
      at: 'r',
      boundBy: { kind: 'limit', limit: ONE_AT_ONCE },
      refusal: { message: expect.stringContaining('bound by 1 at once') },
    })
  })

  it('gives its subject’s limits back when the resource refuses', async () => {
    const { store, clock, turnOf } = open()
    await turnOf('a').take()
    const answer = turnOf('b', { subject: BOUND, deadlineAt: START_AT }).take()
    await settled()
    clock.advanceTo(START_AT)
    expect(await answer).toMatchObject({ kind: 'refused' })
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [0, 0], r: [1, 0] })
  })
})

describe('forgoing', () => {
  const holder = { id: 'h', ttlMs: 30_000 }

  it('leaves the place to the turn that asks for it next', async () => {
    const { store, grants, turnOf } = open()
    const first = turnOf('a')
    await first.take()
    const lost = turnOf('b', { holder, subject: BOUND })
    const answer = lost.take()
    await settled()
    lost.forgo()
    expect([await answer, grants.size]).toEqual([{ kind: 'left' }, 0])
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 1] })
    const next = turnOf('b', { holder, subject: BOUND })
    const granted = next.take()
    await settled()
    // Whatever the first one still hears, it touches nothing of the other's.
    lost.timeUp()
    lost.leave()
    await first.settle(costOf({}), true)
    expect(await granted).toMatchObject({ kind: 'granted' })
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 0] })
    expect(await next.renew(10_000)).toBe(true)
    expect(await next.settle(costOf({}), true)).toBe(true)
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [0, 0], r: [0, 0] })
    expect(grants.size).toBe(0)
  })

  it('in the line of its subject keeps that place, though the store has not answered yet', async () => {
    for (const isSlow of [false, true]) {
      const { store, grants, turnOf } = open()
      const first = turnOf('a', { subject: BOUND, resource: 'other' })
      await first.take()
      store.isSlow = isSlow
      const lost = turnOf('b', { holder, subject: BOUND })
      const answer = lost.take()
      await settled()
      lost.forgo()
      store.isSlow = false
      const next = turnOf('b', { holder, subject: BOUND }).take()
      await settled()
      for (const answer of store.kept) answer()
      expect(await answer).toEqual({ kind: 'left' })
      await settled()
      expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 1] })
      await first.release()
      expect(await next).toMatchObject({ kind: 'granted' })
      expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 0] })
      expect(grants.size).toBe(0)
    }
  })

  it('ends by itself when nobody asks', async () => {
    const { clock, store, failures, turnOf } = open()
    await turnOf('a').take()
    const lost = turnOf('b', { holder, subject: BOUND })
    void lost.take()
    await settled()
    lost.forgo()
    clock.advanceTo(START_AT + 30_000)
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [0, 0], r: [1, 0] })
    expect(failures).toEqual([])
  })
})

it('a sign of life reaches it between two lines', async () => {
  const { clock, store, turnOf } = open()
  const turn = turnOf('a', { holder: { id: 'h', ttlMs: 30_000 }, subject: BOUND })
  store.isSlow = true
  const answer = turn.take()
  await settled()
  store.kept.shift()?.()
  clock.advanceTo(START_AT + 20_000)
  // It comes to its resource while the sign is on its way.
  const renewed = turn.renew(30_000)
  await settled()
  store.kept.shift()?.()
  expect([await renewed, (await answer).kind]).toEqual([true, 'granted'])
})

describe('one that is adopted', () => {
  const request = { subject: BOUND, holder: { id: 'h', ttlMs: 30_000 } }

  it('is found in the line of its subject, and left alone by who takes it for a lease', async () => {
    const { store, turnOf } = open()
    const first = turnOf('a', { subject: BOUND, resource: 'other' })
    await first.take()
    const waiting = turnOf('b', request)
    const answer = waiting.take()
    await settled()
    const other = turnOf('b', request)
    other.adopt()
    expect(await other.ticket()).toMatchObject({ id: 'b', state: 'waiting', grantedAt: null })
    expect(await other.position()).toMatchObject({ position: 0 })
    expect(await other.settle(costOf({}), true)).toBe(false)
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 1] })
    await first.release()
    expect(await answer).toMatchObject({ kind: 'granted' })
    expect(await other.ticket()).toMatchObject({ id: 'b', state: 'held' })
    expect(await other.position()).toBeNull()
  })

  it('keeps what it took of its subject when it turns out to wait for the resource', async () => {
    const { store, turnOf } = open()
    await turnOf('a').take()
    void turnOf('b', request).take()
    await settled()
    const other = turnOf('b', request)
    other.adopt()
    expect(await other.settle(costOf({}), true)).toBe(false)
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 1] })
  })

  it('is taken out of whatever line it stands in', async () => {
    const { store, turnOf } = open()
    await turnOf('a', { subject: BOUND, resource: 'other' }).take()
    void turnOf('b', request).take()
    await settled()
    const other = turnOf('b', request)
    other.adopt()
    expect(await other.release()).toBe(true)
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0] })
    expect(await other.ticket()).toBeNull()
  })
})

it('a lease is adopted by its id alone, with what it took of its subject', async () => {
  const { store, turnOf } = open()
  const request = { subject: BOUND, holder: { id: 'h', ttlMs: 5000 } }
  await turnOf('a', request).take()
  const other = turnOf('a', request)
  other.adopt()
  expect(await other.renew(9000)).toBe(true)
  expect(await other.settle(costOf({}), true)).toBe(true)
  expect(await other.settle(costOf({}), true)).toBe(false)
  await settled()
  expect(await countsOf(store)).toMatchObject({ 'user/alice': [0, 0], r: [0, 0] })
})
