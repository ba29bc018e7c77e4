// Random histories of one resource. Owns: the steps, how they are drawn, how they are followed.
// Must not know: what must hold of them.
import fc from 'fast-check'
import type { Bounce, GateSettings, LimitRefusal } from '../../src/core/admission.ts'
import type { EpochMs } from '../../src/core/clock.ts'
import { type CostVector, costOf } from '../../src/core/cost.ts'
import { LANES, type Lane } from '../../src/core/lane.ts'
import type { Limit } from '../../src/core/limit.ts'
import type { ObservedLimit } from '../../src/core/observation.ts'
import type { Holder, TicketView } from '../../src/core/ticket.ts'
import type { Caller } from './callers.ts'
import { Line, PROCESSES_LIVE_BEYOND, type StoreUnderTest } from './line.ts'

export type Step =
  | {
      readonly kind: 'enqueue'
      readonly flow: string
      readonly lane: Lane
      readonly weight: number
      readonly input: number
      readonly output: number
      readonly parked: boolean
      /** How long it is ready to wait; null: for ever. */
      readonly patienceMs: number | null
      readonly holder: Holder | null
    }
  /** A request comes again, since its answer was lost. */
  | { readonly kind: 'repeat'; readonly pick: number }
  | { readonly kind: 'cancel'; readonly pick: number; readonly comesBack: boolean }
  | { readonly kind: 'leave'; readonly pick: number }
  | { readonly kind: 'unpark'; readonly pick: number }
  | {
      readonly kind: 'settle'
      readonly pick: number
      readonly part: number
      readonly exact: boolean
    }
  | { readonly kind: 'release'; readonly pick: number }
  | { readonly kind: 'revise'; readonly pick: number; readonly part: number }
  | { readonly kind: 'bounce'; readonly pick: number; readonly because: Bounce['kind'] }
  | { readonly kind: 'raise'; readonly pick: number }
  | { readonly kind: 'renew'; readonly holder: string; readonly ttlMs: number }
  | {
      readonly kind: 'rejoin'
      readonly picks: readonly number[]
      /** What its owner thinks of each: that it is a lease, that it waits, or what the store thinks. */
      readonly as: 'lease' | 'waiting' | 'known'
      readonly isCounted: boolean
      readonly spent: number
    }
  | { readonly kind: 'answered'; readonly firstAnswerMs: number | null }
  | { readonly kind: 'observe'; readonly stated: readonly Stated[]; readonly flightMs: number }
  | { readonly kind: 'refused'; readonly stated: readonly Stated[]; readonly flightMs: number }
  | { readonly kind: 'pause'; readonly ms: number }
  /** Each limit becomes so many times as large. */
  | { readonly kind: 'reconfigure'; readonly times: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'waitForNext' }

/** What an answer says of one limit of the provider. */
interface Stated {
  readonly dimension: ObservedLimit['dimension']
  readonly amount: number
  /** As a part of the amount. */
  readonly left: number
}

export interface History {
  readonly settings: Partial<GateSettings>
  readonly steps: readonly Step[]
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** The most that one drawn request takes. */
const MOST_INPUT = 40
const MOST_OUTPUT = 20

const source = 'configured'
const consumed = {
  requests: fc.integer({ min: 1, max: 8 }),
  input_tokens: fc.integer({ min: MOST_INPUT, max: 4 * MOST_INPUT }),
  tokens: fc.integer({ min: MOST_INPUT + MOST_OUTPUT, max: 200 }),
}
const windowMs = fc.constantFrom(1000, 3000, 700)

const limit: fc.Arbitrary<Limit> = fc
  .constantFrom('requests' as const, 'input_tokens' as const, 'tokens' as const)
  .chain((dimension) => {
    const amount = consumed[dimension]
    const parts = {
      dimension: fc.constant(dimension),
      amount,
      windowMs,
      source: fc.constant(source),
    }
    return fc.oneof(
      fc.record({ ...parts, algorithm: fc.constant('token_bucket' as const), burst: amount }),
      fc.record({ ...parts, algorithm: fc.constant('token_bucket' as const) }),
      fc.record({ ...parts, algorithm: fc.constant('sliding_window' as const) }),
      fc.record({ ...parts, algorithm: fc.constant('fixed_window' as const) }),
    )
  })

const concurrency: fc.Arbitrary<Limit> = fc.integer({ min: 1, max: 6 }).map((amount) => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source,
}))

