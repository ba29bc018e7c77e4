// Gateways behind a load balancer that share one Redis are one gate: one order, one set of limits, and
// any of them may go.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { statusSchema } from '../../src/control/status.ts'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { startEmulator } from '../../src/emulator/emulator.ts'
import type { ProviderSettings } from '../../src/policy/settings.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { type Balancer, startBalancer } from '../balancer.ts'
import { type GatewayProcess, startGateway } from '../gateway-process.ts'
import { ask, type Harness, KEY, openHarness, until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { type Stub, stubUpstream } from '../stub-upstream.ts'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

function closing<Resource extends AsyncDisposable>(resource: Resource): Resource {
  cleanUps.push(() => resource[Symbol.asyncDispose]())
  return resource
}

/** Of this test alone. */
async function freshStore(): Promise<string> {
  const { url } = await sharedRedis()
  return `${url}?prefix=${freshPrefix()}`
}

interface Gateways {
  readonly gates: readonly Harness[]
  readonly balancer: Balancer
}

async function openThree(stub: Stub, anthropic: Partial<ProviderSettings>): Promise<Gateways> {
  const parsed = parseStoreAddress(await freshStore())
  if (parsed.kind !== 'parsed') throw new Error('not an address')
  const options = { upstream: stub.url, store: parsed.value, anthropic }
  const gates = await Promise.all([1, 2, 3].map(() => openHarness(options)))
  for (const gate of gates) closing(gate)
  return { gates, balancer: closing(await startBalancer(gates.map(({ url }) => url))) }
}

const clientOf = (balancer: Balancer, more: { maxRetries: number; session?: string }): Anthropic =>
  new Anthropic({
    baseURL: balancer.url,
    apiKey: KEY,
    maxRetries: more.maxRetries,
    // A connection a request, so that each goes to the next gateway.
    defaultHeaders: {
      connection: 'close',
      'x-claude-code-session-id': more.session ?? 'one',
    },
  })

const MESSAGE = '{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}'
const JSON_HEADERS = { 'content-type': 'application/json' }

describe('three gateways with one Redis', () => {
  it('answer everybody in the order in which they came, whichever gateway they came to', async () => {
    const answers: (() => void)[] = []
    const stub = closing(
      await stubUpstream((response) =>
        answers.push(() => response.writeHead(200, JSON_HEADERS).end(MESSAGE)),
      ),
    )
    const { gates, balancer } = await openThree(stub, atOnce(1))
    const client = clientOf(balancer, { maxRetries: 0 })
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    const messages: Promise<unknown>[] = []
    for (const [index, name] of names.entries()) {
      messages.push(client.messages.create(ask(name)))
      await until(async () => {
        const { inFlight, queued } = (await gates[0]?.status()) ?? { inFlight: 0, queued: 0 }
        return inFlight + queued === index + 1
      })
    }
    for (const index of names.keys()) {
      await until(() => answers.length === index + 1)
      answers[index]?.()
    }
    await Promise.all(messages)
    const texts = stub.received.map(({ body }) => /"content":"(\w)"/.exec(body.toString())?.[1])
    expect(texts).toEqual(names)
    const served = gates.map((gate) => gate.of('settled').length)
    expect(Math.min(...served)).toBeGreaterThan(1)
    expect(gates.flatMap((gate) => gate.of('failed'))).toEqual([])
  })

  it('keep one limit together', async () => {
    const arrivals: number[] = []
    const stub = closing(
      await stubUpstream((response) => {
        arrivals.push(performance.now())
        response.writeHead(200, JSON_HEADERS).end(MESSAGE)
      }),
    )
    const limit = { algorithm: 'sliding_window', dimension: 'requests', amount: 20 } as const
    const { gates, balancer } = await openThree(stub, {
      limits: [{ match: '*', limits: [{ ...limit, windowMs: 2000, source: 'configured' }] }],
    })
    const sessions = Array.from({ length: 5 }, (_, index) =>
      clientOf(balancer, { maxRetries: 0, session: `session-${index}` }),
    )
    const messages = sessions.flatMap((client) =>
      Array.from({ length: 12 }, () => client.messages.create(ask('x'))),
    )
    expect(await Promise.all(messages)).toHaveLength(60)
    // One that was granted may be sent up to a second later; three gates of their own would send 60.
    const fullest = arrivals.map((at) => arrivals.filter((to) => to >= at && to < at + 1000).length)
    expect(Math.max(...fullest)).toBeLessThanOrEqual(20)
    expect((arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0)).toBeGreaterThan(3500)
    expect(gates.flatMap((gate) => gate.of('refused'))).toEqual([])
    expect(Math.min(...gates.map((gate) => gate.of('settled').length))).toBeGreaterThan(10)
    for (const gate of gates) await gate.idle()
  })
})

describe('gateways that are replaced one after the other', () => {
  it('lose no request of the official SDK', { timeout: 90_000 }, async () => {
    const emulator = await startEmulator({
      clock: realClock(),
      random: seededRandom(1),
      settings: {
        limits: { requests: 100_000, inputTokens: 10_000_000, outputTokens: 10_000_000 },
        ttftMs: 100,
        tokensPerSecond: 200,
      },
    })
    cleanUps.push(() => emulator.close())
    const flags = await flagsFor(emulator.url)
    const gateways = await Promise.all([1, 2, 3].map(() => startKept(flags)))
    const balancer = closing(await startBalancer(gateways.map(({ url }) => url)))
    let isOver = false
    const agent = async (session: string): Promise<number> => {
      const client = clientOf(balancer, { maxRetries: 6, session })
      let answered = 0
      for (; !isOver; answered++) {
        const message = await client.messages.create(ask('Hello.', { output: 30 }))
        expect(message.usage.output_tokens).toBe(30)
      }
      return answered
    }
    const agents = Promise.all(Array.from({ length: 12 }, (_, index) => agent(`agent-${index}`)))
    await until(() => emulator.report().totals.admitted > 20)
    for (const [index, old] of [...gateways].entries()) {
      const before = emulator.report().totals.admitted
      gateways[index] = await startKept(flags)
      balancer.balanceOver(gateways.map(({ url }) => url))
      expect(await old.terminate()).toBe(0)
      await until(() => emulator.report().totals.admitted > before + 20)
    }
    isOver = true
    const answered = await agents
    expect(answered.every((count) => count > 0)).toBe(true)
    const sum = answered.reduce((total, count) => total + count, 0)
    // Each was sent to the provider once: those whose gateway stopped while they waited had not been.
    expect(emulator.report().totals).toMatchObject({ requests: sum, admitted: sum })
    const troubles = gateways.flatMap(({ log }) =>
      log.filter(({ level }) => level === 'warn' || level === 'error'),
    )
    expect(troubles).toEqual([])
    const status = await fetch(`${balancer.url}/headgate/v1/status`)
    expect(statusSchema.parse(await status.json())).toMatchObject({
      inFlight: 0,
      queued: 0,
      store: { kind: 'redis', degraded: false },
    })
  })
})

async function startKept(flags: readonly string[]): Promise<GatewayProcess> {
  const gateway = await startGateway(...flags)
  cleanUps.push(() => gateway.kill())
  return gateway
}

/** A few slots for all of them together, so that some always wait. */
async function flagsFor(upstream: string): Promise<readonly string[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-'))
  cleanUps.push(() => rm(folder, { recursive: true }))
  const config = path.join(folder, 'headgate.yaml')
  await writeFile(
    config,
    'providers: { anthropic: { limits: [{ match: "*", concurrency: 4 }] } }\n',
  )
  return ['--config', config, '--store', await freshStore(), '--upstream', `anthropic=${upstream}`]
}
