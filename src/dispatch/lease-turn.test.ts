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

  it('leaves the place to whoever asks for it next', async () => {
    const { store, grants, turnOf } = open()
    const first = turnOf('a')
    await first.take()
    const lost = turnOf('b', { holder, subject: BOUND })
    const answer = lost.take()
    await settled()
    lost.forgo()
    expect(await answer).toEqual({ kind: 'left' })
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 1] })
    // Granted while nobody looks after it: it is not given back.
    await first.settle(costOf({}), true)
    await settled()
    expect(await countsOf(store)).toMatchObject({ r: [1, 0] })
    const back = turnOf('b', { holder, subject: BOUND })
    expect(await back.take()).toMatchObject({ kind: 'granted' })
    expect(await back.renew(10_000)).toBe(true)
    expect(await back.settle(costOf({}), true)).toBe(true)
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [0, 0], r: [0, 0] })
    lost.forgotten()
    expect(grants.size).toBe(0)
  })

  it('in the line of its subject keeps that place', async () => {
    const { store, turnOf } = open()
    const first = turnOf('a', { subject: BOUND, resource: 'other' })
    await first.take()
    const lost = turnOf('b', { holder, subject: BOUND })
    const answer = lost.take()
    await settled()
    lost.forgo()
    expect(await answer).toEqual({ kind: 'left' })
    await first.release()
    await settled()
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0] })
    expect(await turnOf('b', { holder, subject: BOUND }).take()).toMatchObject({ kind: 'granted' })
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 0] })
  })

  it('still lets life be shown for all that its holder has', async () => {
    const { clock, store, turnOf } = open()
    await turnOf('a').take()
    const lost = turnOf('b', { holder, subject: BOUND })
    void lost.take()
    await settled()
    clock.advanceTo(START_AT + 20_000)
    lost.forgo()
    expect(await lost.renew(30_000)).toBe(true)
    clock.advanceTo(START_AT + 49_999)
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [1, 0], r: [1, 1] })
    clock.advanceTo(START_AT + 50_000)
    expect(await countsOf(store)).toMatchObject({ 'user/alice': [0, 0], r: [1, 0] })
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
