import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GateSettings } from '../core/admission.ts'
import { VirtualClock } from '../core/clock.ts'
import { Deadlines } from '../core/deadlines.ts'
import type { Limit } from '../core/limit.ts'
import { StoreUnreachable } from '../core/store.ts'
import type { LeaseSettings } from '../policy/settings.ts'
import { ANONYMOUS, type SubjectRules, type Tier } from '../policy/subject.ts'
import { Subjects } from '../policy/subjects.ts'
import { MemoryStore } from '../stores/memory/memory-store.ts'
import { GrantListeners } from './grant-listeners.ts'
import type { Opened } from './lease-answers.ts'
import type { LeaseAsk, LeaseOutcome } from './lease-ask.ts'
import { LeaseDesk } from './lease-desk.ts'
import { callerOf, type LeasePolicy } from './lease-policy.ts'
import type { LeaseTurn } from './lease-turn.ts'
import type { LeaseWish } from './lease-wish.ts'

const START_AT = 1.8e12
const ALICE = callerOf({ ...ANONYMOUS, user: 'alice' }, false)
const BOB = callerOf({ ...ANONYMOUS, key: 'bob' }, false)
const ADMIN = callerOf(ANONYMOUS, true)

const atOnce = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

const tokensAnHour = (amount: number): Limit => ({
  algorithm: 'sliding_window',
  dimension: 'tokens',
  amount,
  windowMs: 3_600_000,
  source: 'configured',
})

const NO_RULES: SubjectRules = {
  tiers: new Map(),
  defaultTier: null,
  users: new Map(),
  teams: new Map(),
  keys: [],
  warnAt: [],
}

/** Everybody's: so many leases of all resources at once. */
const tierOf = (amount: number, overflow: Tier['overflow']): SubjectRules => ({
  ...NO_RULES,
  defaultTier: 'one',
  tiers: new Map([
    [
      'one',
      {
        name: 'one',
        lane: 'normal',
        weight: 1,
        limits: [atOnce(amount)],
        shadowLimits: [],
        maxTokensPerRequest: null,
        shadowMaxTokensPerRequest: null,
        budgets: [],
        routes: [],
        allowedModels: null,
        overflow,
      },
    ],
  ]),
})

/** As it looks to a process that shares it with others. */
function shared(store: MemoryStore): MemoryStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'kind') return 'redis'
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

interface Setup {
  readonly isShared?: boolean
  readonly resources?: Readonly<Record<string, readonly Limit[]>>
  readonly rules?: SubjectRules
  readonly leases?: Partial<LeaseSettings>
}

function open(setup: Setup = {}) {
  const { resources = { r: [atOnce(1)] }, rules = NO_RULES, leases = {}, isShared = false } = setup
  const clock = new VirtualClock(START_AT)
  const named = new Map(Object.entries(resources))
  const subjects = new Subjects(rules)
  const limitsOf = (name: string) => named.get(name) ?? subjects.limitsOf(name) ?? []
  const settingsOf = (name: string): GateSettings => ({
    limits: limitsOf(name),
    learns: false,
    agingMs: 60_000,
    maxQueued: 1000,
    floors: { soft: 0, hard: 0 },
  })
  const memory = new MemoryStore(clock, settingsOf)
  const store = isShared ? shared(memory) : memory
  const failures: unknown[] = []
  const follow = (operation: Promise<unknown>): void => {
    operation.catch((error: unknown) => failures.push(error))
  }
  const grants = new GrantListeners(store, follow)
  const deadlines = new Deadlines<LeaseTurn>(clock, (turn) => turn.timeUp())
  const warnings: string[] = []
  const policy: LeasePolicy = {
    leases: {
      defaultTtlMs: 30_000,
      maxTtlMs: 3_600_000,
      maxPerCaller: 100,
      origins: [],
      ...leases,
    },
    maxWaitMs: 600_000,
    resources: named,
    subjects,
    limitsOf,
    ownResource: (provider, group) => (provider === 'anthropic' ? `anthropic/own/${group}` : null),
  }
  let made = 0
  const createDesk = () =>
    new LeaseDesk({
      context: { clock, store, grants, deadlines, follow },
      policy: () => policy,
      random: () => 0.5,
      randomBytes: (size) => new Uint8Array(size).fill(++made),
      warned: (sentence) => warnings.push(sentence),
    })
  return { clock, store, grants, failures, warnings, createDesk, desk: createDesk() }
}

const wish = (more: Partial<LeaseWish> = {}): LeaseWish => ({
  caller: ALICE,
  resource: 'r',
  load: 0,
  lane: null,
  flow: null,
  maxWaitMs: null,
  ttlMs: null,
  idempotencyKey: null,
  isResumed: false,
  ...more,
})

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function reasonOf(answer: { readonly kind: string } | LeaseOutcome | Opened): string {
  if (answer.kind === 'refused' && 'refusal' in answer) return answer.refusal.reason
  return answer.kind
}

