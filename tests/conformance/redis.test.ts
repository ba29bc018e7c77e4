import { type EpochMs, VirtualClock } from '../../src/core/clock.ts'
import type { RedisAddress } from '../../src/stores/redis/address.ts'
import { connect } from '../../src/stores/redis/connection.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { allScripts } from '../../src/stores/redis/scripts.generated.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { withTestClock } from '../servers/test-clock.ts'
import { type StoreUnderTest, sameDecisions, storeContract } from './store-contract.ts'
import { memory } from './stores.ts'

const scripts = withTestClock(allScripts)
const { url } = await sharedRedis()
const { hostname, port } = new URL(url)

const redis: StoreUnderTest = {
  // Keys expire by the server's own clock.
  exempt: ['forgets idle resources'],
  runs: 40,
  async open(settingsOf, startAt) {
    const clock = new VirtualClock(startAt)
    const prefix = freshPrefix()
    const address: RedisAddress = {
      kind: 'redis',
      host: hostname,
      port: Number(port),
      db: 0,
      tls: false,
      user: null,
      password: null,
      prefix,
      shown: url,
    }
    const connection = await connect(address)
    const setClock = (at: EpochMs) =>
      connection.command('SET', `${prefix}:clock`, String(at), 'PX', '600000')
    await setClock(startAt)
    const shared = await RedisStore.open({
      connection,
      clock,
      settingsOf,
      instance: 'under-test',
      leaseMs: 1e13,
      scripts,
    })
    const store = Object.assign(shared, { isDegraded: false })
    return {
      store,
      clock,
      advance: async (to) => {
        while (clock.nextAt() <= to) {
          // The server's time comes first: what is due looks at it.
          const at = Math.max(clock.nextAt(), clock.now())
          await setClock(at)
          clock.advanceTo(at)
          await shared.idle()
        }
        await setClock(to)
        clock.advanceTo(to)
      },
      delivered: () => shared.idle(),
      lifeOf: (resource) => shared.lifeOf(resource),
    }
  },
}

storeContract('redis', redis)
sameDecisions('redis', redis, memory)
