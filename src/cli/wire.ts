// Puts a gateway together: the engine, and the doors that are served over HTTP. Owns: what is handed to
// whom, and the order of closing down. Must not know: flags, terminals.
import { randomBytes } from 'node:crypto'
import { createControl } from '../control/control.ts'
import type { Clock } from '../core/clock.ts'
import type { RefusalReason } from '../core/refusal.ts'
import type { Store } from '../core/store.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { LeaseDesk } from '../dispatch/lease-desk.ts'
import { type EngineEvents, openEngine } from '../engine/engine.ts'
import { doorRules } from '../gateway/door-rules.ts'
import { Gateway } from '../gateway/gateway.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Settings } from '../policy/settings.ts'
import { needsRestart } from '../policy/watch.ts'
import { EventMetrics } from '../telemetry/event-metrics.ts'
import type { UndiciUpstreamOptions } from '../upstream/undici-upstream.ts'
import { createLeaseDesk, leaseDoorRules } from './wire-leases.ts'

/** What a gateway tells of its work. */
export interface GatewayEvents extends EngineEvents {
  /** A request was refused before it became a call. */
  turnedAway(reason: RefusalReason): void
  /** Something is so that an operator probably did not mean: a sentence. */
  warned(sentence: string): void
}

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
  readonly desk: LeaseDesk
  readonly store: Store
  readonly ledger: Ledger | null
  /** What was found of store and ledger: sentences for the log. */
  readonly warnings: readonly string[]
  /**
   * Puts changed settings in force, as far as a running gate can. Returns the keys that need a new start.
   *
   * @throws ConfigError when a running gate cannot hold to them: then the old ones stay.
   */
  reconfigure(settings: Settings): readonly string[]
  /** Closes down in order: callers first, then connections, then the store. */
  close(): Promise<void>
}

/**
 * A gateway that is ready to listen.
 *
 * @throws StoreSetupError when the store's address or its server is wrong.
 * @throws LedgerSetupError when the ledger's address, file or server is wrong.
 * @throws LedgerUnavailable when the ledger's server cannot be reached.
 */
export async function wire(options: WireOptions): Promise<Wired> {
  const { settings, clock } = options
  const counts = new EventMetrics(clock)
  const events = countedToo(options.events, counts)
  const failed = (error: unknown): void => events.failed(error)
  const engine = await openEngine({ ...options, events, keepsBooks: true })
  const { dispatcher, ledger, policy, store, warnings } = engine
  const desk = createLeaseDesk(engine, {
    random: options.random,
    warned: (sentence) => events.warned(sentence),
  })
  let leaseRules = leaseDoorRules(engine)
  let isReady = true
  const gateway = new Gateway({
    clock,
    dispatcher,
    host: settings.host,
    port: settings.port,
    rules: doorRules(policy.settings, policy.keys),
    keepalive: settings.queue.keepalive,
    maxBodyMemory: settings.maxBodyMemoryBytes,
    control: createControl({
      clock,
      store,
      counts,
      ...(settings.store.kind !== 'memory' && { onStoreFailure: settings.onStoreFailure }),
      isReady: () => isReady,
      failed,
      administration: {
        admin: ledger && { clock, ledger, rules: () => policy.settings.rules, randomBytes },
        token: () => policy.settings.adminToken,
        changed: () => engine.lookForKeys(),
      },
      leases: { desk, rules: () => leaseRules, lookForKeys: () => engine.lookForKeys() },
    }),
    lookForKeys: () => engine.lookForKeys(),
    turnedAway: (reason) => events.turnedAway(reason),
    distrusted: once((address) =>
      events.warned(
        `a caller at ${address} names a user and is not trusted to: identity.trusted says who is`,
      ),
    ),
    failed,
  })
  policy.onChange(() => {
    gateway.rules = doorRules(policy.settings, policy.keys)
    leaseRules = leaseDoorRules(engine)
  })
  return {
    gateway,
    dispatcher,
    desk,
    store,
    ledger,
    warnings,
    reconfigure(next) {
      engine.reconfigure(next)
      return needsRestart(settings, next)
    },
    async close() {
      isReady = false
      await desk.drain()
      await gateway.close()
      await engine.close()
    },
  }
}

/** Says something the first time, and not again. */
function once(say: (address: string | null) => void): (address: string | null) => void {
  let isSaid = false
  return (address) => {
    if (!isSaid) say(address)
    isSaid = true
  }
}

/** What is told is counted first. */
function countedToo(events: GatewayEvents, counts: EventMetrics): GatewayEvents {
  return {
    settled(facts, outcome, status, actual) {
      counts.settled(facts, outcome, status, actual)
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
    shadowed(facts, rule) {
      counts.shadowed()
      events.shadowed(facts, rule)
    },
    budgetWarned(warning) {
      counts.budgetWarned(warning)
      events.budgetWarned(warning)
    },
    ledgerUnavailable(why) {
      counts.ledgerUnavailable()
      events.ledgerUnavailable(why)
    },
    ledgerReturned: (afterMs, pending) => events.ledgerReturned(afterMs, pending),
    ledgerRecovered: (requests, cost) => events.ledgerRecovered(requests, cost),
    turnedAway(reason) {
      counts.refused(null, { reason })
      events.turnedAway(reason)
    },
    warned: (sentence) => events.warned(sentence),
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
