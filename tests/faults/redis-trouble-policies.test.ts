// What gateways do without their Redis, by `on_store_failure`, and that all of it ends by itself.
import { APIError } from '@anthropic-ai/sdk'
import { afterEach, expect, it } from 'vitest'
import type { LimitRule, StoreFailurePolicy } from '../../src/policy/settings.ts'
import { ask, failureOf, type Harness, until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { type RedisServer, startRedis } from '../servers/redis.ts'
import { openShared, type SharedGateways } from './shared-gateways.ts'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function ownServer(): Promise<RedisServer> {
  const server = await startRedis()
  cleanUps.push(() => server.stop())
  return server
}

async function open(
  { url }: RedisServer,
  limits: readonly LimitRule[],
  onStoreFailure: StoreFailurePolicy,
): Promise<SharedGateways> {
  const shared = await openShared(url, { limits, onStoreFailure })
  cleanUps.push(() => shared[Symbol.asyncDispose]())
  return shared
}

const storeEvents = ({ happenings }: Harness) =>
  happenings.filter(({ kind }) => kind === 'store_degraded' || kind === 'store_returned')

/** One outage with this policy, from its beginning to its end. */
function expectOneOutage({ gates }: SharedGateways, policy: StoreFailurePolicy): void {
  for (const gate of gates)
    expect(storeEvents(gate)).toMatchObject([
      { kind: 'store_degraded', policy, why: expect.any(String) },
      { kind: 'store_returned', afterMs: expect.any(Number) },
    ])
}

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`)

/** So many requests a minute, none of which come back while a test runs. */
function aMinute(amount: number): readonly LimitRule[] {
  const limit = { algorithm: 'sliding_window', dimension: 'requests', amount } as const
  return [{ match: '*', limits: [{ ...limit, windowMs: 60_000, source: 'configured' }] }]
}

it('degrade: two gateways together stay within what was left of the limits', async () => {
  const server = await ownServer()
  const shared = await open(server, aMinute(10), 'degrade')
  const { gates, provider, send, shows, acquainted } = shared
  const [one, other] = gates
  send(one, ...names('before a', 2))
  send(other, ...names('before b', 2))
  await until(() => provider.came.length === 4)
  provider.answerAll()
  await shows(one, { inFlight: 0, queued: 0 })
  await acquainted()
  await server.kill()
  send(one, ...names('a', 8))
  send(other, ...names('b', 8))
  const without = { store: { degraded: true, onFailure: 'degrade' } } as const
  for (const gate of gates) await shows(gate, { inFlight: 0, queued: 5, ...without })
  expect(provider.came).toHaveLength(10)
  expect(await (await fetch(`${one.url}/readyz`)).json()).toEqual({
    status: 'ready',
    store: 'degraded',
  })
  await server.restart()
  await shared.returned()
  expectOneOutage(shared, 'degrade')
  // What has ended meanwhile is told on return, what had ended before is lost with the server: 10 less 6.
  await until(() => provider.came.length === 14)
  await shows(other, { inFlight: 0, queued: 6, store: { degraded: false, onFailure: 'degrade' } })
  expect(gates.flatMap((gate) => gate.of('failed'))).toEqual([])
})

it('open: everybody passes until it is back, then the limits hold again', async () => {
  const server = await ownServer()
  const shared = await open(server, atOnce(1).limits, 'open')
  const { gates, provider, send, shows, acquainted } = shared
  const [one, other] = gates
  send(one, 'a')
  await until(() => provider.came.length === 1)
  send(other, 'b')
  await shows(one, { inFlight: 1, queued: 1 })
  await acquainted()
  await server.kill()
  send(one, 'c')
  send(other, 'd', 'e')
  const without = { store: { degraded: true, onFailure: 'open' } } as const
  await shows(one, { inFlight: 2, queued: 0, ...without })
  await shows(other, { inFlight: 3, queued: 0, ...without })
  await until(() => provider.unanswered.length === 5)
  await server.restart()
  await shared.returned()
  expectOneOutage(shared, 'open')
  send(one, 'f')
  await shows(other, { inFlight: 5, queued: 1, store: { degraded: false, onFailure: 'open' } })
  provider.answer('a', 'b', 'c', 'd')
  await shows(other, { inFlight: 1, queued: 1 })
  expect(provider.came).toHaveLength(5)
  await shared.end()
})

it('closed: nobody new is taken, those who wait and those under way go on', async () => {
  const server = await ownServer()
  const shared = await open(server, atOnce(1).limits, 'closed')
  const { gates, provider, send, shows, acquainted } = shared
  const [one, other] = gates
  send(one, 'a')
  await until(() => provider.came.length === 1)
  send(other, 'b', 'c')
  await shows(one, { inFlight: 1, queued: 2 })
  await acquainted()
  await server.kill()
  const without = { store: { degraded: true, onFailure: 'closed' } } as const
  await shows(one, { inFlight: 1, queued: 0, ...without })
  await shows(other, { inFlight: 0, queued: 2, ...without })
  for (const gate of gates) {
    const error = await failureOf(gate.client().messages.create(ask('new')))
    if (!(error instanceof APIError)) throw error
    expect(error.status).toBe(503)
    expect(error.headers?.get('retry-after')).toBe('1')
    expect(gate.of('refused')).toMatchObject([{ refusal: { reason: 'store_failed' } }])
  }
  provider.answer('a')
  await shows(one, { inFlight: 0, queued: 0 })
  await shows(other, { inFlight: 0, queued: 2 })
  expect(provider.came).toEqual(['a'])
  await server.restart()
  await shared.returned()
  expectOneOutage(shared, 'closed')
  await until(() => provider.came.length === 2)
  await shows(one, { inFlight: 1, queued: 1, store: { degraded: false, onFailure: 'closed' } })
  await shared.end()
  expect(provider.mostAtOnce).toBe(1)
})

it('gateways that start before their Redis work, and share it as soon as it is there', async () => {
  const server = await ownServer()
  await server.kill()
  const shared = await open(server, atOnce(1).limits, 'degrade')
  const { gates, provider, send, shows, end } = shared
  const [one, other] = gates
  for (const gate of gates)
    expect(gate.wired.warnings).toEqual([expect.stringContaining('goes on without it until it is')])
  send(one, 'a', 'b')
  send(other, 'c')
  const without = { store: { degraded: true, onFailure: 'degrade' } } as const
  // They have never heard of each other: each goes by the whole.
  await shows(one, { inFlight: 1, queued: 1, ...without })
  await shows(other, { inFlight: 1, queued: 0, ...without })
  await until(() => provider.unanswered.length === 2)
  await server.restart()
  await shared.returned()
  expectOneOutage(shared, 'degrade')
  send(other, 'd')
  await shows(one, { inFlight: 2, queued: 2, store: { degraded: false, onFailure: 'degrade' } })
  provider.answer('a')
  await shows(one, { inFlight: 1, queued: 2 })
  provider.answer('c')
  await until(() => provider.unanswered.length === 1)
  await shows(other, { inFlight: 1, queued: 1 })
  await end()
})
