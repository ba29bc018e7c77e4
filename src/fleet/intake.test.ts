import { describe, expect, it } from 'vitest'
import { ConfigError } from '../policy/problem.ts'
import { Intake, type Taken } from './intake.ts'

const MESSAGES = [{ role: 'user', content: 'Hi' }]
const GOOD = { model: 'm', max_tokens: 1, messages: MESSAGES }

async function takenFrom(source: unknown): Promise<Taken[]> {
  const intake = new Intake(source)
  const all: Taken[] = []
  for (let taken = await intake.next(); taken; taken = await intake.next()) all.push(taken)
  return all
}

describe('an intake', () => {
  it('takes a payload as it is at that moment', async () => {
    const params = { ...GOOD, stream: true }
    const [taken] = await takenFrom([{ id: 'a', params }])
    params.model = 'another'
    if (taken?.kind !== 'payload') throw new Error('it is one')
    expect(taken).toMatchObject({ id: 'a', index: 0, model: 'm', withinMs: null })
    expect(JSON.parse(String(taken.body))).toEqual(GOOD)
  })

  const circular: Record<string, unknown> = { ...GOOD }
  circular.system = circular
  let deep: unknown[] = []
  for (let depth = 0; depth < 100_000; depth++) deep = [deep]
  const thrower = {
    ...GOOD,
    get system() {
      throw new Error('nobody looks at me')
    },
  }
  it.each([
    ['is circular', circular, 'circular structure'],
    ['is nested too deeply', { ...GOOD, system: deep }, 'call stack'],
    ['holds a BigInt', { ...GOOD, seed: 1n }, 'BigInt'],
    ['holds a function', { ...GOOD, tools: [{ run() {} }] }, 'run is a function'],
    ['holds a symbol', { ...GOOD, system: Symbol('s') }, 'system is a symbol'],
    ['throws when it is looked at', thrower, 'nobody looks at me'],
    [
      'throws when it is written',
      {
        ...GOOD,
        system: {
          toJSON() {
            throw new Error('I am no JSON')
          },
        },
      },
      'I am no JSON',
    ],
  ])('refuses a payload that %s, by its id, and takes the next', async (_, params, why) => {
    const [bad, next] = await takenFrom([{ id: 'bad', params }, GOOD])
    expect(bad).toEqual({
      kind: 'bad',
      index: 0,
      id: 'bad',
      why: expect.stringMatching(/^This payload was not sent: it cannot be written as JSON: .*\.$/),
    })
    expect(bad?.kind === 'bad' && bad.why).toContain(why)
    expect(next).toMatchObject({ kind: 'payload', index: 1, id: '1' })
  })

  it.each([
    [0, 0],
    [60_000, 60_000],
    [-1, 0],
    [Number.NEGATIVE_INFINITY, null],
    [Number.NaN, null],
    [Number.POSITIVE_INFINITY, null],
    ['60000', null],
    [null, null],
  ])('takes withinMs %s for %s milliseconds; null: for none that there are', async (said, read) => {
    const [taken] = await takenFrom([{ id: 'a', params: GOOD, withinMs: said }])
    expect(taken).toMatchObject(
      read === null
        ? { kind: 'bad', id: 'a', why: expect.stringContaining('withinMs is no number of') }
        : { kind: 'payload', withinMs: read },
    )
  })

  it.each([5, null, undefined, 'prompts.jsonl', true, GOOD, () => [GOOD], Buffer.from('x')])(
    'takes nothing from %s, and says what it takes',
    (source) => {
      const take = () => new Intake(source)
      expect(take).toThrow(ConfigError)
      expect(take).toThrow(/^payloads: is .*: give a list, .*readPayloads\(path\)/)
    },
  )
})