/** A lease, which was there to be had. */
async function hold(desk: LeaseDesk, more: Partial<LeaseWish> = {}): Promise<LeaseAsk> {
  const opened = await desk.open(wish(more))
  if (opened.kind !== 'told' || opened.outcome.kind !== 'granted')
    throw new Error(`not granted: ${JSON.stringify(opened)}`)
  return opened.ask
}

async function waitFor(desk: LeaseDesk, more: Partial<LeaseWish> = {}): Promise<LeaseAsk> {
  const opened = await desk.open(wish(more))
  if (opened.kind !== 'waiting') throw new Error(`not waiting: ${reasonOf(opened)}`)
  return opened.ask
}

/** What an ask has come to by now, or `pending`. */
async function outcomeOf(ask: LeaseAsk): Promise<string> {
  await settled()
  const outcome = await Promise.race([ask.outcome, Promise.resolve(null)])
  return outcome ? reasonOf(outcome) : 'pending'
}

async function countsOf(store: MemoryStore): Promise<[held: number, waiting: number]> {
  const all = await store.snapshot()
  return [
    all.reduce((sum, { inFlight }) => sum + inFlight, 0),
    all.reduce((sum, { queued }) => sum + queued, 0),
  ]
}

describe('an ask', () => {
  it('is granted at once where there is room, and its slot is free again when it is settled', async () => {
    const { desk, store, clock } = open()
    const first = await hold(desk)
    expect(first.granted()).toMatchObject({ grantedAt: START_AT, waitedMs: 0, ttlMs: 30_000 })
    const second = await waitFor(desk, { caller: BOB })
    clock.advanceTo(START_AT + 700)
    expect(await outcomeOf(second)).toBe('pending')
    expect(await desk.settle(ALICE, first.id, null)).toEqual({ kind: 'ended' })
    expect(await second.outcome).toMatchObject({
      kind: 'granted',
      lease: { waitedMs: 700, expiresAt: START_AT + 30_700 },
    })
    expect(await countsOf(store)).toEqual([1, 0])
  })

  it('waits as long as it may, and leaves nothing behind', async () => {
    const { desk, store, grants, clock } = open()
    await hold(desk)
    const second = await waitFor(desk, { maxWaitMs: 5000 })
    clock.advanceTo(START_AT + 4999)
    expect(await outcomeOf(second)).toBe('pending')
    clock.advanceTo(START_AT + 5000)
    expect(await outcomeOf(second)).toBe('waited_out')
    expect(await countsOf(store)).toEqual([1, 0])
    expect([grants.size, desk.size]).toEqual([0, 1])
  })

  it('that may not wait is refused', async () => {
    const { desk, clock } = open()
    await hold(desk)
    const opened = desk.open(wish({ maxWaitMs: 0 }))
    await settled()
    clock.advanceTo(START_AT)
    const ask = await opened
    if (ask.kind === 'refused') throw new Error('not the desk’s own')
    expect(reasonOf(await ask.ask.outcome)).toBe('waited_out')
  })

  it('is refused for what can never be', async () => {
    const { desk } = open({ resources: { r: [tokensAnHour(1000)], other: [atOnce(1)] } })
    const refusals = await Promise.all(
      [
        wish({ resource: 'othr' }),
        wish({ resource: 'user/alice' }),
        wish({ resource: 'openai/gpt' }),
        wish({ load: 1001 }),
        wish({ load: { tokens: 1001 } }),
        wish({ ttlMs: 3_600_001 }),
      ].map((one) => desk.open(one)),
    )
    expect(refusals.map((one) => one.kind === 'refused' && one.refusal)).toMatchObject([
      { reason: 'unknown_resource', field: 'resource', message: expect.stringContaining('other?') },
      { reason: 'unknown_resource' },
      { reason: 'unknown_resource', message: expect.stringContaining('no key of its own') },
      { reason: 'load_too_large', field: 'load' },
      {
        reason: 'load_too_large',
        field: 'load.tokens',
        message:
          'load.tokens has 1001 tokens, and the limit is 1000 tokens per 3600 s: ask for less, in parts.',
      },
      { reason: 'invalid', field: 'ttlMs' },
    ])
    expect(desk.size).toBe(0)
  })

  it('is for the gate’s own key where a provider and a group are named', async () => {
    const { desk } = open()
    const lease = await hold(desk, { resource: 'anthropic/claude-sonnet-4' })
    expect(lease.resource).toBe('anthropic/own/claude-sonnet-4')
    const full = await hold(desk, { resource: 'anthropic/own/claude-sonnet-4' })
    expect(full.resource).toBe('anthropic/own/claude-sonnet-4')
  })

  it('counts against what its caller may have, and no other caller’s', async () => {
    const { desk } = open({ resources: { r: [atOnce(5)] }, leases: { maxPerCaller: 2 } })
    const first = await hold(desk)
    await hold(desk)
    expect(reasonOf(await desk.open(wish()))).toBe('too_many_leases')
    await hold(desk, { caller: BOB })
    await desk.release(ALICE, first.id)
    await hold(desk)
  })

  it('takes of its subject’s limits, and gives it back with the lease', async () => {
    const { desk, store } = open({ resources: { r: [atOnce(5)] }, rules: tierOf(1, 'reject') })
    const first = await hold(desk)
    const second = await desk.open(wish())
    expect(second).toMatchObject({
      outcome: { refusal: { reason: 'limit_reached', message: expect.stringContaining('alice') } },
    })
    expect(await countsOf(store)).toEqual([2, 0])
    await desk.settle(ALICE, first.id, null)
    await settled()
    expect(await countsOf(store)).toEqual([0, 0])
    await hold(desk)
  })

  it('says that it waits where its subject’s limit makes it wait', async () => {
    const { desk, store } = open({ resources: { r: [atOnce(5)] }, rules: tierOf(1, 'wait') })
    const first = await hold(desk)
    const second = await waitFor(desk)
    expect(await second.position()).toMatchObject({ position: 0 })
    await desk.release(ALICE, first.id)
    expect(await outcomeOf(second)).toBe('granted')
    expect(await countsOf(store)).toEqual([2, 0])
  })
})

