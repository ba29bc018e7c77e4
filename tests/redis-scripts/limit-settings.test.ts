import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { costOf } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import { type LuaRunner, luaRunner } from './run-lua.ts'
import { settingsFor } from './settings.ts'

const EPOCH = Date.parse('2026-03-27T12:00:00Z')

let lua: LuaRunner
beforeAll(async () => {
  lua = await luaRunner('operations.lua', ['limits'])
})
afterAll(() => lua.close())

const consumed = { dimension: 'input_tokens', source: 'configured' } as const
const bucket = (amount: number, windowMs = 60_000): Limit => ({
  ...consumed,
  algorithm: 'token_bucket',
  amount,
  windowMs,
})
const sliding = (amount: number): Limit => ({
  ...consumed,
  algorithm: 'sliding_window',
  amount,
  windowMs: 60_000,
})
const fixed = (amount: number, timeZone?: string): Limit => ({
  ...consumed,
  algorithm: 'fixed_window',
  amount,
  windowMs: 86_400_000,
  ...(timeZone !== undefined && { calendar: { unit: 'day', timeZone } }),
})
const slots = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

const configure = (...limits: Limit[]): object => ({
  now: EPOCH,
  op: 'configure',
  settings: settingsFor(limits, EPOCH),
})
const hold = { op: 'hold', id: 'a', cost: costOf({ input_tokens: 400 }) }

/** What is left of each limit, in order. */
async function leftAfter(...operations: object[]): Promise<number[]> {
  const answers = await lua.run([...operations, { op: 'snapshot' }])
  const snapshot = answers.at(-1) ?? []
  return snapshot.filter((_, i) => i % 6 === 2).map(Number)
}

describe('settings of limits that change', () => {
  it('keep what is used where only an amount is another', async () => {
    const before = configure(bucket(1000), sliding(1000), fixed(1000), slots(3))
    const after = configure(bucket(500), sliding(2000), fixed(300), slots(1))
    expect(await leftAfter(before, hold)).toEqual([600, 600, 600, 2])
    expect(await leftAfter(before, hold, after)).toEqual([100, 1600, -100, 0])
  })

  it('begin afresh where the limit is another, and drop what is gone', async () => {
    const before = configure(bucket(1000), sliding(1000), slots(3))
    const after = configure(bucket(1000, 1000), slots(3), fixed(1000))
    expect(await leftAfter(before, hold, after)).toEqual([1000, 2, 1000])
  })

  it('keep what is used of a calendar window only while the calendar has that window', async () => {
    const before = configure(fixed(1000, 'Europe/Berlin'))
    const same = configure(fixed(1100, 'Europe/Paris'))
    const another = configure(fixed(1100, 'Asia/Tokyo'))
    expect(await leftAfter(before, hold, same)).toEqual([700])
    expect(await leftAfter(before, hold, another)).toEqual([1100])
  })

  it('keep what was learnt, under a new floor, until nothing is to be learnt', async () => {
    const observed = [
      {
        dimension: 'input_tokens',
        amount: 1000,
        remaining: 300,
        rounded_by: 0,
        full_in_ms: null,
        full_in_error_ms: 0,
      },
    ]
    const learning = (limits: Limit[], hard: number): object => ({
      op: 'configure',
      settings: settingsFor(limits, EPOCH, true, { soft: 0, hard }),
    })
    const learnt = [
      { now: EPOCH, ...learning([], 0) },
      { op: 'fuse', observed, sent_at: EPOCH },
      learning([slots(3)], 200),
    ]
    const readyAt = { op: 'ready_at', cost: costOf({ input_tokens: 91 }) }
    expect(await leftAfter(...learnt)).toEqual([3, 300])
    const [answer] = (await lua.run([...learnt, readyAt])).slice(-1)
    expect(answer?.[1]).toBe('learnt token_bucket input_tokens')
    expect(await leftAfter(...learnt, configure(slots(2)))).toEqual([2])
  })
})

describe('the state of limits', () => {
  it('is small', async () => {
    const bytesOf = async (...operations: object[]): Promise<string[] | undefined> => [
      ...((await lua.run([...operations, { op: 'bytes' }])).at(-1) ?? []),
    ]
    expect(await bytesOf(configure(bucket(1000)), hold)).toEqual(['59'])
    const three = configure(bucket(1000), sliding(1000), slots(3))
    expect(await bytesOf(three, hold)).toEqual(['121'])
  })

  it('tells how long it must be kept', async () => {
    const idleInMs = async (...limits: Limit[]): Promise<string[][]> =>
      [
        ...(await lua.run([
          configure(...limits),
          { op: 'idle_in_ms' },
          hold,
          { op: 'idle_in_ms' },
        ])),
      ].flatMap((answer, i) => (i % 2 === 1 ? [[...answer]] : []))
    expect(await idleInMs(bucket(1000))).toEqual([['0'], ['24000']])
    expect(await idleInMs(sliding(1000))).toEqual([['0'], ['61000']])
    expect(await idleInMs(fixed(1000))).toEqual([['0'], ['43200000']])
    expect(await idleInMs(slots(3))).toEqual([['0'], ['0']])
  })
})
