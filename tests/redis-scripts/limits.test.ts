import fc from 'fast-check'
import { afterAll, beforeAll, describe, it } from 'vitest'
import type { EpochMs } from '../../src/core/clock.ts'
import { type CostVector, costOf } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import { LimitStack } from '../../src/core/limit-stack.ts'
import { Backlog, Ticket } from '../../src/core/line.ts'
import type { ObservedLimit } from '../../src/core/observation.ts'
import { Underway } from '../../src/core/underway.ts'
import { type Answer, expectAnswers, type Step } from './answers.ts'
import { type LuaRunner, luaRunner } from './run-lua.ts'
import { settingsFor } from './settings.ts'

const EPOCH = 1.8e12

let lua: LuaRunner
beforeAll(async () => {
  lua = await luaRunner('operations.lua', ['limits'])
})
afterAll(() => lua.close())

const configured: Limit[] = [
  {
    algorithm: 'token_bucket',
    dimension: 'input_tokens',
    amount: 30_000,
    windowMs: 60_000,
    source: 'configured',
  },
  {
    algorithm: 'token_bucket',
    dimension: 'requests',
    amount: 60,
    windowMs: 60_000,
    burst: 5,
    source: 'configured',
  },
  {
    algorithm: 'sliding_window',
    dimension: 'tokens',
    amount: 50_000,
    windowMs: 60_000,
    source: 'configured',
  },
  {
    algorithm: 'fixed_window',
    dimension: 'cost',
    amount: 5_000_000,
    windowMs: 7000,
    source: 'configured',
  },
  { algorithm: 'concurrency', dimension: 'concurrency', amount: 4, source: 'configured' },
]

const anyCost = fc
  .oneof(
    fc.record({
      input_tokens: fc.integer({ min: 0, max: 9000 }),
      output_tokens: fc.integer({ min: 0, max: 4000 }),
      cost: fc.integer({ min: 0, max: 2_000_000 }),
    }),
    fc.record({
      input_tokens: fc.double({ min: 0, max: 40_000, noNaN: true }),
      output_tokens: fc.double({ min: 0, max: 4000, noNaN: true }),
      requests: fc.constantFrom(0, 1, 2),
    }),
  )
  .map(costOf)

const anyObserved: fc.Arbitrary<ObservedLimit> = fc
  .record({
    dimension: fc.constantFrom('requests', 'input_tokens', 'output_tokens', 'tokens'),
    amount: fc.constantFrom(0, 1000, 40_000, 40_000, 40_000),
    part: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
    roundedBy: fc.constantFrom(0, 0, 500),
    fullInMs: fc.option(fc.integer({ min: 0, max: 90_000 })),
    minuteFits: fc.boolean(),
  })
  .map(({ part, minuteFits, fullInMs, ...observed }) => {
    const remaining = Math.round(observed.amount * part)
    const minute = Math.round((1 - part) * 60_000)
    return {
      ...observed,
      remaining,
      fullInMs: fullInMs === null || !minuteFits ? fullInMs : minute,
      fullInErrorMs: 2000,
    }
  })

const anyDraw = fc.record({
  kind: fc.constantFrom(
    'hold',
    'hold',
    'hold',
    'rejoin',
    'charge',
    'revise',
    'settle',
    'give_back',
    'ready_in_long_run',
    'share_of',
    'is_full',
    'configure',
    'fuse',
    'surprised',
    'forget_others',
  ),
  gapMs: fc.oneof(
    fc.constant(0),
    fc.integer({ min: 0, max: 500 }),
    fc.double({ min: 0, max: 20_000, noNaN: true }),
  ),
  waits: fc.boolean(),
  cost: anyCost,
  other: anyCost,
  which: fc.nat(30),
  produced: fc.option(fc.integer({ min: 0, max: 3000 })),
  observed: fc.array(anyObserved, { maxLength: 3 }),
  flightMs: fc.integer({ min: 0, max: 5000 }),
})

type Draw = typeof anyDraw extends fc.Arbitrary<infer T> ? T : never

interface World {
  readonly limits: readonly Limit[]
  readonly learns: boolean
  readonly floors: { readonly soft: number; readonly hard: number }
}