describe('an idempotency key', () => {
  const keyed = { idempotencyKey: 'job-7' }

  it('finds the same ask again, and both are told', async () => {
    const { desk } = open()
    const blocking = await hold(desk)
    const one = await waitFor(desk, keyed)
    const other = await waitFor(desk, keyed)
    expect(other).toBe(one)
    await desk.settle(ALICE, blocking.id, null)
    expect(await outcomeOf(one)).toBe('granted')
    expect((await hold(desk, keyed)).id).toBe(one.id)
  })

  it('is another ask for another caller or another resource', async () => {
    const { desk } = open({ resources: { r: [atOnce(5)], s: [atOnce(5)] } })
    const ids = [
      await hold(desk, keyed),
      await hold(desk, { ...keyed, caller: BOB }),
      await hold(desk, { ...keyed, resource: 's' }),
    ].map(({ id }) => id)
    expect(new Set(ids).size).toBe(3)
  })

  it('is refused once its lease has ended', async () => {
    const { desk } = open()
    const lease = await hold(desk, keyed)
    await desk.settle(ALICE, lease.id, null)
    expect(reasonOf(await desk.open(wish(keyed)))).toBe('lease_ended')
  })

  it('keeps the place of a connection that broke, for half a minute', async () => {
    const { desk, clock, store } = open()
    const blocking = await hold(desk, { ttlMs: 600_000 })
    const lost = await waitFor(desk, keyed)
    const behind = await waitFor(desk, { caller: BOB })
    clock.advanceTo(START_AT + 8000)
    await settled()
    lost.detach(false)
    clock.advanceTo(START_AT + 27_000)
    const back = await waitFor(desk, { ...keyed, isResumed: true })
    expect([back.id, back.isPlaceLost]).toEqual([lost.id, false])
    await desk.settle(ALICE, blocking.id, null)
    expect(await outcomeOf(back)).toBe('granted')
    expect(back.granted().waitedMs).toBe(27_000)
    expect(await outcomeOf(behind)).toBe('pending')
    expect(await countsOf(store)).toEqual([1, 1])
  })

  it('gives the place up when nobody comes back', async () => {
    const { desk, clock, store, grants } = open()
    await hold(desk, { ttlMs: 600_000 })
    const lost = await waitFor(desk, keyed)
    lost.detach(false)
    clock.advanceTo(START_AT + 29_999)
    expect(await countsOf(store)).toEqual([1, 1])
    clock.advanceTo(START_AT + 30_000)
    expect(await countsOf(store)).toEqual([1, 0])
    expect([desk.size, grants.size]).toEqual([1, 0])
    const late = await waitFor(desk, { ...keyed, isResumed: true })
    expect(late.isPlaceLost).toBe(true)
  })

  it('finds the lease that was granted while nobody was there', async () => {
    const { desk, clock, store } = open()
    const blocking = await hold(desk)
    const lost = await waitFor(desk, { ...keyed, ttlMs: 100_000 })
    lost.detach(false)
    await desk.settle(ALICE, blocking.id, null)
    await settled()
    expect(await countsOf(store)).toEqual([1, 0])
    clock.advanceTo(START_AT + 20_000)
    const back = await hold(desk, { ...keyed, ttlMs: 100_000, isResumed: true })
    expect(back.id).toBe(lost.id)
    clock.advanceTo(START_AT + 119_999)
    expect(await countsOf(store)).toEqual([1, 0])
    clock.advanceTo(START_AT + 120_000)
    expect(await countsOf(store)).toEqual([0, 0])
  })

  it('holds no lease for a caller who never hears of it', async () => {
    const { desk, clock, store } = open()
    const blocking = await hold(desk)
    const lost = await waitFor(desk, { ...keyed, ttlMs: 600_000 })
    lost.detach(false)
    await desk.settle(ALICE, blocking.id, null)
    clock.advanceTo(START_AT + 30_000)
    expect(await countsOf(store)).toEqual([0, 0])
    expect(desk.size).toBe(0)
  })
})

