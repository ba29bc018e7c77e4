// What stands behind every door: ledger, policy, store, the way to providers, and the calls under way.
// Owns: opening all of it in order, and closing it. Must not know: which doors there are.
import { openStore, type StoreEvents } from '../backends/open-store.ts'
import type { Clock } from '../core/clock.ts'
import { Deadlines } from '../core/deadlines.ts'
import type { Store } from '../core/store.ts'
import { Dispatcher } from '../dispatch/dispatcher.ts'
import type { DispatchEvents } from '../dispatch/events.ts'
import type { LeasePolicy } from '../dispatch/lease-policy.ts'
import type { LeaseContext, LeaseTurn } from '../dispatch/lease-turn.ts'
import { Estimator } from '../estimate/estimator.ts'
import {
  type BudgetWarning,
  type Ledger,
  LedgerUnavailable,
  type Registry,
} from '../ledger/ledger.ts'
import { RegistryWatch } from '../ledger/registry-watch.ts'
import { ConfigError } from '../policy/problem.ts'
import type { Settings } from '../policy/settings.ts'
import { BudgetWebhook } from '../telemetry/budget-webhook.ts'
import { UndiciUpstream, type UndiciUpstreamOptions } from '../upstream/undici-upstream.ts'
import {
  type BooksEvents,
  CLOSE_LEDGER_WITHIN_MS,
  NO_BOOKS,
  needsBooks,
  openBooks,
} from './books.ts'
import { leasePolicy } from './lease-policy.ts'
import { PolicyInForce } from './policy-in-force.ts'

/** What an engine tells of its work. */
export interface EngineEvents extends DispatchEvents, StoreEvents, BooksEvents {}

export interface EngineOptions {
  readonly settings: Settings
  readonly clock: Clock
  readonly random: () => number
  readonly events: EngineEvents
  /** Whether the usual ledger is opened where the settings name none and no budget needs one. */
  readonly keepsBooks: boolean
  /** How long the provider may be silent. @default as long as its slowest answers and its clients are */
  readonly upstreamTimeouts?: UndiciUpstreamOptions
}

export interface Engine {
  readonly dispatcher: Dispatcher
  readonly store: Store
  readonly ledger: Ledger | null
  readonly policy: PolicyInForce
  /** For asks for leases. */
  readonly leases: LeaseContext
  /** What may be asked for leases, as it is at this moment. */
  leasePolicy(): LeasePolicy
  /** What was found of store and ledger: sentences for the log. */
  readonly warnings: readonly string[]
  /** Looks again which keys and budgets there are. Takes no more than a second, and never rejects. */
  lookForKeys(): Promise<void>
  /**
   * Puts changed settings in force.
   *
   * @throws ConfigError when it cannot hold to them as it runs: then the old ones stay.
   */
  reconfigure(settings: Settings): void
  /**
   * Lets go of all. No call is under way any more, and nobody waits.
   *
   * @throws what the first part that could not be closed failed with: the others are closed all the same.
   */
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

/**
 * @throws StoreSetupError when the store's address or its server is wrong.
 * @throws LedgerSetupError when the ledger's address, file or server is wrong.
 * @throws LedgerUnavailable when the ledger's server cannot be reached.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { settings, clock, random, upstreamTimeouts = UPSTREAM_TIMEOUTS } = options
  let confirm: (warning: BudgetWarning) => void = () => {}
  const events: EngineEvents = {
    ...options.events,
    budgetWarned(warning) {
      options.events.budgetWarned(warning)
      confirm(warning)
    },
  }
  const failed = (error: unknown): void => events.failed(error)
  const { ledger, warnings: ledgerWarnings } = await openBooks(
    { ...options, lingerMs: LINGER_MS },
    events,
  )
  const giveUp = async (error: unknown): Promise<never> => {
    // Its thread and its connections would keep the process alive.
    await ledger?.close(CLOSE_LEDGER_WITHIN_MS).catch(failed)
    throw error
  }
  const registry = (await ledger?.registry().catch(giveUp)) ?? null
  const policy = new PolicyInForce(settings, registry)
  const webhook = ledger && openWebhook(options, ledger, failed)
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
  }).catch(giveUp)
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
  let leases = leasePolicy(policy, dispatcher)
  policy.onChange(() => {
    dispatcher.rules = policy.callRules
    leases = leasePolicy(policy, dispatcher)
  })
  policy.onNewLimits = () => store.reconfigure()
  const deadlines = new Deadlines<LeaseTurn>(clock, (turn) => turn.timeUp())
  const { grants, follow } = dispatcher
  return {
    dispatcher,
    store,
    ledger,
    policy,
    leases: { clock, store, grants, deadlines, follow },
    leasePolicy: () => leases,
    warnings: [...warnings, ...ledgerWarnings],
    async lookForKeys() {
      if (watch) await lookWithin(watch, clock, failed)
    },
    reconfigure(next) {
      if (!ledger && needsBooks(next)) throw new ConfigError([NO_BOOKS])
      policy.replaceSettings(next)
    },
    async close() {
      watch?.stop()
      deadlines.stop()
      await closeInTurn([
        () => upstream.close(),
        () => store.close(),
        () => webhook?.close(),
        () => ledger?.close(CLOSE_LEDGER_WITHIN_MS),
      ])
    },
  }
}

/** Closes all, whichever of them fails. @throws what the first of those failed with */
async function closeInTurn(parts: readonly (() => Promise<void> | undefined)[]): Promise<void> {
  const failures: unknown[] = []
  for (const close of parts) {
    try {
      await close()
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}

function openWebhook(
  { settings: { webhook: settings }, clock, random }: EngineOptions,
  ledger: Ledger,
  failed: (error: unknown) => void,
): BudgetWebhook | null {
  if (!settings) return null
  const told = (warning: BudgetWarning) => ledger.told(warning)
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
