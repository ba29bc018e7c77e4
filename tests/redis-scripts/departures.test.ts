import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { costOf } from '../../src/core/cost.ts'
import { Departures } from '../../src/core/departures.ts'
import { expectAnswers, type Step } from './answers.ts'
import { type LuaRunner, luaRunner } from './run-lua.ts'
import { settingsFor } from './settings.ts'

const EPOCH = 1.8e12
const HOUR_MS = 3_600_000
const cost = costOf({ input_tokens: 10.1, output_tokens: 3 })

let lua: LuaRunner
beforeAll(async () => {
  lua = await luaRunner('operations.lua', ['limits'])
})
afterAll(() => lua.close())

const begin = { now: EPOCH, op: 'configure', settings: settingsFor([], EPOCH, true) }
const depart = (times: number, gapMs: number): object => ({
  op: 'depart_often',
  times,
  gap_ms: gapMs,
  cost,
})

describe('the log of departures in Redis', () => {
  it('tells what left since an instant as the TypeScript does, and forgets the oldest as it', async () => {
    const departures = new Departures()
    const steps: Step[] = [{ op: begin, answer: [] }]
    let now = EPOCH
    for (const times of [1, 500, 3594, 1, 3000]) {
      steps.push({ op: depart(times, 0.5), answer: [] })
      for (let i = 0; i < times; i++) {
        now += 0.5
        departures.record(cost, now)
      }
      for (const at of [now, now - 0.5, now - 7.3, now - 1023.5, now - 1800, EPOCH - 1])
        steps.push({
          op: { op: 'since', dimension: 'input_tokens', at },
          answer: [departures.since(at, 'input_tokens')],
        })
    }
    steps.push({ op: { op: 'remembered' }, answer: [7096 - 2 * 2048, true] })
    expectAnswers(steps, await lua.run(steps.map(({ op }) => op)), true)
  })

  it('knows the order of those that left at one instant', async () => {
    const [, , since] = await lua.run([
      begin,
      depart(300, 0),
      { op: 'since', dimension: 'output_tokens', at: EPOCH - 1 },
      { op: 'since', dimension: 'requests', at: EPOCH },
    ])
    expect(since).toEqual(['0'])
    const answers = await lua.run([
      begin,
      depart(300, 0),
      { op: 'since', dimension: 'requests', at: EPOCH },
      { op: 'since', dimension: 'requests', at: EPOCH - 1 },
    ])
    expect(answers.slice(2)).toEqual([['0'], ['300']])
  })

  it('goes on without what the server has let go of', async () => {
    const answers = await lua.run([
      begin,
      depart(10, 1),
      { op: 'lose_departures' },
      { now: EPOCH + 2 * HOUR_MS, op: 'since', dimension: 'requests', at: EPOCH + HOUR_MS },
      depart(3, 1),
      { op: 'since', dimension: 'requests', at: EPOCH + HOUR_MS },
      { op: 'since', dimension: 'requests', at: EPOCH + 2 * HOUR_MS + 2 },
      { op: 'lose_departures' },
      depart(5000, 1),
      depart(1, 61_000),
      { op: 'remembered' },
    ])
    // The three that are gone counted until half of what was remembered was forgotten.
    const remembered = 5001 - 2048
    expect(answers.slice(3, 6)).toEqual([['0'], [], ['3']])
    expect(answers.slice(6, 9)).toEqual([['1'], [], []])
    expect(answers.slice(10)).toEqual([[String(remembered), 'true']])
  })

  it('takes no notice of the log of a gate whose state was lost', async () => {
    const answers = await lua.run([
      begin,
      depart(10, 1),
      { now: EPOCH + 60, op: 'forget_gate' },
      { ...begin, now: EPOCH + 100 },
      { op: 'since', dimension: 'requests', at: EPOCH + 5 },
      depart(2, 1),
      { op: 'since', dimension: 'requests', at: EPOCH + 5 },
      { op: 'remembered' },
    ])
    expect(answers.slice(4)).toEqual([['0'], [], ['2'], ['2', 'true']])
  })
})