const nameOf = (limit: Limit | null): string =>
  limit ? `${limit.source} ${limit.algorithm} ${limit.dimension}` : 'nothing'

/** The limits of one gate in TypeScript, and what is written down of them for the Lua. */
class Written {
  readonly steps: Step[] = []
  readonly #world: World
  readonly #limits: LimitStack
  readonly #underway: Underway | null
  readonly #leases: Ticket[] = []
  #now: EpochMs
  #count = 0

  constructor(world: World, now: EpochMs) {
    this.#world = world
    this.#now = now
    this.#limits = new LimitStack(world.limits, world.floors, now)
    this.#underway = world.learns ? new Underway() : null
    this.#configure()
  }

  draw(draw: Draw): void {
    this.#now += draw.gapMs
    const readyAt = this.#readyAt(draw.cost)
    if (draw.waits && readyAt < Number.POSITIVE_INFINITY) {
      this.#now = readyAt
      this.#readyAt(draw.cost)
    }
    this[`_${draw.kind}`](draw)
    this.#snapshot()
  }

  #say(op: object, ...answer: Answer): void {
    this.steps.push({ op: { now: this.#now, ...op }, answer })
  }

  #readyAt(cost: CostVector): EpochMs {
    const at = this.#limits.readyAt(cost, this.#now)
    this.#say({ op: 'ready_at', cost }, at, nameOf(this.#limits.boundBy))
    return at
  }

  #snapshot(): void {
    const limits = this.#limits.snapshot(this.#now)
    const told = limits.flatMap((limit) => [
      limit.dimension,
      limit.amount,
      limit.remaining,
      limit.windowMs ?? 0,
      limit.guard ?? 0,
      limit.othersPerMinute ?? 0,
    ])
    this.#say({ op: 'snapshot' }, ...told)
  }

  #configure(): void {
    const { limits, learns, floors } = this.#world
    this.#say({ op: 'configure', settings: settingsFor(limits, this.#now, learns, floors) })
  }

  _configure(): void {
    this.#configure()
  }

  _hold({ cost }: Draw): void {
    const { lease, id } = this.#lease(cost)
    this.#limits.take(cost, this.#now)
    this.#underway?.depart(lease, this.#now)
    this.#say({ op: 'hold', id, cost })
  }

  _rejoin({ cost }: Draw): void {
    const { lease, id } = this.#lease(cost)
    this.#limits.takeSlot(this.#now)
    this.#underway?.add(lease)
    this.#say({ op: 'rejoin', id, cost })
  }

  _charge({ cost }: Draw): void {
    this.#limits.charge(cost, this.#now)
    this.#say({ op: 'charge', cost })
  }

  _revise({ which, cost, produced }: Draw): void {
    const lease = this.#leases[which % Math.max(1, this.#leases.length)]
    if (!lease) return
    this.#limits.correct(lease.estimate, cost, lease.grantedAt, this.#now)
    this.#underway?.remove(lease)
    lease.estimate = cost
    lease.produced = produced
    this.#underway?.add(lease)
    this.#say({ op: 'revise', id: lease.id, cost, produced: produced ?? -1 })
  }

  _settle({ which, cost }: Draw): void {
    const lease = this.#end(which)
    if (!lease) return
    this.#limits.correct(lease.estimate, cost, lease.grantedAt, this.#now)
    this.#limits.freeSlot(lease.grantedAt, this.#now)
    this.#say({ op: 'settle', id: lease.id, cost })
  }

  _give_back({ which }: Draw): void {
    const lease = this.#end(which)
    if (!lease) return
    this.#limits.giveBack(lease.estimate, lease.grantedAt, this.#now)
    this.#underway?.undoDeparture(lease, this.#now)
    this.#say({ op: 'give_back', id: lease.id })
  }

  _ready_in_long_run({ cost, other }: Draw): void {
    const ahead = Object.assign(new Backlog(), other)
    const { at, limit } = this.#limits.readyInLongRun(ahead, cost, this.#now)
    this.#say({ op: 'ready_in_long_run', ahead: other, cost }, at, nameOf(limit))
  }

  _share_of({ cost }: Draw): void {
    this.#say({ op: 'share_of', cost }, this.#limits.shareOf(cost))
  }

  _is_full(): void {
    this.#say({ op: 'is_full' }, this.#limits.isFull(this.#now))
  }

  _fuse({ observed, flightMs }: Draw): void {
    if (!this.#underway) return
    const sentAt = this.#now - flightMs
    const isNews = this.#limits.fuse(observed, sentAt, this.#underway, this.#now)
    const stated = observed.map((limit) => ({
      dimension: limit.dimension,
      amount: limit.amount,
      remaining: limit.remaining,
      rounded_by: limit.roundedBy,
      full_in_ms: limit.fullInMs,
      full_in_error_ms: limit.fullInErrorMs,
    }))
    this.#say({ op: 'fuse', observed: stated, sent_at: sentAt }, isNews)
  }

  _surprised(): void {
    this.#limits.surprised(this.#now)
    this.#say({ op: 'surprised' })
  }

  _forget_others(): void {
    this.#limits.forgetOthers(this.#now)
    this.#say({ op: 'forget_others' })
  }

  #lease(estimate: CostVector): { lease: Ticket; id: string } {
    const id = `lease-${this.#count++}`
    const lease = new Ticket(
      {
        id,
        resource: 'gate',
        flow: 'flow',
        lane: 'normal',
        weight: 1,
        estimate,
        deadlineAt: Number.POSITIVE_INFINITY,
        place: null,
        parked: false,
        holder: null,
      },
      0,
      this.#now,
    )
    lease.grantedAt = this.#now
    this.#leases.push(lease)
    return { lease, id }
  }

  #end(which: number): Ticket | undefined {
    const [lease] = this.#leases.splice(which % Math.max(1, this.#leases.length), 1)
    if (lease) this.#underway?.remove(lease)
    return lease
  }
}

