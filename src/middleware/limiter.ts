// Per-user limits for people's own HTTP APIs. Owns: putting together what stands behind every request,
// and closing it. Must not know: any framework (express.ts and its neighbours), or one request's life.
import { openStore } from '../backends/open-store.ts'
import { type Clock, realClock } from '../core/clock.ts'
import { Deadlines } from '../core/deadlines.ts'
import type { ResourceSnapshot, Store } from '../core/store.ts'
import { GrantListeners } from '../dispatch/grant-listeners.ts'
import { type BooksEvents, CLOSE_LEDGER_WITHIN_MS, openBooks } from '../engine/books.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { RegistryWatch } from '../ledger/registry-watch.ts'
import { ApiPolicy } from './api-policy.ts'
import type { Chargeable, LimiterContext, LimiterEvents, Timed } from './context.ts'
import { type LimiterOptions, resolveOptions } from './options.ts'
import { Visit } from './visit.ts'

export type { ResourceSnapshot } from '../core/store.ts'
export type { BudgetWarning } from '../ledger/ledger.ts'
export { ConfigError } from '../policy/problem.ts'
export type { Amounts, ReserveRequest } from './amounts.ts'
export type { Caller, CallerName, HeaderOf } from './callers.ts'
export type { LimiterEvents } from './context.ts'
export type { LimiterOptions, SharedLimits } from './options.ts'
export { CallerGone, LimitReached, type RefusalAnswer, type RefusalBody } from './refusal-answer.ts'
export type { Reservation } from './reservation.ts'
export type { Entrance, RequestLimits, Visit } from './visit.ts'

/** What an adapter to a framework needs, and a program that has none. */
export interface Limiter {
  /** A request has come. Whoever calls this calls `end` once its response has ended or its caller has gone. */
  visit(): Visit
  /** Who waits, and what is left of every limit that is in use. */
  snapshot(): Promise<readonly ResourceSnapshot[]>
  /** For adapters: what went wrong where nobody is left to tell. */
  failed(error: unknown): void
  /** Refuses all that wait and all that come, charges what is open, and lets go of store and ledger. */
  close(): Promise<void>
}

/**
 * @throws ConfigError when the configuration is wrong: one line for each problem.
 * @throws StoreSetupError when the store's address or its server is wrong.
 * @throws LedgerSetupError when the ledger's address, file or server is wrong.
 * @throws LedgerUnavailable when the ledger's server cannot be reached.
 */
export async function createLimiter(options: LimiterOptions): Promise<Limiter> {
  const { settings, shared, maxWaitMs } = resolveOptions(options)
  const { clock = realClock(), random = Math.random } = options
  const events = { ...WARNINGS, ...options.events }
  const { ledger } = await openBooks({ settings, clock, keepsBooks: false }, booksEvents(events))
  const registry = (await ledger?.registry()) ?? null
  const policy = new ApiPolicy(settings, shared, registry)
  const settingsOf = (resource: string) => policy.gateSettings(resource)
  const { store, warnings } = await openStore({
    settings,
    settingsOf,
    clock,
    random,
    events: storeEvents(events),
  }).catch(async (error: unknown) => {
    // Its thread and its connections would keep the process alive.
    await ledger?.close(CLOSE_LEDGER_WITHIN_MS)
    throw error
  })
  for (const warning of warnings) events.warned(warning)
  const watch =
    ledger &&
    registry &&
    new RegistryWatch({
      clock,
      ledger,
      registry,
      failed: (error) => events.failed(error),
      onChange(changed) {
        policy.replaceRegistry(changed)
        store.reconfigure()
      },
    })
  return new OpenLimiter({ clock, store, ledger, policy, events, maxWaitMs }, () => watch?.stop())
}

function booksEvents(events: LimiterEvents): BooksEvents {
  return {
    ledgerUnavailable: (why) => events.warned(`spending cannot be written down: ${why}`),
    ledgerReturned: (_, pending) =>
      events.warned(`spending is written down again, ${pending} records are still to be written`),
    ledgerRecovered: (requests) =>
      events.warned(`${requests} requests of a process that died were charged as reserved`),
    budgetWarned: (warning) => events.budgetWarned(warning),
    failed: (error) => events.failed(error),
  }
}

function storeEvents(events: LimiterEvents) {
  return {
    storeDegraded: ({ policy, why }: { readonly policy: string; readonly why: string }) =>
      events.warned(`the store is out of reach (${why}): on_store_failure is ${policy}`),
    storeReturned: () => events.warned('the store is back'),
    storeWarned: (sentence: string) => events.warned(sentence),
    failed: (error: unknown) => events.failed(error),
  }
}

/** Without a listener Node shows them, as it does its own warnings. */
const WARNINGS: LimiterEvents = {
  shadowed: () => {},
  budgetWarned: ({ subject, step }) =>
    process.emitWarning(`the budget of ${subject} has passed ${step} %`, 'HeadgateWarning'),
  warned: (sentence) => process.emitWarning(sentence, 'HeadgateWarning'),
  failed: (error) =>
    process.emitWarning(error instanceof Error ? error : String(error), 'HeadgateWarning'),
}

type Parts = Pick<LimiterContext, 'clock' | 'store' | 'ledger' | 'policy' | 'events' | 'maxWaitMs'>

class OpenLimiter implements Limiter, LimiterContext {
  readonly clock: Clock
  readonly store: Store
  readonly grants: GrantListeners
  readonly ledger: Ledger | null
  readonly policy: ApiPolicy
  readonly events: LimiterEvents
  readonly deadlines: Deadlines<Timed>
  readonly maxWaitMs: number
  readonly reservations = new Set<Chargeable>()
  readonly #visits = new Set<Visit>()
  readonly #stopWatch: () => void
  #closing: Promise<void> | null = null

  constructor({ clock, store, ledger, policy, events, maxWaitMs }: Parts, stopWatch: () => void) {
    this.clock = clock
    this.store = store
    this.ledger = ledger
    this.policy = policy
    this.events = events
    this.maxWaitMs = maxWaitMs
    this.grants = new GrantListeners(store, this.follow)
    this.deadlines = new Deadlines(clock, (timed) => timed.timeUp())
    this.#stopWatch = stopWatch
  }

  get isClosing(): boolean {
    return this.#closing !== null
  }

  visit(): Visit {
    const visit = new Visit(this, (ended) => this.#visits.delete(ended))
    this.#visits.add(visit)
    return visit
  }

  snapshot(): Promise<readonly ResourceSnapshot[]> {
    return this.store.snapshot()
  }

  failed(error: unknown): void {
    this.events.failed(error)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  readonly follow = (operation: Promise<unknown>): void => {
    operation.catch((error: unknown) => this.events.failed(error))
  }

  async #close(): Promise<void> {
    // First `isClosing` is to be seen by all that is let go.
    await Promise.resolve()
    for (const visit of [...this.#visits]) visit.end()
    await Promise.all([...this.reservations].map((open) => open.chargeAsReserved()))
    this.#stopWatch()
    this.deadlines.stop()
    await this.store.close()
    await this.ledger?.close(CLOSE_LEDGER_WITHIN_MS)
  }
}
