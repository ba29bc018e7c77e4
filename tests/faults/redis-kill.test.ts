// Processes that share a Redis and die, or are stopped for longer than anybody waits for them.
import { afterEach, expect, it } from 'vitest'
import type { Limit } from '../../src/core/limit.ts'
import type { RedisAddress } from '../../src/stores/redis/address.ts'
import { until } from '../harness.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { LEASE_MS, type SharingProcess, type State, startProcess } from './redis-process.ts'

/** What comes back within a test is none of it. */
const HOUR_MS = 3_600_000
const AN_HOURS = 1000

/** One at a time, and so many tokens an hour. */
const LIMITS: readonly Limit[] = [
  { algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' },
  {
    algorithm: 'sliding_window',
    dimension: 'input_tokens',
    amount: AN_HOURS,
    windowMs: HOUR_MS,
    source: 'configured',
  },
]

const started: SharingProcess[] = []
afterEach(async () => {
  await Promise.all(started.splice(0).map((process) => process.kill()))
})

async function start(count: number): Promise<readonly SharingProcess[]> {
  const { url } = await sharedRedis()
  const { hostname: host, port } = new URL(url)
  const address: RedisAddress = {
    kind: 'redis',
    host,
    port: Number(port),
    db: 0,
    tls: false,
    user: null,
    password: null,
    prefix: freshPrefix(),
    shown: url,
  }
  const names = Array.from({ length: count }, (_, index) => `process-${index}`)
  const all = await Promise.all(
    names.map((name) => startProcess({ name, address, limits: LIMITS })),
  )
  started.push(...all)
  return all
}

const used = ({ limits }: State): number =>
  AN_HOURS - (limits.find(({ dimension }) => dimension === 'input_tokens')?.remaining ?? 0)

it('a killed process loses its slot and its place within the lease time, and what it took stays counted', async () => {
  const [dying, other] = await start(2)
  if (!dying || !other) throw new Error('two have been started')
  dying.enqueue('held', 300)
  await dying.hears('granted held')
  dying.enqueue('in line', 50)
  await dying.hears('waiting in line')
  other.enqueue('next', 100)
  await other.hears('waiting next')
  expect(await other.state()).toMatchObject({ inFlight: 1, queued: 2 })
  await dying.kill()
  const killedAt = performance.now()
  await other.hears('granted next')
  expect(performance.now() - killedAt).toBeLessThan(LEASE_MS + 500)
  const state = await other.state()
  expect(state).toMatchObject({ inFlight: 1, queued: 0 })
  expect(used(state)).toBe(300 + 100)
  other.settle('next', 60)
  await other.hears('settled next')
  const after = await other.state()
  expect(after).toMatchObject({ inFlight: 0, queued: 0 })
  expect(used(after)).toBe(300 + 60)
})

it('a stopped process that wakes with a lease under way has it again, and it is counted once', async () => {
  const [sleeper, other] = await start(2)
  if (!sleeper || !other) throw new Error('two have been started')
  sleeper.enqueue('under way', 300)
  await sleeper.hears('granted under way')
  other.enqueue('next', 100)
  await other.hears('waiting next')
  sleeper.stop()
  await other.hears('granted next')
  sleeper.goOn()
  await until(async () => (await other.state()).inFlight === 2)
  expect(used(await other.state())).toBe(300 + 100)
  sleeper.settle('under way', 120)
  await sleeper.hears('settled under way')
  other.settle('next', 100)
  await other.hears('settled next')
  const after = await other.state()
  expect(after).toMatchObject({ inFlight: 0, queued: 0 })
  expect(used(after)).toBe(120 + 100)
})

it('a stopped process that settles as soon as it wakes counts nothing twice', async () => {
  const [sleeper, other] = await start(2)
  if (!sleeper || !other) throw new Error('two have been started')
  sleeper.enqueue('under way', 300)
  await sleeper.hears('granted under way')
  other.enqueue('next', 100)
  await other.hears('waiting next')
  sleeper.stop()
  await other.hears('granted next')
  sleeper.settle('under way', 300)
  sleeper.goOn()
  await until(() => sleeper.told.some((told) => /^(settled|ended before) under way$/.test(told)))
  other.settle('next', 100)
  await other.hears('settled next')
  await until(async () => (await other.state()).inFlight === 0)
  expect(used(await other.state())).toBe(300 + 100)
})

it('a turn that came and went while its process was stopped is not taken by it', async () => {
  const [sleeper, other] = await start(2)
  if (!sleeper || !other) throw new Error('two have been started')
  other.enqueue('first', 100)
  await other.hears('granted first')
  sleeper.enqueue('missed', 300)
  await sleeper.hears('waiting missed')
  other.enqueue('second', 100)
  await other.hears('waiting second')
  sleeper.stop()
  // The sleeper's turn: it can't hear of it, and after the lease time it is the next one's.
  other.settle('first', 100)
  await other.hears('granted second')
  sleeper.goOn()
  await until(async () => (await other.state()).queued === 1)
  expect(sleeper.told).not.toContain('granted missed')
  expect((await other.state()).inFlight).toBe(1)
  other.settle('second', 100)
  await sleeper.hears('granted missed')
  sleeper.settle('missed', 300)
  await sleeper.hears('settled missed')
  expect(await other.state()).toMatchObject({ inFlight: 0, queued: 0 })
  expect(sleeper.told.filter((told) => told === 'granted missed')).toHaveLength(1)
})
