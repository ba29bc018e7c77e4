// The list of those who share a store, by which each takes its share when that is lost.
import { afterEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../src/core/clock.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { connect, type RedisConnection } from '../../src/stores/redis/connection.ts'
import { Registry } from '../../src/stores/redis/registry.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'

const LIFE_MS = 10_000
const BEAT_MS = 2000

const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function open() {
  const { url } = await sharedRedis()
  const address = parseStoreAddress(`${url}?prefix=${freshPrefix()}`)
  if (address.kind === 'refused' || address.value.kind === 'memory') throw new Error('no Redis')
  const connection: RedisConnection = await connect(address.value)
  cleanUps.push(() => connection.close())
  const clock = new VirtualClock(1.8e12)
  const join = async (instance: string): Promise<Registry> => {
    const registry = new Registry(connection, { now: () => clock.now(), instance, lifeMs: LIFE_MS })
    await registry.join()
    return registry
  }
  const loseList = () => connection.command('DEL', `${connection.prefix}:instances`)
  return { join, loseList, wait: (ms: number) => clock.advanceTo(clock.now() + ms) }
}

describe('processes that share a store', () => {
  it('count each other as soon as they have joined', async () => {
    const { join } = await open()
    const one = await join('one')
    await join('two')
    expect(await one.instances()).toBe(2)
  })

  it('that have died are counted until two lives are over, those that came at once', async () => {
    const { join, wait } = await open()
    const one = await join('one')
    await join('two')
    expect(await one.instances()).toBe(2)
    let livedMs = 0
    for (; (await one.instances()) === 2; livedMs += BEAT_MS) wait(BEAT_MS)
    expect(livedMs).toBeGreaterThan(LIFE_MS)
    expect(livedMs).toBeLessThanOrEqual(2 * LIFE_MS + BEAT_MS)
    await join('three')
    wait(BEAT_MS)
    expect(await one.instances()).toBe(2)
  })

  it('are not forgotten when the list is lost', async () => {
    const { join, loseList, wait } = await open()
    const [one, two] = [await join('one'), await join('two')]
    for (const registry of [one, two]) expect(await registry.instances()).toBe(2)
    await loseList()
    wait(BEAT_MS)
    expect(await one.instances()).toBe(2)
    expect(await two.instances()).toBe(2)
    wait(BEAT_MS)
    expect(await one.instances()).toBe(2)
  })
})
