// Gateways whose Redis is restarted, or whose primary changes, while callers wait and requests are under way.
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Limit } from '../../src/core/limit.ts'
import type { LimitRule } from '../../src/policy/settings.ts'
import type { Harness } from '../harness.ts'
import { until } from '../harness.ts'
import { startRedis } from '../servers/redis.ts'
import { startReplicated } from '../servers/redis-replicated.ts'
import { openShared, type SharedGateways } from './shared-gateways.ts'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** Two at once, and so many requests an hour, none of which come back while a test runs. */
const AN_HOURS = 100
const HOUR_MS = 3_600_000
const SLOTS: Limit = {
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount: 2,
  source: 'configured',
}
const REQUESTS: Limit = {
  algorithm: 'sliding_window',
  dimension: 'requests',
  amount: AN_HOURS,
  windowMs: HOUR_MS,
  source: 'configured',
}
const LIMITS: readonly LimitRule[] = [{ match: '*', limits: [SLOTS, REQUESTS] }]

/** How many requests of this hour the gates have counted. */
async function counted(gate: Harness): Promise<number> {
  const { resources } = await gate.status()
  const limits = resources.flatMap((resource) => resource.limits)
  const requests = limits.find(({ dimension }) => dimension === 'requests')
  return AN_HOURS - (requests?.remaining ?? Number.NaN)
}

async function open(url: string): Promise<SharedGateways> {
  const shared = await openShared(url, { limits: LIMITS })
  cleanUps.push(() => shared[Symbol.asyncDispose]())
  return shared
}

/** Three are over, two are under way, four wait. */
async function busy(shared: SharedGateways): Promise<void> {
  const { gates, provider, send, shows, acquainted } = shared
  const [one, other] = gates
  send(one, 'over 1', 'over 2')
  await until(() => provider.unanswered.length === 2)
  send(other, 'over 3')
  await shows(other, { inFlight: 2, queued: 1 })
  provider.answer('over 1', 'over 2')
  await until(() => provider.unanswered.length === 1)
  provider.answer('over 3')
  await shows(other, { inFlight: 0, queued: 0 })
  send(one, 'under way 1')
  await until(() => provider.unanswered.length === 1)
  send(other, 'under way 2')
  await until(() => provider.unanswered.length === 2)
  send(one, 'waits 1', 'waits 2')
  send(other, 'waits 3', 'waits 4')
  await shows(one, { inFlight: 2, queued: 4 })
  expect(await counted(one)).toBe(5)
  await acquainted()
}

const UNDER_WAY = ['under way 1', 'under way 2']

describe('a Redis that is restarted', () => {
  it('empty, is given back all who wait and all that is under way', async () => {
    const server = await startRedis()
    cleanUps.push(() => server.stop())
    const shared = await open(server.url)
    const { gates, provider, shows, returned, end } = shared
    const [one, other] = gates
    await busy(shared)
    await server.restart()
    await returned()
    await shows(one, { inFlight: 2, queued: 4 })
    expect(provider.unanswered).toEqual(UNDER_WAY)
    // Those that were over before are forgotten; nobody else is.
    expect(await counted(other)).toBe(2)
    provider.answer('under way 1')
    await shows(one, { inFlight: 2, queued: 3 })
    await end()
    expect(provider.mostAtOnce).toBe(2)
    expect(await counted(one)).toBe(6)
  })

  it('with its data, counts nothing twice and forgets nothing', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-aof-'))
    cleanUps.push(() => rm(folder, { recursive: true }))
    const args = ['--dir', folder, '--appendonly', 'yes', '--appendfsync', 'always']
    const server = await startRedis({ args })
    cleanUps.push(() => server.stop())
    const shared = await open(server.url)
    const { gates, provider, shows, returned, end } = shared
    const [one, other] = gates
    await busy(shared)
    await server.restart()
    await returned()
    await shows(one, { inFlight: 2, queued: 4 })
    expect(provider.unanswered).toEqual(UNDER_WAY)
    expect(await counted(other)).toBe(5)
    await end()
    expect(provider.mostAtOnce).toBe(2)
    expect(await counted(one)).toBe(9)
  })
})

describe('a primary that fails over to its replica', () => {
  it('takes the line and what is under way along', async () => {
    const replicated = await startReplicated()
    cleanUps.push(() => replicated.stop())
    const shared = await open(replicated.sentinelUrl)
    const { gates, provider, shows, returned, end } = shared
    const [one, other] = gates
    await busy(shared)
    await replicated.primary.kill()
    await returned()
    await shows(one, { inFlight: 2, queued: 4 })
    expect(provider.unanswered).toEqual(UNDER_WAY)
    expect(await counted(other)).toBe(5)
    await end()
    expect(provider.mostAtOnce).toBe(2)
    expect(await counted(one)).toBe(9)
  })
})