describe('an ask that nobody waits for any more', () => {
  const keyed = { idempotencyKey: 'job-7', ttlMs: 600_000 }

  async function away() {
    const given = open()
    const blocking = await hold(given.desk, { ttlMs: 600_000 })
    const lost = await waitFor(given.desk, keyed)
    lost.detach(false)
    return { ...given, blocking, lost }
  }

  it('waits no longer than it may', async () => {
    const { desk, clock, store, grants } = open()
    await hold(desk)
    const lost = await waitFor(desk, { ...keyed, maxWaitMs: 5000 })
    lost.detach(false)
    clock.advanceTo(START_AT + 5000)
    await settled()
    expect([await countsOf(store), grants.size]).toEqual([[1, 0], 0])
    const back = await waitFor(desk, { ...keyed, isResumed: true })
    expect(back.isPlaceLost).toBe(true)
  })

  it('keeps a lease that nobody was told of no longer than a place', async () => {
    const { desk, clock, store } = open()
    const untold = await hold(desk, keyed)
    untold.detach(false)
    await settled()
    clock.advanceTo(START_AT + 29_999)
    expect(await countsOf(store)).toEqual([1, 0])
    const back = await hold(desk, { ...keyed, isResumed: true })
    expect(back.granted()).toMatchObject({ id: untold.id, ttlMs: 600_000 })
    back.detach(false)
    await settled()
    clock.advanceTo(START_AT + 60_000)
    await settled()
    expect([await countsOf(store), desk.size]).toEqual([[0, 0], 0])
  })

  it('is not settled, and can still be asked for again', async () => {
    const { desk, lost } = await away()
    expect(reasonOf(await desk.settle(ALICE, lost.id, null))).toBe('still_waiting')
    expect(reasonOf(await desk.renew(ALICE, lost.id, null))).toBe('still_waiting')
    const back = await waitFor(desk, { ...keyed, isResumed: true })
    expect([back.id, back.isPlaceLost]).toEqual([lost.id, false])
  })

  it('is cancelled as any other', async () => {
    const { desk, store, grants, lost } = await away()
    expect(await desk.release(ALICE, lost.id)).toEqual({ kind: 'ended' })
    expect([await countsOf(store), desk.size, grants.size]).toEqual([[1, 0], 1, 0])
    expect(reasonOf(await desk.open(wish(keyed)))).toBe('lease_ended')
  })

  it('is settled once it has been granted', async () => {
    const { desk, store, grants, blocking, lost } = await away()
    await desk.settle(ALICE, blocking.id, null)
    await settled()
    expect(await countsOf(store)).toEqual([1, 0])
    expect(await desk.settle(ALICE, lost.id, null)).toEqual({ kind: 'ended' })
    expect([await countsOf(store), desk.size, grants.size]).toEqual([[0, 0], 0, 0])
  })

  it('is told that its place is lost when it comes back to none', async () => {
    const { desk, store, lost } = await away()
    await store.leave('r', lost.id)
    const back = await waitFor(desk, { ...keyed, isResumed: true })
    expect(back.isPlaceLost).toBe(true)
  })

  it('goes on from its subject’s line to the next', async () => {
    const { desk, store } = open({ rules: tierOf(1, 'wait') })
    const first = await hold(desk)
    await waitFor(desk, { caller: callerOf({ ...ANONYMOUS, user: 'carol' }, false) })
    const lost = await waitFor(desk, keyed)
    lost.detach(false)
    await desk.settle(ALICE, first.id, null)
    await settled()
    expect((await store.look('r'))?.queued).toBe(1)
  })
})

describe('a connection without a key', () => {
  it('takes its ask out of line when it breaks', async () => {
    const { desk, store, grants } = open()
    await hold(desk)
    const waiting = await waitFor(desk)
    waiting.detach(false)
    await settled()
    expect(await countsOf(store)).toEqual([1, 0])
    expect([desk.size, grants.size]).toEqual([1, 0])
  })

  it('gives back the lease that it could not be told of', async () => {
    const { desk, store } = open()
    const lease = await hold(desk)
    lease.detach(false)
    await settled()
    expect(await countsOf(store)).toEqual([0, 0])
  })

  it('keeps the lease that it was told of', async () => {
    const { desk, store } = open()
    const lease = await hold(desk)
    lease.detach(true)
    await settled()
    expect(await countsOf(store)).toEqual([1, 0])
  })
})

describe('a place in line', () => {
  it('lasts for hours while somebody waits', async () => {
    const { desk, clock, store } = open()
    const blocking = await hold(desk, { ttlMs: 3_600_000 })
    const waiting = await waitFor(desk, { maxWaitMs: 86_400_000 })
    for (let at = 1; at < 120; at++) {
      clock.advanceTo(START_AT + at * 20_000)
      await settled()
    }
    expect(await countsOf(store)).toEqual([1, 1])
    await desk.settle(ALICE, blocking.id, null)
    expect(await outcomeOf(waiting)).toBe('granted')
    expect(waiting.isPlaceLost).toBe(false)
  })

  it('that is gone is taken anew, at the end of the line', async () => {
    const { desk, clock, store } = open()
    const blocking = await hold(desk, { ttlMs: 600_000 })
    const waiting = await waitFor(desk)
    expect(await store.cancel('r', waiting.id)).not.toBeNull()
    expect(await countsOf(store)).toEqual([1, 0])
    clock.advanceTo(START_AT + 10_000)
    await settled()
    expect(await countsOf(store)).toEqual([1, 1])
    expect(waiting.isPlaceLost).toBe(true)
    await desk.settle(ALICE, blocking.id, null)
    expect(await outcomeOf(waiting)).toBe('granted')
  })
})

