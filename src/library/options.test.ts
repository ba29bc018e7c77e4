import { afterEach, describe, expect, it } from 'vitest'
import { Invalid } from '../client/errors.ts'
import { ConfigError } from '../policy/problem.ts'
import type { Gate } from './gate.ts'
import { createGate, gatedFetch } from './library.ts'

const gates: Gate[] = []
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close({ graceMs: 0 })
})

/** As programs call it that no compiler has seen. */
async function opened(...args: readonly unknown[]): Promise<Gate> {
  const gate: Gate = await Reflect.apply(createGate, undefined, args)
  gates.push(gate)
  return gate
}

async function problemsOf(...args: readonly unknown[]): Promise<readonly string[]> {
  const outcome = await opened(...args).catch((error: unknown) => error)
  if (!(outcome instanceof ConfigError)) throw outcome
  return outcome.problems
}

const circular: { store?: unknown } = {}
circular.store = circular

describe('createGate', () => {
  it.each([
    ['null', null],
    ['a string', 'redis://127.0.0.1'],
    ['a list', []],
  ])('refuses %s as a configuration', async (_, config) => {
    expect(await problemsOf(config)).toEqual([
      'config: is no object, write the keys of headgate.yaml as data',
    ])
  })

  it.each([
    ['what is circular', circular],
    ['a BigInt', { queue: { max_queued: 10n } }],
  ])('refuses %s in one line', async (_, config) => {
    const [problem, ...others] = await problemsOf(config)
    expect(problem).toMatch(/^config: is no plain data: .+$/)
    expect(others).toEqual([])
  })

  it('takes a key that is undefined for one that is left out', async () => {
    const gate = await opened({ listen: undefined, store: undefined })
    expect(await gate.snapshot()).toEqual([])
  })

  it('names every option that it does not know, or that is none', async () => {
    const options = {
      cloock: 1,
      env: 5,
      clock: {},
      random: 0.5,
      events: { setled() {}, failed: 1 },
    }
    expect(await problemsOf({}, options)).toEqual(
      expect.arrayContaining([
        'options.cloock is not known here, did you mean clock?',
        'options.env is no object',
        'options.clock is no clock',
        'options.random is no function',
        'options.events.setled is not known here, did you mean settled?',
        'options.events.failed is no function',
      ]),
    )
    expect(await problemsOf({}, null)).toEqual(['options is no object'])
  })

  it('takes an object of a class for its listeners, whatever else it has', async () => {
    class Counter {
      count = 0
      cancelled(): void {
        this.count++
      }
    }
    await opened({}, { events: new Counter() })
  })

  it('warns of what is probably not meant, and of no other program’s variables', async () => {
    const heard: string[] = []
    const events = { warned: (sentence: string) => heard.push(sentence) }
    const providers = { anthropic: { base_url: 'http://llm.example' } }
    await opened({ providers }, { events, env: { HEADGATE_OWN: '1' } })
    expect(heard).toEqual([
      'providers.anthropic.base_url: keys go there over plain http, use https',
    ])
  })
})

describe('gatedFetch', () => {
  it('names every option that it does not know, or that is none', async () => {
    const gate = await opened()
    const errorFor = (options: unknown): unknown => {
      try {
        return Reflect.apply(gatedFetch, undefined, [gate, options])
      } catch (error) {
        return error
      }
    }
    const wrong = errorFor({ flwo: 'x', fetch: 5 })
    if (!(wrong instanceof Invalid)) throw wrong
    expect(wrong.errors.map(({ detail }) => detail).sort()).toEqual([
      'fetch is no function',
      'flwo is not known here, did you mean flow?',
    ])
    expect(errorFor(null)).toMatchObject({ message: 'options is no object' })
  })
})