/** No two the same but for their bursts: one would do. */
const limits = (most: number) =>
  fc.uniqueArray(limit, {
    minLength: 1,
    maxLength: most,
    selector: ({ algorithm, dimension, amount }) => `${algorithm} ${dimension} ${amount}`,
  })

/** Stacks of one to four limits, each large enough for any single request that is drawn. */
export const limitStack: fc.Arbitrary<readonly Limit[]> = fc
  .tuple(limits(3), fc.option(concurrency))
  .map(([limits, slots]) => (slots ? [...limits, slots] : limits))

const pick = fc.nat(1000)
const kind = <K extends Step['kind']>(name: K) => fc.constant(name)

const enqueue = fc.record({
  kind: kind('enqueue'),
  flow: fc.constantFrom('a', 'b', 'c'),
  lane: fc.constantFrom<Lane>('normal', 'normal', ...LANES),
  weight: fc.constantFrom(1, 1, 2, 0.5),
  input: fc.integer({ min: 0, max: MOST_INPUT }),
  output: fc.integer({ min: 0, max: MOST_OUTPUT }),
  parked: fc.constant(false),
  patienceMs: fc.constant<number | null>(null),
  holder: fc.constant<Holder | null>(null),
})

/** Odd enough that nobody dies at an instant at which something else happens. */
const ttlMs = fc.integer({ min: 2000, max: 4000 }).map((ms) => ms + 0.123)
const HOLDERS = ['x', 'y', 'z']
const holder: fc.Arbitrary<Holder> = fc.record({ id: fc.constantFrom(...HOLDERS), ttlMs })
const enqueueMortal = fc.tuple(enqueue, holder).map(([step, holder]) => ({ ...step, holder }))
const renew = fc.record({ kind: kind('renew'), holder: fc.constantFrom(...HOLDERS), ttlMs })

const part = fc.constantFrom(0, 0.25, 0.6, 1)
const settle = fc.record({ kind: kind('settle'), pick, part, exact: fc.boolean() })
const moving: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: kind('wait'), ms: fc.integer({ min: 0, max: 900 }) }) },
  fc.record({ kind: kind('wait'), ms: fc.double({ min: 0, max: 5000, noNaN: true }) }),
  { weight: 2, arbitrary: fc.record({ kind: kind('waitForNext') }) },
)

/** No refusal by the provider, no estimate that is too low: what limits alone decide. */
const limitedStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: enqueue },
  { weight: 4, arbitrary: settle },
  { weight: 4, arbitrary: moving },
  fc.record({ kind: kind('cancel'), pick, comesBack: fc.boolean() }),
  fc.record({ kind: kind('release'), pick }),
  fc.record({ kind: kind('leave'), pick }),
  { weight: 2, arbitrary: fc.record({ kind: kind('revise'), pick, part }) },
  fc.record({ kind: kind('pause'), ms: fc.integer({ min: 0, max: 800 }) }),
)

/** Limits alone decide, and who lives. */
const mortalStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: limitedStep },
  { weight: 6, arbitrary: enqueueMortal },
  renew,
)

