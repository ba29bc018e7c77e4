// Two processes whose gates are spread over the nodes of a cluster.
import { Redis } from 'ioredis'
import { afterAll, afterEach, expect, it } from 'vitest'
import type { GateSettings, Placement } from '../../src/core/admission.ts'
import { realClock } from '../../src/core/clock.ts'
import { costOf } from '../../src/core/cost.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { connect } from '../../src/stores/redis/connection.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { openShared } from '../faults/shared-gateways.ts'
import { until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { HOST } from '../servers/child-server.ts'
import { freshPrefix } from '../servers/redis.ts'
import { startCluster } from '../servers/redis-cluster.ts'

const cluster = await startCluster()
afterAll(() => cluster.stop())

const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** One at a time. */
const SETTINGS: GateSettings = {
  limits: [{ algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' }],
  learns: false,
  agingMs: Number.POSITIVE_INFINITY,
  maxQueued: 100,
  floors: { soft: 0, hard: 0 },
}

interface Process {
  readonly store: RedisStore
  /** Who was told to have been let in: resource and ticket. */
  readonly granted: string[]
  ask(resource: string, id: string): Promise<Placement['kind']>
}

async function start(prefix: string, instance: string): Promise<Process> {
  const address = parseStoreAddress(`${cluster.url}?prefix=${prefix}`)
  if (address.kind === 'refused' || address.value.kind === 'memory') throw new Error('no Redis')
  const store = await RedisStore.open({
    failed: (error) => {
      throw error
    },
    connection: await connect(address.value),
    clock: realClock(),
    settingsOf: () => SETTINGS,
    instance,
    leaseMs: 60_000,
  })
  cleanUps.push(() => store.close())
  const granted: string[] = []
  store.onGrant(({ resource, id }) => granted.push(`${resource} ${id}`))
  const ask = async (resource: string, id: string): Promise<Placement['kind']> => {
    const placement = await store.enqueue({
      id,
      resource,
      flow: instance,
      lane: 'normal',
      weight: 1,
      estimate: costOf({}),
      deadlineAt: Number.POSITIVE_INFINITY,
      place: null,
      parked: false,
      holder: null,
    })
    return placement.kind
  }
  return { store, granted, ask }
}

async function startTwo(): Promise<readonly [Process, Process]> {
  const prefix = freshPrefix()
  return [await start(prefix, 'one'), await start(prefix, 'two')]
}

/** How many resources have their gates on each node. */
async function gatesByNode(): Promise<readonly number[]> {
  const counts = cluster.ports.map(async (port) => {
    const client = new Redis(port, HOST)
    const keys = await client.keys('*}:state').finally(() => client.disconnect())
    return keys.length
  })
  return await Promise.all(counts)
}

it('resources are spread over all nodes, and pushes come from each', async () => {
  const [one, two] = await startTwo()
  const names = Array.from({ length: 24 }, (_, index) => `resource ${index}`)
  for (const name of names) {
    expect(await one.ask(name, 'first')).toBe('admitted')
    expect(await two.ask(name, 'second')).toBe('waiting')
  }
  expect(Math.min(...(await gatesByNode()))).toBeGreaterThan(0)
  const snapshots = await two.store.snapshot()
  expect(snapshots.map(({ name }) => name).sort()).toEqual([...names].sort())
  for (const snapshot of snapshots) expect(snapshot).toMatchObject({ inFlight: 1, queued: 1 })
  for (const name of names) await one.store.settle(name, 'first', costOf({}), true)
  await until(() => two.granted.length === names.length)
  expect(new Set(two.granted)).toEqual(new Set(names.map((name) => `${name} second`)))
  expect(one.granted).toEqual([])
})

// Of the slots 11836 and 10348: on the third node and on the second.
it.each([
  ['from', 'resource'],
  ['resource', 'from'],
])('%s is merged into %s on another node, and nobody is lost', async (from, into) => {
  const [one, two] = await startTwo()
  expect(await one.ask(from, 'a')).toBe('admitted')
  expect(await two.ask(from, 'b')).toBe('waiting')
  expect(await two.ask(into, 'c')).toBe('admitted')
  expect(await one.ask(into, 'd')).toBe('waiting')
  await one.store.merge(from, into)
  expect(await one.store.snapshot()).toMatchObject([{ name: into, inFlight: 2, queued: 2 }])
  expect(await one.store.settle(from, 'a', costOf({}), true)).toBe(true)
  expect([one.granted, two.granted]).toEqual([[], []])
  expect(await two.store.settle(into, 'c', costOf({}), true)).toBe(true)
  await until(() => one.granted.length + two.granted.length === 1)
  // It asks by the old name, if it has not heard of the other.
  if (two.granted.length > 0) expect(await two.store.settle(from, 'b', costOf({}), true)).toBe(true)
  else expect(await one.store.settle(into, 'd', costOf({}), true)).toBe(true)
  await until(() => one.granted.length + two.granted.length === 2)
  expect([...one.granted, ...two.granted].sort()).toEqual([`${into} b`, `${into} d`])
  expect(await two.store.snapshot()).toMatchObject([{ name: into, inFlight: 1, queued: 0 }])
})

it('gateways share one line', async () => {
  const shared = await openShared(cluster.url, atOnce(1))
  cleanUps.push(async () => shared[Symbol.asyncDispose]())
  const { gates, provider, send, shows, end } = shared
  send(gates[0], 'a', 'b', 'c')
  send(gates[1], 'd', 'e', 'f')
  await shows(gates[0], { inFlight: 1, queued: 5 })
  await end()
  expect(provider.mostAtOnce).toBe(1)
})
