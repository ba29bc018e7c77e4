import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EpochMs } from '../../src/core/clock.ts'
import type { CalendarPeriod, Limit } from '../../src/core/limit.ts'
import { createMeter } from '../../src/core/meters/create-meter.ts'
import { expectAnswers, type Step } from './answers.ts'
import { type LuaRunner, luaRunner } from './run-lua.ts'
import { settingsFor } from './settings.ts'

const EPOCH = Date.parse('2026-03-27T22:00:00Z')

let lua: LuaRunner
beforeAll(async () => {
  lua = await luaRunner('operations.lua', ['limits'])
})
afterAll(() => lua.close())

const consumed = { dimension: 'tokens', source: 'configured' } as const
const windowMs = fc.constantFrom(1, 60, 977, 1000, 7000)
const size = fc.record({ amount: fc.constantFrom(10, 7, 0.3), windowMs })

const limits: Record<string, fc.Arbitrary<Limit>> = {
  'token bucket': size.map((s) => ({ ...consumed, ...s, algorithm: 'token_bucket' })),
  'token bucket with a burst': fc
    .tuple(size, fc.constantFrom(1, 10, 100))
    .map(([s, burst]) => ({ ...consumed, ...s, burst, algorithm: 'token_bucket' })),
  'sliding window': size.map((s) => ({ ...consumed, ...s, algorithm: 'sliding_window' })),
  'fixed window': size.map((s) => ({ ...consumed, ...s, algorithm: 'fixed_window' })),
  'number of slots': fc.constantFrom(1, 10).map((amount) => ({
    algorithm: 'concurrency',
    dimension: 'concurrency',
    amount,
    source: 'configured',
  })),
}

const anyDraw = fc.record({
  kind: fc.constantFrom('take', 'take', 'correct', 'correct', 'configure'),
  /** Up to two windows, and mostly a small part of one. */
  gap: fc.oneof(
    fc.constant(0),
    fc.double({ min: 0, max: 0.1, noNaN: true }),
    fc.double({ min: 0, max: 2, noNaN: true }),
  ),
  waits: fc.boolean(),
  amount: fc.oneof(
    fc.integer({ min: 0, max: 12 }),
    fc.double({ min: 0, max: 12, noNaN: true }),
    fc.constantFrom(50, 0.1),
  ),
  /** Which of the takes is corrected, counted from the last. */
  back: fc.nat(90),
})

type Draw = typeof anyDraw extends fc.Arbitrary<infer T> ? T : never

/** Does to a meter what was drawn, and writes down what the Lua is to do and to answer. */
function stepsOf(limit: Limit, draws: readonly Draw[], startAt: EpochMs): Step[] {
  const meter = createMeter(limit, startAt)
  meter.take(0, startAt)
  const steps: Step[] = []
  const taken: { at: EpochMs; amount: number }[] = []
  const lengthMs = 'windowMs' in limit ? limit.windowMs : 1000
  let now = startAt
  const say = (op: object, ...answer: (number | boolean)[]): void => {
    steps.push({ op: { now, ...op }, answer })
  }
  const configure = (): void => say({ op: 'configure', settings: settingsFor([limit], now) })
  configure()
  for (const { kind, gap, waits, amount, back } of draws) {
    now += gap * lengthMs
    if ('calendar' in limit) configure()
    const readyAt = meter.readyAt(amount, now)
    say({ op: 'meter_ready_at', amount }, readyAt)
    say({ op: 'meter_remaining' }, meter.remaining(now))
    if (waits && readyAt < Number.POSITIVE_INFINITY) now = readyAt
    if (kind === 'configure' || 'calendar' in limit) configure()
    if (kind === 'take') {
      meter.take(amount, now)
      taken.push({ at: now, amount })
      say({ op: 'meter_take', amount })
    }
    const corrected = taken.at(-1 - back)
    if (kind !== 'correct' || !corrected) continue
    const delta = amount - corrected.amount
    meter.correct(delta, corrected.at, now)
    corrected.amount = amount
    say({ op: 'meter_correct', delta, taken_at: corrected.at })
  }
  say({ op: 'meter_remaining' }, meter.remaining(now))
  return steps
}

async function decideAlike(steps: readonly Step[]): Promise<void> {
  expectAnswers(steps, await lua.run(steps.map(({ op }) => op)), true)
}

describe('a meter in Lua', () => {
  it.each(Object.entries(limits))('decides as the TypeScript does: %s', async (_, anyLimit) => {
    await fc.assert(
      fc.asyncProperty(
        anyLimit,
        fc.double({ min: 0, max: 9000, noNaN: true }),
        fc.array(anyDraw, { maxLength: 200, size: 'max' }),
        (limit, offset, draws) => decideAlike(stepsOf(limit, draws, EPOCH + offset)),
      ),
      { numRuns: 150 },
    )
  })

  const calendars: CalendarPeriod[] = [
    { unit: 'day', timeZone: 'Europe/Berlin' },
    { unit: 'month', timeZone: 'America/Sao_Paulo' },
  ]
  it.each(calendars)('follows the calendar: a $unit in $timeZone', async (calendar) => {
    const limit: Limit = {
      ...consumed,
      algorithm: 'fixed_window',
      amount: 10,
      windowMs: calendar.unit === 'day' ? 86_400_000 : 30 * 86_400_000,
      calendar,
    }
    await fc.assert(
      fc.asyncProperty(fc.array(anyDraw, { maxLength: 60 }), (draws) =>
        decideAlike(stepsOf(limit, draws, EPOCH)),
      ),
      { numRuns: 40 },
    )
  })

  it('forgets the oldest of very many takes as the TypeScript does', async () => {
    const limit: Limit = { ...consumed, algorithm: 'token_bucket', amount: 1e6, windowMs: 1e6 }
    const draw = { gap: 1e-6, waits: false }
    const takes = Array.from({ length: 100 }, () => ({
      ...draw,
      kind: 'take' as const,
      amount: 7,
      back: 0,
    }))
    const corrections = Array.from({ length: 100 }, (_, i) => ({
      ...draw,
      kind: 'correct' as const,
      amount: i % 3,
      back: (i * 37) % 100,
    }))
    await decideAlike(stepsOf(limit, [...takes, ...corrections, ...takes, ...corrections], EPOCH))
  })

  it('asks for a calendar when it comes to the end of the windows that it was told of', async () => {
    const calendar: CalendarPeriod = { unit: 'day', timeZone: 'UTC' }
    const limit: Limit = {
      ...consumed,
      algorithm: 'fixed_window',
      amount: 10,
      windowMs: 86_400_000,
      calendar,
    }
    const endAt = Date.parse('2026-03-30T00:00:00Z')
    const answers = await lua.run([
      { now: EPOCH, op: 'configure', settings: settingsFor([limit], EPOCH) },
      { op: 'meter_take', amount: 4 },
      { op: 'needs_calendar' },
      { now: endAt - 1, op: 'meter_take', amount: 3 },
      { op: 'needs_calendar' },
      { op: 'meter_remaining' },
      { now: endAt, op: 'needs_calendar' },
      { op: 'configure', settings: settingsFor([limit], endAt) },
      { op: 'needs_calendar' },
      { op: 'meter_remaining' },
    ])
    expect(answers.flat()).toEqual(['false', 'false', '7', 'true', 'false', '10'])
  })
})
