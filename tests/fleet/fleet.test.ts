// A fleet as programs have it, on real sockets, in front of the emulator.
import { describe, expect, it } from 'vitest'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.ts'
import { ConfigError, Fleet, type FleetEvent, type FleetResult } from '../../src/fleet/fleet.ts'
import { createGate, gatedFetch } from '../../src/library/library.ts'
import { failureOf, KEY, MODEL, openHarness, until } from '../harness.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { stubUpstream } from '../stub-upstream.ts'
import { all } from './virtual-job.ts'

const WIDE = { requests: 100_000, inputTokens: 100_000_000, outputTokens: 100_000_000 }
const FAST: EmulatorOptions = { limits: WIDE, ttftMs: 0, tokensPerSecond: 100_000 }

async function openEmulator(settings: EmulatorOptions = FAST, speed = 1) {
  const clock = realClock(speed)
  const emulator = await startEmulator({ clock, random: seededRandom(3), settings })
  return { ...emulator, clock, [Symbol.asyncDispose]: () => emulator.close() }
}

const prompts = (count: number, marker = '[[emulate output=20]]') =>
  Array.from({ length: count }, (_, index) => ({
    id: `prompt-${index}`,
    params: {
      model: MODEL,
      max_tokens: 200,
      messages: [{ role: 'user', content: `Grade essay ${index}. ${marker}` }],
    },
  }))

const answeredIn = (results: readonly FleetResult[]) =>
  results.filter((result) => result.kind === 'answered')