describe('a lease', () => {
  it('ends by itself at the instant at which it expires, and the next is granted then', async () => {
    const { desk, clock } = open()
    const lease = await hold(desk, { ttlMs: 5000 })
    const next = await waitFor(desk)
    clock.advanceTo(START_AT + 4999)
    expect(await outcomeOf(next)).toBe('pending')
    clock.advanceTo(START_AT + 5000)
    expect(await outcomeOf(next)).toBe('granted')
    expect(await desk.renew(ALICE, lease.id, null)).toMatchObject({
      refusal: { reason: 'lease_unknown', message: expect.stringContaining('expired') },
    })
  })

  it('is renewed for no longer than is allowed by now, and not lost for that', async () => {
    const { desk } = open()
    const lease = await hold(desk)
    expect(await desk.renew(ALICE, lease.id, 9_000_000)).toEqual({
      kind: 'renewed',
      expiresAt: START_AT + 3_600_000,
      ttlMs: 3_600_000,
    })
  })

  it('lasts as long as it is renewed, each time for as long as is said', async () => {
    const { desk, clock, store } = open()
    const lease = await hold(desk, { ttlMs: 5000 })
    clock.advanceTo(START_AT + 4000)
    expect(await desk.renew(ALICE, lease.id, null)).toMatchObject({ expiresAt: START_AT + 9000 })
    clock.advanceTo(START_AT + 8000)
    await desk.renew(ALICE, lease.id, 60_000)
    clock.advanceTo(START_AT + 67_999)
    expect(await countsOf(store)).toEqual([1, 0])
    await desk.renew(ALICE, lease.id, 1000)
    clock.advanceTo(START_AT + 68_999)
    expect(await countsOf(store)).toEqual([0, 0])
  })

  it('is settled once with what it used, and a second time for nothing', async () => {
    const { desk, store } = open({ resources: { r: [tokensAnHour(1000)] } })
    const left = async () => (await store.look('r'))?.limits[0]?.remaining
    const lease = await hold(desk, { load: 600 })
    expect(await left()).toBe(400)
    expect(await desk.settle(ALICE, lease.id, { tokens: 250 })).toEqual({ kind: 'ended' })
    expect(await desk.settle(ALICE, lease.id, { tokens: 900 })).toEqual({ kind: 'ended' })
    expect(await left()).toBe(750)
  })

  it('is settled at its estimate where nothing is said, and released for nothing', async () => {
    const { desk, store } = open({ resources: { r: [tokensAnHour(1000)] } })
    const left = async () => (await store.look('r'))?.limits[0]?.remaining
    await desk.settle(ALICE, (await hold(desk, { load: 300 })).id, null)
    expect(await left()).toBe(700)
    const other = await hold(desk, { load: 300 })
    await desk.release(ALICE, other.id)
    expect(await left()).toBe(700)
    expect(await desk.release(ALICE, other.id)).toEqual({ kind: 'ended' })
    expect(reasonOf(await desk.settle(ALICE, other.id, null))).toBe('lease_unknown')
  })

  it('is nobody’s but its caller’s, and theirs who end everybody’s', async () => {
    const { desk, store } = open()
    const { id } = await hold(desk)
    const forged = id.replace(/\.[\w-]+$/, `.${'A'.repeat(22)}`)
    for (const other of [forged, 'lease.x.y.z', 'nonsense', `${id}/r`]) {
      expect(reasonOf(await desk.release(ALICE, other))).toBe('lease_unknown')
    }
    expect(reasonOf(await desk.settle(BOB, id, null))).toBe('lease_unknown')
    expect(reasonOf(await desk.renew(BOB, id, null))).toBe('lease_unknown')
    expect(reasonOf(await desk.release(BOB, id))).toBe('lease_unknown')
    expect(reasonOf(await desk.find(BOB, id))).toBe('lease_unknown')
    expect(await countsOf(store)).toEqual([1, 0])
    expect(await desk.release(ADMIN, id)).toEqual({ kind: 'ended' })
    expect(await countsOf(store)).toEqual([0, 0])
  })

  it('is renewed and settled by another process that shares the store', async () => {
    const { desk, createDesk, store, clock } = open({ resources: { r: [tokensAnHour(1000)] } })
    const other = createDesk()
    const { id } = await hold(desk, { load: 600, ttlMs: 5000 })
    expect(await other.renew(ALICE, id, 20_000)).toMatchObject({ expiresAt: START_AT + 20_000 })
    clock.advanceTo(START_AT + 19_999)
    expect(await other.settle(ALICE, id, { tokens: 100 })).toEqual({ kind: 'ended' })
    expect((await store.look('r'))?.limits[0]?.remaining).toBe(900)
  })

  it('follows its resource when that turns out to be another one', async () => {
    const { desk, store } = open()
    const name = 'anthropic/a/claude-sonnet-4'
    await store.pause(name, START_AT)
    const lease = await hold(desk, { resource: name })
    await store.merge(name, 'anthropic/b/claude-sonnet-4')
    expect(await desk.renew(ALICE, lease.id, null)).toMatchObject({ kind: 'renewed' })
    expect(await desk.settle(ALICE, lease.id, null)).toEqual({ kind: 'ended' })
    expect(await countsOf(store)).toEqual([0, 0])
  })
})

