import { describe, expect, it } from 'vitest'
import type { GateSettings } from '../../core/admission.ts'
import { VirtualClock } from '../../core/clock.ts'
import { costOf } from '../../core/cost.ts'
import type { Limit } from '../../core/limit.ts'
import type { TicketRequest } from '../../core/ticket.ts'
import { MemoryStore } from './memory-store.ts'

const START_AT = 1.8e12

const perSecond: Limit = {
  algorithm: 'token_bucket',
  dimension: 'requests',
  amount: 1,
  windowMs: 1000,
  source: 'configured',
}

const settings: GateSettings = {
  limits: [perSecond],
  learns: false,
  agingMs: 60_000,
  maxQueued: 1000,
  floors: { soft: 0, hard: 0 },
}

const request = (id: string, resource = 'r'): TicketRequest => ({
  id,
  resource,
  flow: 'flow',
  lane: 'normal',
  weight: 1,
  estimate: costOf({}),
  deadlineAt: Number.POSITIVE_INFINITY,
  place: null,
  parked: false,
  holder: null,
})

/** A clock that knows how many timers are set and not yet run or cancelled. */
class CountingClock extends VirtualClock {
  armed = new Set<object>()
  scheduled = 0

  override schedule(at: number, run: () => void) {
    this.scheduled++
    const timer = super.schedule(at, () => {
      this.armed.delete(handle)
      run()
    })
    const handle = {
      cancel: () => {
        this.armed.delete(handle)
        timer.cancel()
      },
    }
    this.armed.add(handle)
    return handle
  }
}

function open(given: Partial<GateSettings> = {}) {
  const clock = new CountingClock(START_AT)
  const store = new MemoryStore(clock, () => ({ ...settings, ...given }))
  const granted: string[] = []
  store.onGrant(({ id }) => granted.push(id))
  return { clock, store, granted }
}

describe('MemoryStore', () => {
  it('keeps one timer a resource, set to when its next ticket passes', async () => {
    const { clock, store, granted } = open()
    for (const id of ['a', 'b', 'c', 'd']) await store.enqueue(request(id))
    expect(clock.armed.size).toBe(1)
    expect(clock.nextAt()).toBe(START_AT + 1000)
    clock.advanceTo(START_AT + 1000)
    expect(granted).toEqual(['b'])
    expect(clock.armed.size).toBe(1)
    expect(clock.nextAt()).toBe(START_AT + 2000)
  })

  it('sets the timer anew when an event changes the instant, and only then', async () => {
    const { clock, store, granted } = open()
    for (const id of ['a', 'b', 'c']) await store.enqueue(request(id))
    const { scheduled } = clock
    await store.enqueue(request('d'))
    await store.answered('r', null)
    expect(clock.scheduled).toBe(scheduled)
    await store.pause('r', START_AT + 5000)
    expect(clock.nextAt()).toBe(START_AT + 5000)
    expect(clock.armed.size).toBe(1)
    clock.advanceTo(START_AT + 4999)
    expect(granted).toEqual([])
    clock.advanceTo(START_AT + 5000)
    expect(granted).toEqual(['b'])
  })

  it('has no timer when nobody waits', async () => {
    const { clock, store } = open()
    for (const id of ['a', 'b']) await store.enqueue(request(id))
    await store.cancel('r', 'b')
    expect(clock.armed.size).toBe(0)
    await store.enqueue(request('c'))
    clock.advanceTo(START_AT + 1000)
    expect(clock.armed.size).toBe(0)
  })

  it('leaves no timer behind when it is closed', async () => {
    const { clock, store, granted } = open()
    for (const id of ['a', 'b']) await store.enqueue(request(id))
    await store.enqueue(request('c', 'other'))
    await store.enqueue(request('d', 'other'))
    expect(clock.armed.size).toBe(2)
    await store.close()
    expect(clock.armed.size).toBe(0)
    clock.advanceTo(START_AT + 100_000)
    expect(granted).toEqual([])
  })

  it('bears a listener that asks it again at once', async () => {
    const { clock, store } = open()
    const granted: string[] = []
    store.onGrant(({ resource, id }) => {
      granted.push(id)
      void store.release(resource, id)
    })
    for (const id of ['a', 'b', 'c', 'd']) await store.enqueue(request(id))
    await store.release('r', 'a')
    expect(granted).toEqual(['b', 'c', 'd'])
    clock.advanceTo(START_AT + 10_000)
    expect(granted).toEqual(['b', 'c', 'd'])
  })

  it('forgets idle resources as others are used', async () => {
    const { clock, store } = open()
    for (let count = 0; count < 1000; count++) {
      await store.enqueue(request(`t${count}`, `r${count}`))
      await store.settle(`r${count}`, `t${count}`, costOf({}), true)
    }
    expect(store.size).toBe(1000)
    clock.advanceTo(START_AT + 60_000)
    await store.enqueue(request('busy', 'busy'))
    for (let count = 0; count < 600; count++) await store.answered('busy', null)
    expect(store.size).toBe(1)
  })

  it('keeps resources that are in use, paused, in debt or overloaded', async () => {
    const { clock, store } = open()
    await store.enqueue(request('held', 'held'))
    await store.enqueue({ ...request('parked', 'parked'), parked: true })
    await store.enqueue(request('indebted', 'indebted'))
    await store.settle('indebted', 'indebted', costOf({ requests: 100 }), true)
    await store.pause('paused', START_AT + 90_000)
    await store.enqueue(request('overloaded', 'overloaded'))
    await store.bounce('overloaded', 'overloaded', { kind: 'overloaded', backoffMs: 10 })
    await store.cancel('overloaded', 'overloaded')
    clock.advanceTo(START_AT + 60_000)
    for (let count = 0; count < 20; count++) await store.answered('held', null)
    const names = (await store.snapshot()).map(({ name }) => name)
    expect(names.sort()).toEqual(['held', 'indebted', 'overloaded', 'parked', 'paused'])
  })

  it('keeps what it has learnt of a resource for an hour without news', async () => {
    const { clock, store } = open({ limits: [], learns: true })
    const learnt = {
      dimension: 'input_tokens' as const,
      amount: 1000,
      remaining: 900,
      roundedBy: 0,
      fullInMs: null,
      fullInErrorMs: 0,
    }
    await store.observe('r', { limits: [learnt], sentAt: START_AT })
    clock.advanceTo(START_AT + 3_500_000)
    for (let count = 0; count < 5; count++) await store.answered('r', null)
    expect(store.size).toBe(1)
    clock.advanceTo(START_AT + 3_700_000)
    for (let count = 0; count < 3; count++)
      await store.observe('other', { limits: [], sentAt: START_AT })
    expect((await store.snapshot()).map(({ name }) => name)).toEqual(['other'])
  })
})
