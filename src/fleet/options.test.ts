import { describe, expect, it } from 'vitest'
import { ConfigError } from '../policy/problem.ts'
import { readOptions } from './options.ts'

/** What is said of options that a program without types has written. */
function problemsOf(written: string): readonly string[] {
  try {
    readOptions(JSON.parse(written))
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems
  }
}

describe('the options of a fleet', () => {
  it('are all left out as a rule', () => {
    expect(readOptions({})).toMatchObject({
      maxInFlight: 'auto',
      retries: { perPayload: 3, perMinute: 20 },
      maxSpendNanoUsd: Number.POSITIVE_INFINITY,
      lane: 'low',
      weight: 1,
      order: 'completion',
      longWindows: 'wait',
    })
  })

  it('count money in whole nano-dollars', () => {
    expect(readOptions({ maxSpendUsd: 0.29 }).maxSpendNanoUsd).toBe(290_000_000)
  })

  it.each([
    ['{"maxInflight": 8}', 'maxInflight: is not known, did you mean maxInFlight?'],
    ['{"maxInFlight": 0}', "maxInFlight: is neither 'auto' nor a whole number from 1 to 10000"],
    [
      '{"retries": {"perMinute": 0}}',
      'retries.perMinute: is no number of retries, write 1 or more',
    ],
    ['{"retries": {"perMin": 3}}', 'retries.perMin: is not known, did you mean perMinute?'],
    [
      '{"maxSpendUsd": "15"}',
      'maxSpendUsd: is no amount of dollars, write a number above 0, up to 9000000',
    ],
    ['{"lane": "slow"}', 'lane: is not known, did you mean low?'],
    ['{"baseUrl": "provider:80"}', 'baseUrl: is no address that begins with http'],
    ['{"weight": 1.5}', 'weight: is no weight, write a whole number from 1'],
    [
      '{"floors": {"soft": 100, "hard": 200}}',
      'floors: hard is above soft: what slows down comes before what stops',
    ],
    ['{"gate": {}, "config": {}}', 'config: the gate has its own, leave one of both out'],
    ['{"gate": {}, "floors": {"soft": 1}}', 'floors: the gate has its own, leave them out'],
  ])('say in a line what is wrong with %s', (written, line) => {
    expect(problemsOf(written)).toEqual([line])
  })

  it('tell of every problem', () => {
    expect(problemsOf('{"weight": 0, "order": "any"}')).toHaveLength(2)
  })
})
