import fc from 'fast-check'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { AdaptiveConcurrency } from '../../src/core/adaptive-concurrency.ts'
import { AFTER_REFUSAL, COLD_START, Ramp } from '../../src/core/ramp.ts'
import { expectAnswers, type Step } from './answers.ts'
import { type LuaRunner, luaRunner } from './run-lua.ts'
import { settingsFor } from './settings.ts'

const EPOCH = 1.8e12
const FORGET_AFTER_MS = 300_000

let lua: LuaRunner
beforeAll(async () => {
  lua = await luaRunner('operations.lua', ['limits'])
})
afterAll(() => lua.close())

const begin: Step = {
  op: { now: EPOCH, op: 'configure', settings: settingsFor([], EPOCH) },
  answer: [],
}

async function decideAlike(steps: readonly Step[], isExact: boolean): Promise<void> {
  expectAnswers(steps, await lua.run(steps.map(({ op }) => op)), isExact)
}

describe('a ramp in Lua', () => {
  const anyStep = fc.record({
    kind: fc.constantFrom(
      'admit',
      'admit',
      'admit',
      'admit',
      'succeed',
      'start',
      'restart',
      'open',
    ),
    gapMs: fc.integer({ min: 0, max: 300 }),
  })

  function stepsOf(draws: readonly { kind: string; gapMs: number }[]): Step[] {
    const ramp = new Ramp()
    const steps = [begin]
    let now = EPOCH
    const say = (op: object, ...answer: number[]) => steps.push({ op: { now, ...op }, answer })
    ramp.start(COLD_START)
    say({ op: 'ramp_start', settings: 'COLD_START' })
    for (const { kind, gapMs } of draws) {
      now += gapMs
      if (kind === 'start') ramp.start(COLD_START)
      if (kind === 'start') say({ op: 'ramp_start', settings: 'COLD_START' })
      if (kind === 'restart') ramp.start(AFTER_REFUSAL)
      if (kind === 'restart') say({ op: 'ramp_start', settings: 'AFTER_REFUSAL' })
      if (kind === 'open') ramp.open()
      if (kind === 'open') say({ op: 'ramp_open' })
      if (kind === 'succeed') ramp.succeeded()
      if (kind === 'succeed') say({ op: 'succeeded', first_answer_ms: -1 })
      if (kind === 'admit') ramp.admitted(now)
      if (kind === 'admit') say({ op: 'ramp_admitted' })
      say({ op: 'ramp_ready_at' }, ramp.readyAt(now))
    }
    return steps
  }

  it('decides as the TypeScript does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 100, size: 'max' }), (draws) =>
        decideAlike(stepsOf(draws), false),
      ),
    )
  })

  it('lets through as many at the same instants, until it holds nobody back', async () => {
    const admissions = Array.from({ length: 300 }, () => ({ kind: 'admit', gapMs: 0 }))
    await decideAlike(stepsOf(admissions), false)
  })
})

describe('the bound on load in Lua', () => {
  const anyStep = fc.record({
    kind: fc.constantFrom('overloaded', 'succeeded', 'succeeded', 'succeeded', 'succeeded'),
    gapMs: fc.oneof(fc.integer({ min: 0, max: 1500 }), fc.constantFrom(299_000, 300_000, 301_000)),
    inFlight: fc.nat(20),
    firstAnswerMs: fc.option(fc.double({ min: 0, max: 9000, noNaN: true })),
  })

  it('decides as the TypeScript does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 100, size: 'max' }), async (draws) => {
        const bound = new AdaptiveConcurrency()
        const steps = [begin]
        let now = EPOCH
        let overloadedAt = Number.NEGATIVE_INFINITY
        for (const { kind, gapMs, inFlight, firstAnswerMs } of draws) {
          now += gapMs
          if (kind === 'overloaded') {
            overloadedAt = now
            bound.overloaded(inFlight, now)
            steps.push({ op: { now, op: 'overloaded', in_flight: inFlight }, answer: [] })
          } else {
            bound.succeeded(firstAnswerMs, now)
            const op = { now, op: 'succeeded', first_answer_ms: firstAnswerMs ?? -1 }
            steps.push({ op, answer: [] })
          }
          const idleInMs = Math.max(0, overloadedAt + FORGET_AFTER_MS - now)
          steps.push({
            op: { op: 'overload', in_flight: inFlight },
            answer: [bound.limit, bound.admits(inFlight), bound.remembers(now), idleInMs],
          })
        }
        await decideAlike(steps, true)
      }),
    )
  })
})
