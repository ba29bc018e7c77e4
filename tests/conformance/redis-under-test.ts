// The Redis store, on any kind of server. Owns: opening it, and moving the clocks of process and
// resources together. Must not know: what is asked of it.
import { type EpochMs, VirtualClock } from '../../src/core/clock.ts'
import type { SettingsOf } from '../../src/core/store.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { connect, type RedisConnection } from '../../src/stores/redis/connection.ts'
import { keyOf } from '../../src/stores/redis/keys.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { allScripts } from '../../src/stores/redis/scripts.generated.ts'
import { freshPrefix } from '../servers/redis.ts'
import { withTestClock } from '../servers/test-clock.ts'
import type { StoreUnderTest } from './store-contract.ts'

const scripts = withTestClock(allScripts)
const CLOCK_LIVES_MS = 600_000

/** @param runs how many random histories each property is checked on. */
export function redisUnderTest(url: string, runs: number): StoreUnderTest {
  return {
    // Keys expire by the server's own clock.
    exempt: ['forgets idle resources'],
    runs,
    async open(settingsOf, startAt) {
      const clock = new VirtualClock(startAt)
      const { shared, setClocks } = await openStore(
        `${url}?prefix=${freshPrefix()}`,
        clock,
        settingsOf,
      )
      const store = Object.assign(shared, { isDegraded: false })
      return {
        store,
        clock,
        advance: async (to) => {
          while (clock.nextAt() <= to) {
            // The server's time comes first: what is due looks at it.
            const at = Math.max(clock.nextAt(), clock.now())
            await setClocks(at)
            clock.advanceTo(at)
            await shared.idle()
          }
          await setClocks(to)
          clock.advanceTo(to)
        },
        delivered: () => shared.idle(),
        lifeOf: (resource) => shared.lifeOf(resource),
      }
    },
  }
}

/** @param url with the prefix that processes share. */
export async function openStore(
  url: string,
  clock: VirtualClock,
  settingsOf: SettingsOf,
  instance = 'under-test',
) {
  const address = parseStoreAddress(url)
  if (address.kind === 'refused' || address.value.kind === 'memory')
    throw new Error(`${url} is no Redis`)
  const real = await connect(address.value)
  const connection: RedisConnection = {
    prefix: real.prefix,
    warnings: real.warnings,
    isReachable: true,
    run: (program, script, keys, args) => real.run(program, script, keys, args),
    // The server's time is the test's, for plain commands too.
    command: (name, ...args) =>
      name === 'TIME'
        ? Promise.resolve(secondsAndMicros(clock.now()))
        : real.command(name, ...args),
    subscribe: (channel, listener) => real.subscribe(channel, listener),
    onReach: (listener) => real.onReach(listener),
    close: () => real.close(),
  }
  const setClock = (resource: string, at: EpochMs) => {
    const key = keyOf(connection.prefix, resource, 'clock')
    return connection.command('SET', key, String(at), 'PX', String(CLOCK_LIVES_MS))
  }
  const met = new Set<string>()
  const shared = await RedisStore.open({
    failed: (error) => {
      throw error
    },
    connection,
    clock,
    // Asked for before the first operation on a resource is sent, so its clock is there first.
    settingsOf: (resource) => {
      met.add(resource)
      void setClock(resource, clock.now())
      return settingsOf(resource)
    },
    instance,
    leaseMs: 1e13,
    scripts,
  })
  const setClocks = (at: EpochMs) => Promise.all([...met].map((resource) => setClock(resource, at)))
  return { shared, setClocks }
}

function secondsAndMicros(at: EpochMs): string[] {
  const seconds = Math.floor(at / 1000)
  return [String(seconds), String((at - seconds * 1000) * 1000)]
}
