// Puts a gateway together from its settings. Owns: what is handed to whom, and the order of closing
// down. Must not know: flags, terminals.

import { randomBytes } from 'node:crypto'
import { openLedger } from '../backends/open-ledger.ts'
import { openStore, type StoreEvents } from '../backends/open-store.ts'
import { createControl } from '../control/control.ts'
import type { Clock } from '../core/clock.ts'
import type { RefusalReason } from '../core/refusal.ts'
import type { Store } from '../core/store.ts'
import { Dispatcher } from '../dispatch/dispatcher.ts'
import type { DispatchEvents } from '../dispatch/events.ts'
import { Estimator } from '../estimate/estimator.ts'
import { Gateway } from '../gateway/gateway.ts'
import { UndiciUpstream, type UndiciUpstreamOptions } from '../gateway/undici-upstream.ts'
import {
  type BudgetWarning,
  type Ledger,
  LedgerSetupError,
  LedgerUnavailable,
  type Registry,
} from '../ledger/ledger.ts'
import { RegistryWatch } from '../ledger/registry-watch.ts'
import { ConfigError } from '../policy/problem.ts'
import type { Settings } from '../policy/settings.ts'
import { needsRestart } from '../policy/watch.ts'
import { BudgetWebhook } from '../telemetry/budget-webhook.ts'
import { EventMetrics } from '../telemetry/event-metrics.ts'
import { PolicyInForce } from './policy-in-force.ts'

/** What is told of the ledger. */
export interface GatewayLedgerEvents {
  /** Spending cannot be written down. */
  ledgerUnavailable(why: string): void
  ledgerReturned(afterMs: number, pending: number): void
  /** What a process that died had set aside was charged. */
  ledgerRecovered(requests: number, costNanoUsd: number): void
}

/** What a gateway tells of its work. */
export interface GatewayEvents extends DispatchEvents, StoreEvents, GatewayLedgerEvents {
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

const UPSTREAM_TIMEOUTS: UndiciUpstreamOptions = {
  // The slowest answers of providers take ten minutes; nothing is worth waiting for after that.
  firstByteTimeoutMs: 11 * 60_000,
  // A stream's clients give up after five minutes of silence themselves.
  idleTimeoutMs: 5 * 60_000,
}

/** What a call used is written with what others used at about the same time. */
const LINGER_MS = 20

/** A ledger that is slow to write its last records keeps nobody for longer. */
const CLOSE_LEDGER_WITHIN_MS = 10_000

/**
 * A gateway that is ready to listen.
 *
 * @throws StoreSetupError when the store's address or its server is wrong.
 * @throws LedgerSetupError when the ledger's address, file or server is wrong.
 * @throws LedgerUnavailable when the ledger's server cannot be reached.
 */
export async function wire(options: WireOptions): Promise<Wired> {
  const { settings, clock, random, upstreamTimeouts = UPSTREAM_TIMEOUTS } = options
  const counts = new EventMetrics(clock)
  const counted = countedToo(options.events, counts)
  let confirm: (warning: BudgetWarning) => void = () => {}
  const events: GatewayEvents = {
    ...counted,
    budgetWarned(warning) {
      counted.budgetWarned(warning)
      confirm(warning)
    },
  }
  const failed = (error: unknown): void => events.failed(error)
  const { ledger, warnings: ledgerWarnings } = await openBooks(settings, clock, events)
  const registry = (await ledger?.registry()) ?? null
  const policy = new PolicyInForce(settings, registry)
  const webhook = ledger && openWebhook(settings, ledger, options, failed)
  // What the log has is told, where nobody else wants to hear of it.
  confirm = (warning) => {
    if (webhook) webhook.tell(warning)
    else ledger?.told(warning).catch(failed)
  }
  const upstream = new UndiciUpstream(upstreamTimeouts)
  const settingsOf = (resource: string) => policy.gateSettings(resource)
  const { store, warnings } = await openStore({
    settings,
    settingsOf,
    clock,
    random,
    events,
  }).catch(async (error: unknown) => {
    // Its thread and its connections would keep the process alive.
    await ledger?.close(CLOSE_LEDGER_WITHIN_MS)
    throw error
  })
  const dispatcher = new Dispatcher({
    clock,
    random,
    store,
    ledger,
    rules: policy.callRules,
    estimator: new Estimator(),
    upstream,
    baseOf: (provider) => policy.baseOf(provider),
    events,
  })
  const watch = ledger && registry && watchRegistry({ clock, ledger, registry, failed }, policy)
  let isReady = true
  const gateway = new Gateway({
    clock,
    dispatcher,
    host: settings.host,
    port: settings.port,
    rules: policy.doorRules,
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
        changed: async () => watch?.look(),
      },
    }),
    lookForKeys: async () => {
      if (watch) await lookWithin(watch, clock, failed)
    },
    turnedAway: (reason) => events.turnedAway(reason),
    distrusted: once((address) =>
      events.warned(
        `a caller at ${address} names a user and is not trusted to: identity.trusted says who is`,
      ),
    ),
    failed,
  })
  policy.onChange = () => {
    dispatcher.rules = policy.callRules
    gateway.rules = policy.doorRules
  }
  policy.onNewLimits = () => store.reconfigure()
  const close = async (): Promise<void> => {
    isReady = false
    await gateway.close()
    watch?.stop()
    await upstream.close()
    await store.close()
    await webhook?.close()
    await ledger?.close(CLOSE_LEDGER_WITHIN_MS)
  }
  return {
    gateway,
    dispatcher,
    store,
    ledger,
    warnings: [...warnings, ...ledgerWarnings],
    reconfigure(next) {
      if (!ledger && needsBooks(next)) throw new ConfigError([NO_BOOKS])
      policy.replaceSettings(next)
      return needsRestart(settings, next)
    },
    close,
  }
}