const stated: fc.Arbitrary<readonly Stated[]> = fc.uniqueArray(
  fc.record({
    dimension: fc.constantFrom<ObservedLimit['dimension']>(
      'input_tokens',
      'input_tokens',
      'output_tokens',
      'tokens',
      'requests',
    ),
    amount: fc.constantFrom(400, 400, 300),
    left: fc.constantFrom(0, 0.02, 0.3, 0.77, 1),
  }),
  { selector: ({ dimension }) => dimension, maxLength: 3 },
)
const flightMs = fc.integer({ min: 0, max: 500 })

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: limitedStep },
  { weight: 3, arbitrary: enqueueMortal },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: kind('enqueue'),
      flow: fc.constantFrom('a', 'b', 'c', 'd'),
      lane: fc.constantFrom(...LANES),
      weight: fc.constantFrom(1, 3),
      input: fc.integer({ min: 0, max: 10 * MOST_INPUT }),
      output: fc.integer({ min: 0, max: MOST_OUTPUT }),
      parked: fc.boolean(),
      patienceMs: fc.option(fc.integer({ min: 0, max: 5000 })),
      holder: fc.option(holder),
    }),
  },
  renew,
  fc.record({
    kind: kind('rejoin'),
    picks: fc.array(pick, { minLength: 1, maxLength: 4 }),
    as: fc.constantFrom('lease', 'waiting', 'known', 'known'),
    isCounted: fc.boolean(),
    spent: fc.constantFrom(0, 0, 30),
  }),
  fc.record({ kind: kind('repeat'), pick }),
  fc.record({ kind: kind('raise'), pick }),
  fc.record({ kind: kind('unpark'), pick }),
  fc.record({
    kind: kind('bounce'),
    pick,
    because: fc.constantFrom<Bounce['kind']>(
      'rate_limited',
      'overloaded',
      'disconnected',
      'repriced',
    ),
  }),
  fc.record({ kind: kind('answered'), firstAnswerMs: fc.constantFrom(null, 50, 900) }),
  { weight: 2, arbitrary: fc.record({ kind: kind('observe'), stated, flightMs }) },
  fc.record({ kind: kind('refused'), stated, flightMs }),
  fc.record({ kind: kind('settle'), pick, part: fc.constantFrom(1.5, 4), exact: fc.boolean() }),
)

const historyOf = (step: fc.Arbitrary<Step>, settings: fc.Arbitrary<Partial<GateSettings>>) =>
  fc.record({ settings, steps: fc.array(step, { maxLength: 60, size: 'max' }) })

export const limitedHistory: fc.Arbitrary<History> = historyOf(
  limitedStep,
  fc.record({ limits: limitStack, agingMs: fc.constantFrom(Number.POSITIVE_INFINITY, 500) }),
)

/** Requests so alike that flows tie, and the smallest trace of another decides between them. */
export const alikeHistory: fc.Arbitrary<History> = historyOf(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.tuple(enqueue, fc.constantFrom(10, 20, 30, 40)).map(([step, input]) => ({
        ...step,
        lane: 'normal' as const,
        weight: 1,
        input,
        output: 0,
      })),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: kind('settle'),
        pick,
        part: fc.constant(1),
        exact: fc.constant(true),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: kind('cancel'), pick, comesBack: fc.constant(true) }),
    },
    fc.record({ kind: kind('wait'), ms: fc.integer({ min: 0, max: 900 }) }),
  ),
  fc.record({
    limits: fc.tuple(limits(2), concurrency).map(([limits, slots]) => [...limits, slots]),
  }),
)

export const mortalHistory: fc.Arbitrary<History> = historyOf(
  mortalStep,
  fc.record({ limits: limitStack, agingMs: fc.constantFrom(Number.POSITIVE_INFINITY, 500) }),
)

const anySettings = {
  learns: fc.boolean(),
  agingMs: fc.constantFrom(500, 5000),
  maxQueued: fc.constantFrom(5, 1000),
  floors: fc.constantFrom({ soft: 0, hard: 0 }, { soft: 100, hard: 20 }),
}

export const anyHistory: fc.Arbitrary<History> = historyOf(
  anyStep,
  fc.record({ ...anySettings, limits: limitStack }),
)

