// Random histories of one resource. Owns: the steps, how they are drawn, how they are followed.
// Must not know: what must hold of them.
import fc from 'fast-check'
import type { Bounce, GateSettings } from '../../src/core/admission.ts'
import type { EpochMs } from '../../src/core/clock.ts'
import { type CostVector, costOf } from '../../src/core/cost.ts'
import { LANES, type Lane } from '../../src/core/lane.ts'
import type { Limit } from '../../src/core/limit.ts'
import { Line, RESOURCE, type StoreUnderTest } from './line.ts'

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
    }
  | { readonly kind: 'cancel'; readonly pick: number; readonly comesBack: boolean }
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
  | { readonly kind: 'answered' }
  | { readonly kind: 'observe'; readonly remaining: number; readonly flightMs: number }
  | { readonly kind: 'pause'; readonly ms: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'waitForNext' }

export interface History {
  readonly settings: Partial<GateSettings>
  readonly steps: readonly Step[]
}

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

/** Stacks of one to four limits, each large enough for any single request that is drawn. */
export const limitStack: fc.Arbitrary<readonly Limit[]> = fc
  .tuple(fc.array(limit, { minLength: 1, maxLength: 3 }), fc.option(concurrency))
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
})

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
  { weight: 2, arbitrary: fc.record({ kind: kind('revise'), pick, part }) },
  fc.record({ kind: kind('pause'), ms: fc.integer({ min: 0, max: 800 }) }),
)

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: limitedStep },
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
    }),
  },
  fc.record({ kind: kind('unpark'), pick }),
  fc.record({
    kind: kind('bounce'),
    pick,
    because: fc.constantFrom<Bounce['kind']>('rate_limited', 'overloaded', 'repriced'),
  }),
  fc.record({ kind: kind('answered') }),
  fc.record({
    kind: kind('observe'),
    remaining: fc.integer({ min: 0, max: 400 }),
    flightMs: fc.integer({ min: 0, max: 500 }),
  }),
  fc.record({ kind: kind('settle'), pick, part: fc.constantFrom(1.5, 4), exact: fc.boolean() }),
)

const historyOf = (step: fc.Arbitrary<Step>, settings: fc.Arbitrary<Partial<GateSettings>>) =>
  fc.record({ settings, steps: fc.array(step, { maxLength: 60, size: 'max' }) })

export const limitedHistory: fc.Arbitrary<History> = historyOf(
  limitedStep,
  fc.record({ limits: limitStack, agingMs: fc.constantFrom(Number.POSITIVE_INFINITY, 500) }),
)

export const anyHistory: fc.Arbitrary<History> = historyOf(
  anyStep,
  fc.record({
    limits: limitStack,
    learns: fc.boolean(),
    agingMs: fc.constantFrom(500, 5000),
    maxQueued: fc.constantFrom(5, 1000),
    floors: fc.constantFrom({ soft: 0, hard: 0 }, { soft: 100, hard: 20 }),
  }),
)

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
      return { kind: because, retryAfterMs: null, observation: { limits: [], sentAt } }
    case 'overloaded':
    case 'disconnected':
      return { kind: because, backoffMs: 300 }
    case 'repriced':
      return { kind: because, estimate: partOf(estimate, 1.3) }
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
    case 'unpark': {
      const caller = line.parked[step.pick % line.parked.length]
      return caller && line.unpark(caller.id)
    }
    case 'observe':
      return observe(line, step.remaining, step.flightMs)
    case 'answered':
      return line.answered()
    case 'pause':
      return line.pause(step.ms)
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
  const caller = line.held[step.pick % line.held.length]
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
  const all = [...line.waiting, ...line.parked]
  const caller = all[pick % all.length]
  if (!caller) return undefined
  const place = await line.cancel(caller.id)
  if (!comesBack) return place
  const { flow, estimate } = caller
  const { input_tokens: input, output_tokens: output } = estimate
  return line.enqueue({ flow, input, output, place })
}

async function observe(line: Line, remaining: number, flightMs: number): Promise<void> {
  const limits = [
    {
      dimension: 'input_tokens' as const,
      amount: 400,
      remaining,
      roundedBy: 5,
      fullInMs: (400 - remaining) * 150,
      fullInErrorMs: 1000,
    },
  ]
  await line.store.observe(RESOURCE, { limits, sentAt: line.now - flightMs })
  await line.at.delivered()
}

/** Instants as far as two stores can be asked to agree on them: to a hundredth of a millisecond. */
const rounded = (_key: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 100) / 100 : value

/**
 * All that a store decides over a history, as text, one line a step: its answer, who was admitted
 * and when, and what the snapshot says after. Two stores that keep the contract say the same.
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
    decisions.push(JSON.stringify({ step: step.kind, answer, admitted, snapshot }, rounded))
  }
  await line.store.close()
  return decisions
}
