// The gated fetch in programs as people write them: the Vercel AI SDK, users with budgets, and a line that is
// shared with a gateway.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createAnthropic } from '@ai-sdk/anthropic'
import Anthropic from '@anthropic-ai/sdk'
import { APICallError, generateText, RetryError, streamText } from 'ai'
import { afterEach, describe, expect, it } from 'vitest'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { startEmulator } from '../../src/emulator/emulator.ts'
import { createGate, type GateConfig, gatedFetch } from '../../src/library/library.ts'
import { type LibraryDoor, openLibrary } from '../doors.ts'
import { startGateway } from '../gateway-process.ts'
import { ask, failureOf, type HarnessOptions, KEY, MODEL, until } from '../harness.ts'
import { askGate, LEASES } from '../lease-caller.ts'
import { atOnce } from '../limits.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { stubUpstream } from '../stub-upstream.ts'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const FAST: HarnessOptions = { emulator: { ttftMs: 0, tokensPerSecond: 5000 } }

const modelOf = (door: LibraryDoor) =>
  createAnthropic({ baseURL: `${door.url}/v1`, apiKey: KEY, fetch: door.fetch })(MODEL)

describe('the AI SDK', () => {
  it('generates and streams, and what it used is settled', async () => {
    await using door = await openLibrary(FAST)
    const model = modelOf(door)
    const prompt = 'Hello. [[emulate output=30]]'
    const { usage } = await generateText({ model, prompt, maxOutputTokens: 100 })
    expect(usage.outputTokens).toBe(30)
    const streamed = streamText({ model, prompt, maxOutputTokens: 100 })
    let text = ''
    for await (const part of streamed.textStream) text += part
    expect(text.length).toBeGreaterThan(0)
    expect((await streamed.usage).outputTokens).toBe(30)
    await door.idle()
    expect(door.of('settled').map(({ outcome }) => outcome)).toEqual(['answered', 'answered'])
    expect(door.of('settled')[0]?.actual.output_tokens).toBe(30)
  })

  it('waits its turn like everybody', async () => {
    await using door = await openLibrary({ ...FAST, anthropic: atOnce(2) })
    const model = modelOf(door)
    const one = () => generateText({ model, prompt: 'Hello. [[emulate output=5]]' })
    expect(await Promise.all(Array.from({ length: 12 }, one))).toHaveLength(12)
    expect(door.of('refused')).toEqual([])
    expect(door.emulator.report().totals).toMatchObject({ requests: 12, admitted: 12 })
  })

  it('comes back when a refusal says that there is room', async () => {
    await using door = await openLibrary({
      ...FAST,
      config: 'default_tier: t\ntiers: { t: { requests: 60/min burst 1 } }\n',
    })
    const model = modelOf(door)
    const one = () => generateText({ model, prompt: 'Hello. [[emulate output=5]]' })
    await one()
    expect((await one()).usage.outputTokens).toBe(5)
    expect(door.of('refused').map(({ refusal }) => refusal.reason)).toEqual(['limit_reached'])
  })

  it('that asks in vain asks three times, and none of that reaches the provider', async () => {
    await using door = await openLibrary({
      ...FAST,
      config: 'default_tier: t\ntiers: { t: { requests: 1/hour } }\n',
    })
    const model = modelOf(door)
    await generateText({ model, prompt: 'Hello. [[emulate output=5]]' })
    const error = await failureOf(generateText({ model, prompt: 'Hello.' }))
    if (!(error instanceof RetryError)) throw error
    expect(error.message).toContain('has reached a limit: 1 requests per 3600 s')
    expect(door.of('refused')).toHaveLength(3)
    expect(door.emulator.report().totals.requests).toBe(1)
    // Told not to, it does not.
    const once = await failureOf(generateText({ model, prompt: 'Hello.', maxRetries: 0 }))
    expect(once).toBeInstanceOf(APICallError)
    expect(door.of('refused')).toHaveLength(4)
  })

  it('that is aborted while it waits leaves the line', async () => {
    await using stub = await stubUpstream(() => {})
    await using door = await openLibrary({ upstream: stub.url, anthropic: atOnce(1) })
    const stop = new AbortController()
    const model = modelOf(door)
    const { signal: abortSignal } = stop
    const both = [1, 2].map(() => failureOf(generateText({ model, prompt: 'x', abortSignal })))
    await until(async () => stub.received.length === 1 && (await door.status()).queued === 1)
    stop.abort()
    await Promise.all(both)
    await door.idle()
    expect(stub.received).toHaveLength(1)
  })
})

async function openEmulator() {
  const emulator = await startEmulator({
    clock: realClock(),
    random: seededRandom(1),
    settings: { ttftMs: 0, tokensPerSecond: 5000 },
  })
  cleanUps.push(() => emulator.close())
  return emulator
}

async function folderOf(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'headgate-library-'))
  cleanUps.push(() => rm(folder, { recursive: true }))
  return folder
}

