// The store as a gateway has it, with an eye on what it asks of the server. Must not know: what it is
// used for.
import { realClock } from '../../src/core/clock.ts'
import type { SettingsOf, Store } from '../../src/core/store.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import type { RedisAddress } from '../../src/stores/redis/address.ts'
import { connect, type RedisConnection } from '../../src/stores/redis/connection.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { SharedStore } from '../../src/stores/shared/shared-store.ts'

export interface WatchedStore {
  readonly store: Store
  /** How often each operation and each plain command was sent. */
  readonly sent: ReadonlyMap<string, number>
}

const BEAT_MS = 2000
const BEATS_IN_A_LIFE = 5

export async function openStore(url: string, settingsOf: SettingsOf): Promise<WatchedStore> {
  const clock = realClock()
  const sent = new Map<string, number>()
  const connection = watched(await connect(addressOf(url)), sent)
  const shared = await RedisStore.open({
    failed: (error) => {
      throw error
    },
    connection,
    clock,
    settingsOf,
    instance: `gateway-${process.pid}-${crypto.randomUUID().slice(0, 8)}`,
    leaseMs: BEATS_IN_A_LIFE * BEAT_MS,
  })
  const store = new SharedStore({
    clock,
    random: Math.random,
    shared,
    settingsOf,
    localStore: (localSettingsOf) => new MemoryStore(clock, localSettingsOf),
    onFailure: 'closed',
    events: { degraded: stop, returned: () => {}, tellFailed: stop },
    beatMs: BEAT_MS,
  })
  return { store, sent }
}

function stop(why: unknown): never {
  throw new Error(`the store was lost: ${JSON.stringify(why)}`)
}

function watched(connection: RedisConnection, sent: Map<string, number>): RedisConnection {
  const count = (name: string): void => void sent.set(name, (sent.get(name) ?? 0) + 1)
  return {
    prefix: connection.prefix,
    warnings: connection.warnings,
    get isReachable() {
      return connection.isReachable
    },
    run: (program, script, keys, args) => {
      count(script.name)
      return connection.run(program, script, keys, args)
    },
    command: (name, ...args) => {
      count(name)
      return connection.command(name, ...args)
    },
    subscribe: (channel, listener) => connection.subscribe(channel, listener),
    onReach: (listener) => connection.onReach(listener),
    close: () => connection.close(),
  }
}

function addressOf(url: string): RedisAddress {
  const { hostname, port } = new URL(url)
  return {
    kind: 'redis',
    host: hostname,
    port: Number(port),
    db: 0,
    tls: false,
    user: null,
    password: null,
    prefix: 'headgate',
    shown: url,
  }
}
