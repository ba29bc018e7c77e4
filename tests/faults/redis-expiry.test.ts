// The first operation after a process's time is over ends its tickets on the way to what it is for.
import { afterEach, expect, it } from 'vitest'
import type { GateSettings } from '../../src/core/admission.ts'
import { type EpochMs, VirtualClock } from '../../src/core/clock.ts'
import { costOf } from '../../src/core/cost.ts'
import type { TicketRequest } from '../../src/core/ticket.ts'
import type { RedisAddress } from '../../src/stores/redis/address.ts'
import { connect } from '../../src/stores/redis/connection.ts'
import { keyOf } from '../../src/stores/redis/keys.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { allScripts } from '../../src/stores/redis/scripts.generated.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { withTestClock } from '../servers/test-clock.ts'

const scripts = withTestClock(allScripts)
const RESOURCE = 'shared'
const LEASE_MS = 1000
const START_AT: EpochMs = 1.8e12

const ONE_AT_ONCE: GateSettings = {
  limits: [{ algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' }],
  learns: false,
  agingMs: 500,
  maxQueued: 100,
  floors: { soft: 0, hard: 0 },
}

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

/** Two processes with one gate, on a clock that the test sets. They give no signs of life of themselves. */
async function openTwo() {
  const { url } = await sharedRedis()
  const { hostname: host, port } = new URL(url)
  const prefix = freshPrefix()
  const address: RedisAddress = {
    kind: 'redis',
    host,
    port: Number(port),
    db: 0,
    tls: false,
    user: null,
    password: null,
    prefix,
    shown: url,
  }
  const open = async (instance: string) => {
    const connection = await connect(address)
    const setClock = (at: EpochMs) =>
      connection.command('SET', keyOf(prefix, RESOURCE, 'clock'), String(at))
    await setClock(START_AT)
    const store = await RedisStore.open({
      failed: (error) => {
        throw error
      },
      connection,
      clock: new VirtualClock(START_AT),
      settingsOf: () => ONE_AT_ONCE,
      instance,
      leaseMs: LEASE_MS,
      scripts,
    })
    cleanUps.push(() => store.close())
    return { store, setClock }
  }
  const [dying, other] = [await open('dying'), await open('other')]
  return { dying: dying.store, other: other.store, setClock: other.setClock }
}

const ticket = (id: string): TicketRequest => ({
  id,
  resource: RESOURCE,
  flow: 'of both',
  lane: 'normal',
  weight: 1,
  estimate: costOf({ input_tokens: 10 }),
  deadlineAt: Number.POSITIVE_INFINITY,
  place: null,
  parked: false,
  holder: null,
})

it('a newcomer to the flow of a dead process finds the line as that one has left it', async () => {
  const { dying, other, setClock } = await openTwo()
  await dying.enqueue(ticket('dying 1'))
  await dying.enqueue(ticket('dying 2'))
  await dying.enqueue(ticket('dying 3'))
  await setClock(START_AT + LEASE_MS)
  expect(await other.enqueue(ticket('other 1'))).toEqual({ kind: 'admitted' })
  expect(await other.enqueue(ticket('other 2'))).toMatchObject({ kind: 'waiting', position: 0 })
  expect(await other.enqueue(ticket('other 3'))).toMatchObject({ kind: 'waiting', position: 1 })
  const granted: string[] = []
  other.onGrant(({ id }) => granted.push(id))
  for (const id of ['other 1', 'other 2', 'other 3'])
    expect(await other.settle(RESOURCE, id, costOf({}), true)).toBe(true)
  expect(granted).toEqual(['other 2', 'other 3'])
  expect(await other.snapshot()).toMatchObject([{ name: RESOURCE, inFlight: 0, queued: 0 }])
})

it('a process that was taken for dead and comes back has what it brings, and can die again', async () => {
  const { dying, other, setClock } = await openTwo()
  await dying.enqueue(ticket('before'))
  await dying.enqueue(ticket('in line'))
  await setClock(START_AT + LEASE_MS)
  expect(await dying.enqueue(ticket('after'))).toEqual({ kind: 'admitted' })
  expect(await dying.owned(RESOURCE)).toEqual(['after'])
  expect(await dying.beat(RESOURCE)).toMatchObject({ isKnown: true, waiting: 0, held: 1 })
  await setClock(START_AT + 2 * LEASE_MS)
  expect(await other.enqueue(ticket('other'))).toEqual({ kind: 'admitted' })
  expect(await dying.owned(RESOURCE)).toEqual([])
})