describe('cancelling', () => {
  it('ends a waiting ask, whose caller is told', async () => {
    const { desk, store } = open()
    await hold(desk)
    const waiting = await waitFor(desk, { idempotencyKey: 'k' })
    expect(reasonOf(await desk.settle(ALICE, waiting.id, null))).toBe('still_waiting')
    expect(reasonOf(await desk.renew(ALICE, waiting.id, null))).toBe('still_waiting')
    expect(await desk.release(ALICE, waiting.id)).toEqual({ kind: 'ended' })
    expect(await outcomeOf(waiting)).toBe('cancelled')
    expect(await countsOf(store)).toEqual([1, 0])
    expect(reasonOf(await desk.open(wish({ idempotencyKey: 'k' })))).toBe('lease_ended')
  })

  it('at the instant of the grant leaves no lease', async () => {
    const { desk, store } = open()
    const blocking = await hold(desk)
    const waiting = await waitFor(desk)
    const ended = desk.settle(ALICE, blocking.id, null)
    const cancelled = desk.release(ALICE, waiting.id)
    await Promise.all([ended, cancelled])
    expect(await outcomeOf(waiting)).toBe('cancelled')
    expect(await countsOf(store)).toEqual([0, 0])
  })
})

describe('a check', () => {
  it('counts what it allows at once, and holds no slot', async () => {
    const { desk, store } = open({ resources: { r: [atOnce(1), tokensAnHour(1000)] } })
    expect(await desk.check(wish({ load: 600 }))).toMatchObject({
      refusal: null,
      count: 600,
      max: 1000,
    })
    expect(await countsOf(store)).toEqual([0, 0])
    expect(await desk.check(wish({ load: 600 }))).toMatchObject({
      refusal: { reason: 'wait_too_long', retryAfterMs: 3_660_000 },
      count: 600,
      max: 1000,
    })
    expect(await desk.check(wish({ load: 400 }))).toMatchObject({ refusal: null, count: 1000 })
  })

  it('shows the limit of its own subject where that refuses', async () => {
    const { desk } = open({ resources: { r: [tokensAnHour(1000)] }, rules: tierOf(1, 'reject') })
    await hold(desk)
    expect(await desk.check(wish({ load: 1 }))).toMatchObject({
      refusal: { reason: 'limit_reached' },
      count: 1,
      max: 1,
    })
  })

  it('does not wait for a slot', async () => {
    const { desk, clock, store } = open()
    await hold(desk)
    const checked = desk.check(wish())
    await settled()
    clock.advanceTo(START_AT)
    expect(await checked).toMatchObject({ refusal: { reason: 'waited_out' }, count: 1, max: 1 })
    await settled()
    expect(await countsOf(store)).toEqual([1, 0])
  })
})

describe('the list', () => {
  it('has a caller’s own, and everybody’s for those who may see them', async () => {
    const { desk } = open({ resources: { r: [atOnce(2)], s: [atOnce(1)] } })
    const held = await hold(desk, { load: 7, ttlMs: 5000 })
    const other = await hold(desk, { caller: BOB, resource: 's' })
    const waiting = await waitFor(desk, { resource: 's' })
    const idsOf = async (...asked: Parameters<LeaseDesk['list']>) => {
      const listed = await desk.list(...asked)
      return listed.kind === 'listed' ? listed.views.map(({ id, state }) => [id, state]) : listed
    }
    expect(await idsOf(ALICE, null)).toEqual([
      [held.id, 'held'],
      [waiting.id, 'waiting'],
    ])
    expect(await idsOf(ALICE, 's')).toEqual([[waiting.id, 'waiting']])
    expect(await idsOf(ADMIN, null)).toHaveLength(3)
    expect(await idsOf(BOB, null)).toEqual([[other.id, 'held']])
    expect(reasonOf(await desk.list(ALICE, 'unknown'))).toBe('unknown_resource')
    expect(await desk.find(ALICE, held.id)).toMatchObject({
      view: { estimate: { requests: 1, tokens: 7 }, expiresAt: START_AT + 5000 },
      prediction: null,
    })
    expect(await desk.find(ALICE, waiting.id)).toMatchObject({ prediction: { position: 0 } })
  })
})