const calendarWindow: fc.Arbitrary<Limit> = fc.record({
  algorithm: fc.constant('fixed_window' as const),
  dimension: fc.constantFrom('requests' as const, 'tokens' as const),
  amount: fc.integer({ min: 20, max: 400 }),
  windowMs: fc.constant(DAY_MS),
  calendar: fc.record({
    unit: fc.constantFrom('day' as const, 'month' as const),
    timeZone: fc.constantFrom('Europe/Berlin', 'UTC', 'Asia/Kathmandu'),
  }),
  source: fc.constant(source),
})

/** Everything that a store may be asked, whether or not the invariants can follow it. */
export const differentialHistory: fc.Arbitrary<History> = historyOf(
  fc.oneof(
    { weight: 20, arbitrary: anyStep },
    fc.record({ kind: kind('reconfigure'), times: fc.constantFrom(0.5, 2, 3) }),
    fc.record({ kind: kind('wait'), ms: fc.constantFrom(HOUR_MS, 9.5 * HOUR_MS, 20 * DAY_MS) }),
  ),
  fc.record({
    ...anySettings,
    limits: fc
      .tuple(limitStack, fc.option(calendarWindow))
      .map(([limits, window]) => (window ? [...limits, window] : limits)),
  }),
)

/** A limit with another amount, in whole numbers. */
function times(limit: Limit, factor: number): Limit {
  const amount = Math.max(1, Math.round(limit.amount * factor))
  if (limit.algorithm !== 'token_bucket' || limit.burst === undefined) return { ...limit, amount }
  return { ...limit, amount, burst: Math.max(1, Math.round(limit.burst * factor)) }
}

/** A part of an estimate, in whole tokens. */
function partOf(estimate: CostVector, part: number): CostVector {
  return costOf({
    requests: estimate.requests,
    input_tokens: Math.floor(estimate.input_tokens * part),
    output_tokens: Math.floor(estimate.output_tokens * part),
  })
}

function bounceOf(because: Bounce['kind'], estimate: CostVector, sentAt: EpochMs): Bounce {
  switch (because) {
    case 'rate_limited':
      return { kind: because, ...refusalOf([], sentAt) }
    case 'overloaded':
    case 'disconnected':
      return { kind: because, backoffMs: 300 }
    case 'repriced':
      return { kind: because, estimate: partOf(estimate, 1.3) }
  }
}

function refusalOf(stated: readonly Stated[], sentAt: EpochMs): LimitRefusal {
  return { retryAfterMs: null, observation: { limits: stated.map(observed), sentAt } }
}

function observed({ dimension, amount, left }: Stated): ObservedLimit {
  return {
    dimension,
    amount,
    remaining: Math.floor(amount * left),
    roundedBy: 5,
    fullInMs: Math.ceil(amount * (1 - left)) * 150,
    fullInErrorMs: 1000,
  }
}

/** Follows one step. Its answer is whatever a caller can see of the decision. */
export async function follow(line: Line, step: Step): Promise<unknown> {
  switch (step.kind) {
    case 'enqueue': {
      const { patienceMs } = step
      const deadlineAt = patienceMs === null ? Number.POSITIVE_INFINITY : line.now + patienceMs
      return line.enqueue({ ...step, deadlineAt })
    }
    case 'cancel':
      return cancel(line, step.pick, step.comesBack)
    case 'leave': {
      const caller = pickOf(everyone(line), step.pick)
      return caller && line.leave(caller.id)
    }
    case 'unpark': {
      const caller = pickOf(line.parked, step.pick)
      return caller && line.unpark(caller.id)
    }
    case 'repeat': {
      const caller = pickOf(everyone(line), step.pick)
      return caller && line.enqueue({ id: caller.id })
    }
    case 'raise': {
      const caller = pickOf(line.waiting, step.pick)
      return caller && line.raise(caller.id)
    }
    case 'renew':
      return line.renew(step.holder, step.ttlMs)
    case 'rejoin':
      return rejoin(line, step)
    case 'observe':
    case 'refused':
      return learn(line, step)
    case 'answered':
      return line.answered(step.firstAnswerMs)
    case 'pause':
      return line.pause(step.ms)
    case 'reconfigure':
      return line.reconfigure(line.limits.map((limit) => times(limit, step.times)))
    case 'wait':
      return line.wait(step.ms)
    case 'waitForNext':
      return line.waitForNext()
    default:
      return followLease(line, step)
  }
}