describe('a user with a budget', () => {
  it('is told when it is spent, and others go on', async () => {
    const emulator = await openEmulator()
    const ledger = `sqlite:${path.join(await folderOf(), 'ledger.db')}`
    const warnings: string[] = []
    await using gate = await createGate(
      { ledger, default_tier: 't', tiers: { t: { budget: '0.004 USD/month' } } },
      { events: { budgetWarned: ({ subject, step }) => warnings.push(`${subject} ${step}`) } },
    )
    const clientOf = (user: string) =>
      new Anthropic({ baseURL: emulator.url, apiKey: KEY, fetch: gatedFetch(gate, { user }) })
    const request = { ...ask('hello', { output: 20 }), model: 'claude-haiku-4-5', max_tokens: 100 }
    const alice = clientOf('alice')
    let refusal: unknown = null
    for (let count = 0; count < 60 && refusal === null; count++)
      refusal = await alice.messages.create(request).then(
        () => null,
        (error: unknown) => error,
      )
    if (!(refusal instanceof Anthropic.APIError)) throw refusal
    expect(refusal.status).toBe(402)
    expect(refusal.message).toContain('the budget of user alice, 0.004 USD a month, has')
    expect(refusal.headers?.get('x-headgate-budget-limit-usd')).toBe('0.004')
    await until(() => warnings.includes('user:alice 80'))
    const { response } = await clientOf('bob').messages.create(request).withResponse()
    expect(Number(response.headers.get('x-headgate-budget-remaining-usd'))).toBeGreaterThan(0.003)
  })
})

describe('a store that is shared', () => {
  it('makes one line of a gateway and of programs’ own gates', async () => {
    const { url } = await sharedRedis()
    const store = `${url}?prefix=${freshPrefix()}`
    const answers: (() => void)[] = []
    const load = { now: 0, most: 0 }
    await using stub = await stubUpstream((response) => {
      load.now++
      load.most = Math.max(load.most, load.now)
      answers.push(() => {
        load.now--
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end('{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}')
      })
    })
    const limits = [{ match: '*', concurrency: 2 }]
    const config: GateConfig = { store, providers: { anthropic: { limits } } }
    const file = path.join(await folderOf(), 'headgate.yaml')
    await writeFile(
      file,
      'providers: { anthropic: { limits: [{ match: "*", concurrency: 2 }] } }\n',
    )
    const flags = ['--config', file, '--store', store, '--upstream', `anthropic=${stub.url}`]
    const gateway = await startGateway(...flags)
    cleanUps.push(() => gateway.kill())
    const gates = await Promise.all([createGate(config), createGate(config)])
    for (const gate of gates) cleanUps.push(() => gate.close({ graceMs: 0 }))
    const clients = [
      new Anthropic({ baseURL: gateway.url, apiKey: KEY, maxRetries: 0 }),
      ...gates.map(
        (gate) =>
          new Anthropic({
            baseURL: stub.url,
            apiKey: KEY,
            maxRetries: 0,
            fetch: gatedFetch(gate),
          }),
      ),
    ]
    const messages = clients.flatMap((client) =>
      Array.from({ length: 5 }, () => client.messages.create(ask('x'))),
    )
    let answered = 0
    while (answered < messages.length) {
      await until(() => answers.length > 0)
      answers.shift()?.()
      answered++
    }
    expect(await Promise.all(messages)).toHaveLength(15)
    expect(load.most).toBe(2)
  })

  it('gives leases of one resource to all programs in one line', async () => {
    const { url } = await sharedRedis()
    const config: GateConfig = {
      store: `${url}?prefix=${freshPrefix()}`,
      resources: { model: { concurrency: 1 } },
    }
    const [one, other] = await Promise.all([createGate(config), createGate(config)])
    for (const gate of [one, other]) cleanUps.push(() => gate.close({ graceMs: 0 }))
    const first = await one.acquire('model')
    const order: string[] = []
    const work = async (name: string, gate: typeof one) => {
      await using _lease = await gate.acquire('model')
      order.push(name)
    }
    const later = []
    for (const [index, gate] of [other, one, other].entries()) {
      later.push(work(String(index), gate))
      await until(async () => (await one.snapshot())[0]?.queued === index + 1)
    }
    await first.settle()
    await Promise.all(later)
    expect(order).toEqual(['0', '1', '2'])
    await until(async () => ((await other.snapshot())[0]?.inFlight ?? 0) === 0)
  })

  it('shows the leases of programs at every gateway', async () => {
    const { url } = await sharedRedis()
    const store = `${url}?prefix=${freshPrefix()}`
    const file = path.join(await folderOf(), 'headgate.yaml')
    await writeFile(file, 'resources: { model: { concurrency: 1 } }\n')
    const gateway = await startGateway('--config', file, '--store', store)
    cleanUps.push(() => gateway.kill())
    const gate = await createGate({ store, resources: { model: { concurrency: 1 } } })
    cleanUps.push(() => gate.close({ graceMs: 0 }))
    const { id } = await gate.acquire('model')
    const { document } = await askGate(gateway.url, `${LEASES}?resource=model`)
    expect(document.leases).toMatchObject([{ id, resource: 'model', state: 'held' }])
  })
})
