// Opens the store that the settings name. Owns: which store that is, this process's name among those
// that share it, and the pace of its signs of life. Must not know: what is kept there.
//
// A driver is loaded only where it is used.
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock } from '../core/clock.ts'
import type { SettingsOf, Store } from '../core/store.ts'
import type { Settings, StoreFailurePolicy } from '../policy/settings.ts'
import type { RedisStoreAddress } from '../policy/store-address.ts'
import { MemoryStore } from '../stores/memory/memory-store.ts'
import { SharedStore } from '../stores/shared/shared-store.ts'

/** What is told of a store that several gateways share. */
export interface StoreEvents {
  /** It is out of reach; `instances` is how many gateways shared it, as far as is known. */
  storeDegraded(outage: {
    readonly policy: StoreFailurePolicy
    readonly why: string
    readonly instances: number
  }): void
  storeReturned(back: {
    readonly afterMs: number
    readonly resources: number
    readonly rejoined: number
  }): void
  /** Something that only people can mend turned up: a sentence. */
  storeWarned(sentence: string): void
  /** Something that must not fail has failed. */
  failed(error: unknown): void
}

export interface OpenStoreOptions {
  readonly settings: Pick<Settings, 'store' | 'onStoreFailure'>
  readonly settingsOf: SettingsOf
  readonly clock: Clock
  readonly random: () => number
  readonly events: StoreEvents
}

export interface OpenedStore {
  readonly store: Store
  /** What was found of it at the start: sentences for the log. */
  readonly warnings: readonly string[]
}

/** How often a process shows its store that it lives. */
const BEAT_MS = 2000
/** So many signs of life may be missing before it is believed to be dead. */
const BEATS_A_LEASE = 5

/**
 * Opens it. A shared store that cannot be reached is opened too, and does what `on_store_failure` says.
 *
 * @throws StoreSetupError when its address or its server is wrong.
 */
export async function openStore(options: OpenStoreOptions): Promise<OpenedStore> {
  const { settings, clock, settingsOf } = options
  if (settings.store.kind !== 'memory') return await openRedis(settings.store, options)
  return { store: new MemoryStore(clock, settingsOf), warnings: [] }
}

async function openRedis(
  address: RedisStoreAddress,
  { settings, clock, random, settingsOf, events }: OpenStoreOptions,
): Promise<OpenedStore> {
  const [{ connect }, { RedisStore }] = await Promise.all([
    import('../stores/redis/connection.ts'),
    import('../stores/redis/redis-store.ts'),
  ])
  const connection = await connect(address, {
    clock,
    onError: ({ message }) => events.storeWarned(message),
  })
  const shared = await RedisStore.open({
    connection,
    clock,
    settingsOf,
    instance: `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`,
    leaseMs: BEATS_A_LEASE * BEAT_MS,
    failed: (error) => events.failed(error),
  })
  const store = new SharedStore({
    clock,
    random,
    shared,
    settingsOf,
    localStore: (localSettingsOf) => new MemoryStore(clock, localSettingsOf),
    onFailure: settings.onStoreFailure,
    events: {
      degraded: (outage) => events.storeDegraded(outage),
      returned: (back) => events.storeReturned(back),
      tellFailed: (error) => events.failed(error),
    },
    beatMs: BEAT_MS,
  })
  return { store, warnings: connection.warnings }
}