/** The ledger; null where there is none, or where none was asked for and the usual one can't be had. */
async function openBooks(
  settings: Settings,
  clock: Clock,
  events: GatewayEvents,
): Promise<{ readonly ledger: Ledger | null; readonly warnings: readonly string[] }> {
  const told = {
    unavailable: (why: string) => events.ledgerUnavailable(why),
    returned: (afterMs: number, pending: number) => events.ledgerReturned(afterMs, pending),
    recovered: (requests: number, cost: number) => events.ledgerRecovered(requests, cost),
    warned: (warnings: readonly BudgetWarning[]) => {
      for (const warning of warnings) events.budgetWarned(warning)
    },
    failed: (error: Error) => events.failed(error),
  }
  const address = settings.ledger
  try {
    return {
      ledger: await openLedger(address, { clock, events: told, lingerMs: LINGER_MS }),
      warnings: [],
    }
  } catch (error) {
    const isUsual = address.kind === 'sqlite' && address.isDefault
    if (!(error instanceof LedgerSetupError) || !isUsual || needsBooks(settings)) throw error
    return { ledger: null, warnings: [`nothing is written down: ${error.message}`] }
  }
}

const NO_BOOKS =
  'there are budgets, and this gate was started without a ledger: set ledger and start it again'

const needsBooks = ({ rules }: Settings): boolean =>
  [...rules.tiers.values(), ...rules.teams.values()].some(({ budgets }) => budgets.length > 0)

function openWebhook(
  { webhook: settings }: Settings,
  ledger: Ledger,
  { clock, random }: WireOptions,
  failed: (error: unknown) => void,
): BudgetWebhook | null {
  if (!settings) return null
  const told = (warning: Parameters<Ledger['told']>[0]) => ledger.told(warning)
  const webhook = new BudgetWebhook({ ...settings, clock, random, told, failed })
  ledger.untold().then((warnings) => {
    for (const warning of warnings) webhook.tell(warning)
  }, failed)
  return webhook
}

interface RegistrySource {
  readonly clock: Clock
  readonly ledger: Ledger
  readonly registry: Registry
  readonly failed: (error: unknown) => void
}

function watchRegistry(source: RegistrySource, policy: PolicyInForce): RegistryWatch {
  return new RegistryWatch({
    ...source,
    onChange: (registry) => policy.replaceRegistry(registry),
  })
}

/** A ledger that is out of reach keeps nobody waiting: what is known of keys stays. */
const LOOK_WITHIN_MS = 1000

function lookWithin(
  watch: RegistryWatch,
  clock: Clock,
  failed: (error: unknown) => void,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = clock.schedule(clock.now() + LOOK_WITHIN_MS, resolve)
  watch
    .look()
    .catch((error: unknown) => {
      if (!(error instanceof LedgerUnavailable)) failed(error)
    })
    .finally(() => {
      timer.cancel()
      resolve()
    })
  return promise
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