describe('who looks at a store', () => {
  it('reads no more than a part of a resource, and none of a user’s or a team’s', async () => {
    const { desk, store } = open({
      resources: { r: [atOnce(2000)] },
      rules: tierOf(2000, 'wait'),
      leases: { maxPerCaller: 2000 },
    })
    for (let count = 0; count < 1001; count++) await hold(desk, { idempotencyKey: `${count}` })
    const read: [string, number][] = []
    const tickets = store.tickets.bind(store)
    store.tickets = (resource, most) => {
      read.push([resource, most])
      return tickets(resource, most)
    }
    const listed = await desk.list(ALICE, null)
    expect(listed.kind === 'listed' && listed.views.length).toBe(1000)
    expect(read).toEqual([['r', 1000]])
  })

  it('for one lease reads no other', async () => {
    const { desk, store } = open()
    const { id } = await hold(desk)
    store.tickets = async () => {
      throw new Error('not asked for')
    }
    expect(await desk.find(ALICE, id)).toMatchObject({ view: { id, state: 'held' } })
  })
})

describe('a store that others share', () => {
  const keyed = { idempotencyKey: 'job-7', ttlMs: 600_000 }

  it('keeps a lease whole that moved while its first process still believes in its client', async () => {
    const { desk, createDesk, clock, store } = open({ isShared: true })
    const blocking = await hold(desk, { ttlMs: 3_600_000 })
    const stale = await waitFor(desk, keyed)
    clock.advanceTo(START_AT + 12_000)
    await settled()
    const other = createDesk()
    const moved = await waitFor(other, { ...keyed, isResumed: true })
    expect([moved.id, moved.isPlaceLost]).toEqual([stale.id, false])
    await desk.settle(ALICE, blocking.id, null)
    expect(await outcomeOf(moved)).toBe('granted')
    const grantedAt = clock.now()
    for (let passed = 1000; passed < 600_000; passed += 1000) {
      clock.advanceTo(grantedAt + passed)
      await settled()
      expect(await countsOf(store)).toEqual([1, 0])
    }
    expect(await other.settle(ALICE, moved.id, null)).toEqual({ kind: 'ended' })
  })

  it('finds an ask again that waits for a limit of its caller’s own', async () => {
    const { desk, createDesk, clock, store } = open({
      isShared: true,
      resources: { r: [atOnce(5)] },
      rules: tierOf(1, 'wait'),
    })
    const blocking = await hold(desk, { ttlMs: 600_000 })
    const first = await waitFor(desk, keyed)
    clock.advanceTo(START_AT + 1000)
    const other = createDesk()
    expect(await other.find(ALICE, first.id)).toMatchObject({
      view: { id: first.id, resource: 'r', state: 'waiting', enqueuedAt: START_AT },
      prediction: { position: 0 },
    })
    expect(reasonOf(await other.settle(ALICE, first.id, null))).toBe('still_waiting')
    expect(reasonOf(await other.renew(ALICE, first.id, null))).toBe('still_waiting')
    first.detach(false)
    const moved = await waitFor(other, { ...keyed, isResumed: true })
    expect([moved.id, moved.isPlaceLost]).toEqual([first.id, false])
    await other.settle(ALICE, blocking.id, null)
    expect(await outcomeOf(moved)).toBe('granted')
    expect(await countsOf(store)).toEqual([2, 0])
  })

  it('lets an ask be cancelled that waits for a limit of its caller’s own elsewhere', async () => {
    const { desk, createDesk, store } = open({
      isShared: true,
      resources: { r: [atOnce(5)] },
      rules: tierOf(1, 'wait'),
    })
    await hold(desk)
    const waiting = await waitFor(desk, keyed)
    expect(await countsOf(store)).toEqual([2, 1])
    expect(await createDesk().release(ALICE, waiting.id)).toEqual({ kind: 'ended' })
    expect(await countsOf(store)).toEqual([2, 0])
  })

  it('takes nothing from an ask that is settled elsewhere before its time', async () => {
    const { desk, createDesk, store } = open({ isShared: true, rules: tierOf(1, 'wait') })
    await hold(desk, { caller: BOB })
    const waiting = await waitFor(desk, keyed)
    expect(reasonOf(await createDesk().settle(ALICE, waiting.id, null))).toBe('still_waiting')
    await settled()
    expect((await store.look('user/alice'))?.inFlight).toBe(1)
  })

  it('keeps the place of an ask whose process stops, and of no other', async () => {
    const { desk, createDesk, clock, store, warnings } = open({ isShared: true })
    const blocking = await hold(desk, { ttlMs: 600_000 })
    const first = await waitFor(desk, keyed)
    const other = await waitFor(desk)
    clock.advanceTo(START_AT + 9000)
    await desk.drain()
    expect([await outcomeOf(first), await outcomeOf(other)]).toEqual([
      'shutting_down',
      'shutting_down',
    ])
    first.detach(true)
    expect([await countsOf(store), warnings]).toEqual([[1, 1], []])
    clock.advanceTo(START_AT + 38_000)
    const desk2 = createDesk()
    const back = await waitFor(desk2, { ...keyed, isResumed: true })
    expect([back.id, back.isPlaceLost]).toEqual([first.id, false])
    await desk2.settle(ALICE, blocking.id, null)
    expect(await outcomeOf(back)).toBe('granted')
  })

  it('that is lost at the instant of the grant keeps no slot', async () => {
    const { desk, store, grants } = open()
    store.renew = async () => {
      throw new StoreUnreachable('gone')
    }
    const opened = await desk.open(wish())
    expect(opened).toMatchObject({ outcome: { refusal: { reason: 'store_failed' } } })
    await settled()
    expect([await countsOf(store), desk.size, grants.size]).toEqual([[0, 0], 0, 0])
  })

  it('that is slow does not have a lease thought to last longer than it does', async () => {
    const { desk, createDesk, store, clock } = open()
    const renew = store.renew.bind(store)
    store.renew = async (...sign) => {
      const isKnown = await renew(...sign)
      clock.advanceTo(clock.now() + 400)
      return isKnown
    }
    const { id, expiresAt } = await hold(desk, { ttlMs: 5000 })
    expect(expiresAt).toBe(START_AT + 5000)
    expect(await desk.renew(ALICE, id, 5000)).toMatchObject({ expiresAt: START_AT + 5400 })
    const other = createDesk()
    expect(await other.renew(ALICE, id, 5000)).toMatchObject({ expiresAt: START_AT + 5800 })
    expect((await store.ticket('r', id))?.expiresAt).toBe(START_AT + 5800)
  })

  it('that cannot be reached refuses those who ask, and nothing is left of them', async () => {
    const { desk, store, grants } = open()
    store.enqueue = async () => {
      throw new StoreUnreachable('gone')
    }
    const opened = await desk.open(wish())
    expect(opened).toMatchObject({ outcome: { refusal: { reason: 'store_failed' } } })
    await settled()
    expect([desk.size, grants.size]).toEqual([0, 0])
  })
})