async function followLease(
  line: Line,
  step: Extract<Step, { kind: 'settle' | 'release' | 'revise' | 'bounce' }>,
): Promise<unknown> {
  const caller = pickOf(line.held, step.pick)
  if (!caller) return undefined
  const { id, estimate } = caller
  switch (step.kind) {
    case 'settle':
      return line.settle(id, partOf(estimate, step.part), step.exact)
    case 'release':
      return line.release(id)
    case 'revise': {
      const less = partOf(estimate, step.part)
      return line.revise(id, less, Math.floor(less.output_tokens / 2))
    }
    case 'bounce':
      return line.bounce(id, bounceOf(step.because, estimate, line.now))
  }
}

async function cancel(line: Line, pick: number, comesBack: boolean): Promise<unknown> {
  const caller = pickOf([...line.waiting, ...line.parked], pick)
  if (!caller) return undefined
  const place = await line.cancel(caller.id)
  if (!comesBack) return place
  const { flow, estimate } = caller
  const { input_tokens: input, output_tokens: output } = estimate
  return line.enqueue({ flow, input, output, place, holder: caller.holder })
}

async function rejoin(line: Line, step: Extract<Step, { kind: 'rejoin' }>): Promise<unknown> {
  const all = [...line.gone, ...everyone(line)]
  const ids = new Set(step.picks.map((pick) => pickOf(all, pick)?.id ?? ''))
  if (all.length === 0) return undefined
  const tickets = [...ids].map((id) => {
    const own = line.own(id, step.isCounted)
    if (step.as === 'known') return own
    if (step.as === 'waiting') return { ...own, grantedAt: null, countedIn: null }
    return own.grantedAt === null ? { ...own, grantedAt: line.now - 100, countedIn: null } : own
  })
  const spent = costOf({ requests: Math.sign(step.spent), input_tokens: step.spent })
  return [...(await line.rejoin(tickets, spent))].sort()
}

async function learn(
  line: Line,
  { kind, stated, flightMs }: Extract<Step, { kind: 'observe' | 'refused' }>,
): Promise<void> {
  const refusal = refusalOf(stated, line.now - flightMs)
  if (kind === 'refused') await line.refused(refusal)
  else await line.observe(refusal.observation)
}

const everyone = (line: Line): readonly Caller[] => [...line.waiting, ...line.parked, ...line.held]

function pickOf<T>(all: readonly T[], pick: number): T | undefined {
  return all[pick % all.length]
}

/** Instants as far as two stores can be asked to agree on them: to a hundredth of a millisecond. */
const rounded = (_key: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 100) / 100 : value

/** A store may have a process for the holder of a ticket that names none. */
const ofMortals = (ticket: TicketView): TicketView =>
  ticket.expiresAt > PROCESSES_LIVE_BEYOND
    ? { ...ticket, expiresAt: Number.POSITIVE_INFINITY }
    : ticket

/**
 * All that a store decides over a history, as text, one line a step: its answer, who was admitted
 * and when, what the snapshot says after, and who is there. Two stores that keep the contract say the same.
 */
export async function decisionsOf(underTest: StoreUnderTest, history: History): Promise<string[]> {
  const line = await Line.open(underTest, history.settings)
  const decisions: string[] = []
  for (const step of history.steps) {
    const before = line.takes.length
    const answer = await follow(line, step)
    const admitted = line.takes.slice(before).map(({ id, at }) => [id, at])
    const found = await line.snapshot()
    // A store may forget an idle resource when it likes.
    const snapshot = found && found.inFlight + found.queued > 0 ? found : null
    const tickets = (await line.tickets()).map(ofMortals)
    decisions.push(
      JSON.stringify({ step: step.kind, answer, admitted, snapshot, tickets }, rounded),
    )
  }
  await line.store.close()
  return decisions
}