const anyHistory = fc.array(anyDraw, { maxLength: 120, size: 'max' })

async function decideAlike(world: World, draws: readonly Draw[], isExact: boolean): Promise<void> {
  const written = new Written(world, EPOCH)
  for (const draw of draws) written.draw(draw)
  expectAnswers(written.steps, await lua.run(written.steps.map(({ op }) => op)), isExact)
}

describe('the limits of a gate in Lua', () => {
  it('decide as the TypeScript does, to the last digit, where they are configured', async () => {
    await fc.assert(
      fc.asyncProperty(fc.subarray(configured), anyHistory, (limits, draws) =>
        decideAlike({ limits, learns: false, floors: { soft: 0, hard: 0 } }, draws, true),
      ),
      { numRuns: 150 },
    )
  })

  it('decide as the TypeScript does where they are learnt', async () => {
    const floors = fc.record({
      soft: fc.constantFrom(0, 5000, 20_000),
      hard: fc.constantFrom(0, 1000),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.subarray(configured, { maxLength: 2 }),
        floors,
        anyHistory,
        (limits, floors, draws) => decideAlike({ limits, learns: true, floors }, draws, false),
      ),
      { numRuns: 250 },
    )
  })

  it('name the one learnt first of two that are as tight', async () => {
    const empty = (dimension: ObservedLimit['dimension'], amount: number): ObservedLimit => ({
      dimension,
      amount,
      remaining: 0,
      roundedBy: 0,
      fullInMs: null,
      fullInErrorMs: 0,
    })
    const draw = {
      gapMs: 0,
      waits: false,
      cost: costOf({ input_tokens: 500, output_tokens: 500 }),
      other: costOf({}),
      which: 0,
      produced: null,
      observed: [],
      flightMs: 0,
    }
    const first = [empty('tokens', 2000), empty('input_tokens', 1000)]
    await decideAlike(
      { limits: [], learns: true, floors: { soft: 100, hard: 0 } },
      [
        { ...draw, kind: 'fuse', observed: first },
        { ...draw, kind: 'fuse', observed: [empty('tokens', 1000)] },
        { ...draw, kind: 'surprised' },
        { ...draw, kind: 'hold' },
        { ...draw, kind: 'is_full' },
      ],
      true,
    )
  })
})