describe('draining', () => {
  it('refuses those who wait, and says what is lost with the memory', async () => {
    const { desk, warnings, store } = open()
    await hold(desk)
    const waiting = await waitFor(desk, { idempotencyKey: 'k' })
    await desk.drain()
    expect(await outcomeOf(waiting)).toBe('shutting_down')
    expect(await countsOf(store)).toEqual([1, 0])
    expect(warnings).toEqual([expect.stringMatching(/^1 leases are held/)])
    expect(reasonOf(await desk.open(wish()))).toBe('shutting_down')
  })

  it('refuses those who had begun to ask', async () => {
    const { desk, store } = open()
    const opened = desk.open(wish())
    await desk.drain()
    expect(reasonOf(await opened)).toBe('shutting_down')
    await settled()
    expect([desk.size, await countsOf(store)]).toEqual([0, [0, 0]])
  })

  it('of one that began anew says since when it knows of leases', async () => {
    const { desk, createDesk, clock, store } = open()
    const { id } = await hold(desk)
    await store.release('r', id)
    clock.advanceTo(START_AT + 1000)
    expect(await createDesk().settle(ALICE, id, null)).toMatchObject({
      refusal: {
        reason: 'lease_unknown',
        message: `There is no such lease: this gate keeps leases in memory, and began at ${new Date(START_AT + 1000).toISOString()}: those from before are lost.`,
      },
    })
  })
})

it('ends everything that anybody does with nothing left, and never lets in too many', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('ask' as const), key: fc.constantFrom(null, 'a', 'b', 'c') }),
    fc.record({ kind: fc.constant('detach' as const), index: fc.nat(9), told: fc.boolean() }),
    fc.record({ kind: fc.constantFrom('settle', 'release', 'renew'), index: fc.nat(9) } as const),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { desk, clock, store, grants, failures } = open({ resources: { r: [atOnce(2)] } })
      const open_: { ask: LeaseAsk; isAttached: boolean }[] = []
      for (const one of steps) {
        const target = 'index' in one ? open_[one.index % Math.max(1, open_.length)] : undefined
        if (one.kind === 'ask') {
          const opened = await desk.open(wish({ idempotencyKey: one.key, ttlMs: 10_000 }))
          if (opened.kind !== 'refused') open_.push({ ask: opened.ask, isAttached: true })
        } else if (one.kind === 'pass') clock.advanceTo(clock.now() + one.ms)
        else if (target && one.kind === 'detach' && target.isAttached) {
          target.isAttached = false
          target.ask.detach('told' in one && one.told)
        } else if (target && one.kind === 'settle') await desk.settle(ALICE, target.ask.id, null)
        else if (target && one.kind === 'release') await desk.release(ALICE, target.ask.id)
        else if (target && one.kind === 'renew') await desk.renew(ALICE, target.ask.id, null)
        await settled()
        const [held] = await countsOf(store)
        expect(held).toBeLessThanOrEqual(2)
      }
      for (const { ask, isAttached } of open_) if (isAttached) ask.detach(true)
      for (let passed = 0; passed < 60_000; passed += 5000) {
        clock.advanceTo(clock.now() + 5000)
        await settled()
      }
      expect(await countsOf(store)).toEqual([0, 0])
      expect([desk.size, grants.size, failures]).toEqual([0, 0, []])
    }),
    { numRuns: 150 },
  )
})
