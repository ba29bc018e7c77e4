// Puts a gateway together from its settings. Owns: what is handed to whom, and the order of closing
// down. Must not know: flags, terminals.

import { createControl } from '../control/control.ts'
import type { GateSettings } from '../core/admission.ts'
import type { Clock } from '../core/clock.ts'
import type { Store } from '../core/store.ts'
import type { UpstreamBase } from '../dispatch/call-context.ts'
import { Dispatcher } from '../dispatch/dispatcher.ts'
import type { DispatchEvents } from '../dispatch/events.ts'
import { Estimator } from '../estimate/estimator.ts'
import { Gateway } from '../gateway/gateway.ts'
import { UndiciUpstream, type UndiciUpstreamOptions } from '../gateway/undici-upstream.ts'
import { limitsOf, type Settings } from '../policy/settings.ts'
import type { Provider } from '../providers/provider.ts'
import { EventMetrics } from '../telemetry/event-metrics.ts'
import { openStore, type StoreEvents } from './open-store.ts'

/** What a gateway tells of its work. */
export type GatewayEvents = DispatchEvents & StoreEvents

export interface WireOptions {
  readonly settings: Settings
  readonly clock: Clock
  readonly random: () => number
  readonly events: GatewayEvents
  /** How long the provider may be silent. @default as long as its slowest answers and its clients are */
  readonly upstreamTimeouts?: UndiciUpstreamOptions
}

export interface Wired {
  readonly gateway: Gateway
  readonly dispatcher: Dispatcher
  readonly store: Store
  /** What was found of the store: sentences for the log. */
  readonly warnings: readonly string[]
  /** Closes down in order: callers first, then connections, then the store. */
  close(): Promise<void>
}

const UPSTREAM_TIMEOUTS: UndiciUpstreamOptions = {
  // The slowest answers of providers take ten minutes; nothing is worth waiting for after that.
  firstByteTimeoutMs: 11 * 60_000,
  // A stream's clients give up after five minutes of silence themselves.
  idleTimeoutMs: 5 * 60_000,
}

/**
 * A gateway that is ready to listen.
 *
 * @throws StoreSetupError when the store's address or its server is wrong.
 */
export async function wire(options: WireOptions): Promise<Wired> {
  const { settings, clock, random, upstreamTimeouts = UPSTREAM_TIMEOUTS } = options
  const counts = new EventMetrics(clock)
  const events = countedToo(options.events, counts)
  const upstream = new UndiciUpstream(upstreamTimeouts)
  const settingsOf = (resource: string): GateSettings => gateSettings(settings, resource)
  const { store, warnings } = await openStore({ settings, settingsOf, clock, random, events })
  const bases = new Map<string, UpstreamBase>()
  const dispatcher = new Dispatcher({
    clock,
    random,
    store,
    estimator: new Estimator(),
    upstream,
    baseOf: (provider) => {
      let base = bases.get(provider.name)
      if (!base) {
        base = baseOf(settings.providers.anthropic.baseUrl ?? provider.defaultBaseUrl)
        bases.set(provider.name, base)
      }
      return base
    },
    events,
  })
  let isReady = true
  const gateway = new Gateway({
    clock,
    dispatcher,
    host: settings.host,
    port: settings.port,
    maxWaitMs: settings.queue.maxWaitMs,
    keepalive: settings.queue.keepalive,
    maxBodyMemory: settings.maxBodyMemoryBytes,
    ownKeyOf: (_provider: Provider) => settings.providers.anthropic.apiKey,
    control: createControl({
      clock,
      store,
      counts,
      ...(settings.store.kind !== 'memory' && { onStoreFailure: settings.onStoreFailure }),
      isReady: () => isReady,
      failed: (error) => events.failed(error),
    }),
    failed: (error) => events.failed(error),
  })
  const close = async (): Promise<void> => {
    isReady = false
    await gateway.close()
    await upstream.close()
    await store.close()
  }
  return { gateway, dispatcher, store, warnings, close }
}

/** What is told is counted first. */
function countedToo(events: GatewayEvents, counts: EventMetrics): GatewayEvents {
  return {
    settled(facts, outcome, status, actual) {
      counts.settled(facts, outcome, status)
      events.settled(facts, outcome, status, actual)
    },
    refused(facts, refusal) {
      counts.refused(facts, refusal)
      events.refused(facts, refusal)
    },
    cancelled(facts) {
      counts.cancelled()
      events.cancelled(facts)
    },
    bounced(facts, reason, status) {
      counts.bounced(facts, reason)
      events.bounced(facts, reason, status)
    },
    storeDegraded(outage) {
      counts.storeDegraded()
      events.storeDegraded(outage)
    },
    storeReturned(back) {
      counts.storeReturned()
      events.storeReturned(back)
    },
    storeWarned: (sentence) => events.storeWarned(sentence),
    failed(error) {
      counts.failed()
      events.failed(error)
    },
  }
}

function baseOf(url: string): UpstreamBase {
  const { origin, pathname } = new URL(url)
  return { origin, pathPrefix: pathname.replace(/\/+$/, '') }
}

/** What the configuration says of a resource, by the last part of its name: the limit group. */
function gateSettings(settings: Settings, resource: string): GateSettings {
  const { limits, floors } = settings.providers.anthropic
  const group = resource.slice(resource.lastIndexOf('/') + 1)
  return {
    limits: limitsOf(limits, group) ?? [],
    learns: true,
    agingMs: settings.queue.agingMs,
    maxQueued: settings.queue.maxQueued,
    floors: { soft: floors.softTokens, hard: floors.hardTokens },
  }
}