describe('a fleet', () => {
  it('answers every prompt once, with a gate of its own', async () => {
    await using emulator = await openEmulator()
    await using fleet = new Fleet({ apiKey: KEY, baseUrl: emulator.url })
    const results = await all(fleet.dispatch(prompts(100)))
    const answered = answeredIn(results)
    expect(new Set(answered.map(({ id }) => id)).size).toBe(100)
    expect(answered[0]).toMatchObject({
      attempts: 1,
      tokens: { output: 20 },
      response: { type: 'message', content: [{ type: 'text' }] },
    })
    const { totals } = emulator.report()
    expect(totals).toMatchObject({ admitted: 100, outputTokens: 2000 })
    expect(answered.reduce((sum, { tokens }) => sum + (tokens?.input ?? 0), 0)).toBe(
      totals.inputTokens,
    )
  })

  it('keeps within limits that it learns, without a refusal', async () => {
    const limits = { requests: 600, inputTokens: 6000, outputTokens: 100_000 }
    await using emulator = await openEmulator({ limits, ttftMs: 500, tokensPerSecond: 80 }, 60)
    const { clock } = emulator
    const events: FleetEvent[] = []
    await using gate = await createGate({}, { clock })
    await using fleet = new Fleet({
      apiKey: KEY,
      baseUrl: emulator.url,
      gate,
      onEvent: (event) => events.push(event),
    })
    const beganAt = clock.now()
    const long = `${'An essay about rivers and their gates. '.repeat(15)} [[emulate output=20]]`
    const results = await all(fleet.dispatch(prompts(200, long)))
    expect(answeredIn(results)).toHaveLength(200)
    const { totals } = emulator.report()
    expect(totals.refusedForInputTokens + totals.refusedForRequests).toBeLessThanOrEqual(2)
    // What the limits bear at the least: what is in the bucket, and the rest by the minute.
    const minutes = (clock.now() - beganAt) / 60_000
    const leastMinutes = (totals.inputTokens - 6000) / 6000
    expect(leastMinutes).toBeGreaterThan(2)
    expect(minutes).toBeLessThan(leastMinutes * 1.25)
    expect(events.find(({ kind }) => kind === 'in_flight')).toBeDefined()
    expect(events.filter((event) => event.kind === 'in_flight').at(-1)?.because).toMatch(/^rate /)
  })

  it('lets those who wait for an answer go first', async () => {
    const limits = { requests: 60, inputTokens: 1_000_000, outputTokens: 1_000_000 }
    await using emulator = await openEmulator({ limits, ttftMs: 200, tokensPerSecond: 1000 }, 20)
    const { clock } = emulator
    await using gate = await createGate({}, { clock })
    await using fleet = new Fleet({ apiKey: KEY, baseUrl: emulator.url, gate })
    const leaving = new AbortController()
    const job = failureOf(all(fleet.dispatch(prompts(1000), { signal: leaving.signal })))
    await until(() => emulator.report().totals.admitted >= 60)
    const send = gatedFetch(gate, { flow: 'somebody' })
    const waits: number[] = []
    for (let count = 0; count < 12; count++) {
      const answer = await send(`${emulator.url}/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': KEY, 'anthropic-version': '2023-06-01' },
        body: JSON.stringify(prompts(1)[0]?.params),
      })
      expect(answer.status).toBe(200)
      await answer.text()
      waits.push(Number(answer.headers.get('x-headgate-queued-ms')))
    }
    leaving.abort(new Error('that is enough'))
    expect(await job).toEqual(new Error('that is enough'))
    // One request a second: nobody waits for the job's, only for the next second.
    expect(Math.max(...waits)).toBeLessThan(4000)
  })

  it('spends no more than it may by the bill of the provider, and the marker is last', async () => {
    await using emulator = await openEmulator({ ...FAST, ttftMs: 5 })
    const maxSpendUsd = 0.05
    const prices = { [MODEL]: { input: '3 USD/Mtok', output: '15 USD/Mtok' } }
    await using fleet = new Fleet({
      apiKey: KEY,
      baseUrl: emulator.url,
      maxSpendUsd,
      config: { prices },
    })
    const results = await all(fleet.dispatch(prompts(500)))
    const { totals } = emulator.report()
    const billed = (totals.inputTokens * 3 + totals.outputTokens * 15) / 1e6
    expect(billed).toBeLessThanOrEqual(maxSpendUsd)
    expect(billed).toBeGreaterThan(maxSpendUsd * 0.9)
    expect(results.at(-1)).toMatchObject({ kind: 'budget_exceeded', maxSpendUsd })
    expect(answeredIn(results)).toHaveLength(results.length - 1)
    expect(fleet.spentUsd).toBeCloseTo(billed, 9)
  })

  it('loses none to a provider in trouble, and asks it within one budget', async () => {
    const faults = { garbageRate: 0.05, resetMidStreamRate: 0.05, serverErrorRate: 0.05 }
    await using emulator = await openEmulator({ ...FAST, faults }, 60)
    const { clock } = emulator
    await using gate = await createGate({}, { clock, events: { failed: () => {} } })
    await using fleet = new Fleet({ apiKey: KEY, baseUrl: emulator.url, gate })
    const results = await all(fleet.dispatch(prompts(150)))
    expect(new Set(results.map((result) => 'id' in result && result.id)).size).toBe(150)
    expect(results.filter((result) => result.kind === 'failed').map(({ error }) => error)).toEqual(
      [],
    )
  })

  it('shares one line with other fleets that use the same store', async () => {
    await using emulator = await openEmulator({ ...FAST, ttftMs: 20 })
    const { url } = await sharedRedis()
    const config = {
      store: `${url}?prefix=${freshPrefix()}`,
      providers: { anthropic: { limits: [{ match: '*', concurrency: 4 }] } },
    }
    await using one = new Fleet({ apiKey: KEY, baseUrl: emulator.url, config })
    await using other = new Fleet({ apiKey: KEY, baseUrl: emulator.url, config, weight: 2 })
    const both = [one, other].map((fleet) => all(fleet.dispatch(prompts(40))))
    const results = (await Promise.all(both)).flat()
    expect(answeredIn(results)).toHaveLength(80)
    expect(emulator.report().maxInFlight).toBe(4)
  })

  it('tells a gateway on its way whose turn it asks for', async () => {
    await using gateway = await openHarness({ emulator: { ttftMs: 0, tokensPerSecond: 5000 } })
    await using fleet = new Fleet({ apiKey: KEY, baseUrl: gateway.url, flow: 'grading' })
    await all(fleet.dispatch(prompts(2)))
    expect(gateway.of('settled').map(({ facts }) => [facts.lane, facts.flow])).toEqual([
      ['low', 'grading'],
      ['low', 'grading'],
    ])
  })

  it('ends what it does when it is closed, and does nothing more', async () => {
    await using emulator = await openEmulator({ ...FAST, ttftMs: 60_000 })
    const fleet = new Fleet({ apiKey: KEY, baseUrl: emulator.url, onEvent: () => {} })
    const job = failureOf(all(fleet.dispatch(prompts(10))))
    expect(await failureOf(all(fleet.dispatch(prompts(1))))).toEqual(
      new Error('this fleet has a job: for two at once, make two fleets'),
    )
    let isOver = false
    const ended = job.then((error) => {
      isOver = true
      return error
    })
    await Promise.race([fleet.close(), fleet.close()])
    expect(isOver).toBe(true)
    expect(await ended).toEqual(new Error('this fleet was closed'))
    expect(await failureOf(all(fleet.dispatch(prompts(1))))).toEqual(
      new Error('this fleet was closed'),
    )
  })

  it('tells when the gate that it stands in is closed, and what became of each prompt that it took', async () => {
    await using emulator = await openEmulator({ ...FAST, ttftMs: 100 })
    const gate = await createGate({
      providers: { anthropic: { limits: [{ match: '*', concurrency: 2 }] } },
    })
    await using fleet = new Fleet({ apiKey: KEY, baseUrl: emulator.url, gate, maxInFlight: 6 })
    const results: FleetResult[] = []
    const job = failureOf(
      (async () => {
        for await (const result of fleet.dispatch(prompts(50))) {
          results.push(result)
          if (results.length === 2) void gate.close()
        }
      })(),
    )
    expect(await job).toEqual(new Error('the gate of this job was closed'))
    const kinds = results.map((result) =>
      result.kind === 'failed' ? result.error.type : result.kind,
    )
    expect(new Set(kinds)).toEqual(new Set(['answered', 'shutting_down']))
    expect(answeredIn(results)).toHaveLength(emulator.report().totals.admitted)
  })

  it('makes one failure of a payload that is no JSON, or too deep to be looked at', async () => {
    await using emulator = await openEmulator()
    await using fleet = new Fleet({ apiKey: KEY, baseUrl: emulator.url })
    const deep = (depth: number): unknown => {
      let value: unknown = []
      for (let level = 0; level < depth; level++) value = [value]
      return value
    }
    const params = { model: MODEL, max_tokens: 20, messages: [{ role: 'user', content: 'Hi' }] }
    const watched = new Proxy(params, {
      get() {
        throw new Error('hands off')
      },
    })
    const inputs = [
      ...[1000, 5000, 20_000, 100_000].map((depth) => ({ ...params, metadata: deep(depth) })),
      { ...params, seed: 1n },
      watched,
      params,
    ]
    const results = await all(fleet.dispatch(inputs))
    expect(results).toHaveLength(inputs.length)
    expect(answeredIn(results).some(({ id }) => id === '6')).toBe(true)
    const invalid = results.filter((result) => result.kind === 'failed')
    expect(invalid.map(({ id }) => id)).toEqual(expect.arrayContaining(['3', '4', '5']))
    expect(invalid.every(({ error }) => /^invalid_/.test(error.type))).toBe(true)
  })

  it('knows what a long answer has used', async () => {
    const text = 'x'.repeat(17 * 1024 * 1024)
    const usage = { input_tokens: 5, output_tokens: 6 }
    const message = { type: 'message', model: MODEL, content: [{ type: 'text', text }], usage }
    await using stub = await stubUpstream((response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(message))
    })
    await using fleet = new Fleet({ apiKey: KEY, baseUrl: stub.url })
    const [result] = await all(fleet.dispatch(prompts(1)))
    expect(result?.kind === 'answered' && result.tokens).toMatchObject({ input: 5, output: 6 })
  })

  it('refuses what makes no sense before it opens anything', async () => {
    const open = (options: object) => () => new Fleet({ apiKey: KEY, ...options })
    expect(open({ gate: { snapshot() {} } })).toThrow('gate: is no gate of createGate')
    expect(open({ config: { listen: 4000 } })).toThrow('config: listen: is a key of gateways')
    expect(open({ config: { providrs: {} } })).toThrow(ConfigError)
    const fleet = new Fleet({ apiKey: KEY, longWindows: 'pace' })
    expect(await failureOf(all(fleet.dispatch(prompts(1))))).toBeInstanceOf(ConfigError)
  })
})
