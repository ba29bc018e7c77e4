// The ledger's record in an SQLite file, written by a thread of its own. Owns: that there is such a
// thread: one that crashed is started again. Must not know: SQL, retries, budgets.
import type { Worker } from 'node:worker_threads'
import type { EpochMs } from '../../core/clock.ts'
import type { LedgerBackend, LedgerOperation, LedgerResult, Recovered } from '../backend.ts'
import {
  type Balance,
  type Budget,
  type BudgetOverride,
  type BudgetWarning,
  KeyExists,
  type KeyRecord,
  LedgerSetupError,
  LedgerUnavailable,
  type Registry,
  type SubjectName,
  type UsageEvent,
  type UsageQuery,
  type UsageTotal,
} from '../ledger.ts'
import { Connection } from './connection.ts'
import type { EventPlace } from './event-log.ts'
import type { Exchange, FileSettings, Question } from './exchange.ts'
import type { NextSecret } from './registry-tables.ts'
import { sumOf } from './usage-total.ts'

/** Some milliseconds of reading, during which nothing is written. */
const EVENTS_PER_PAGE = 2000

export interface SqliteSettings extends FileSettings {
  readonly lifeMs: number
  readonly startWorker: (settings: FileSettings) => Worker
}

export class SqliteBackend implements LedgerBackend {
  readonly kind = 'sqlite'
  readonly #settings: SqliteSettings
  #connection: Promise<Connection> | null = null
  #isClosed = false

  constructor(settings: SqliteSettings) {
    this.#settings = settings
  }

  /** @throws LedgerSetupError, LedgerUnavailable when the file cannot be opened. */
  async open(): Promise<void> {
    this.#connection = this.#connect()
    await this.#connection
  }

  commit(operations: readonly LedgerOperation[]): Promise<readonly LedgerResult[]> {
    return this.#ask('commit', operations)
  }

  beat(now: EpochMs): Promise<Recovered> {
    return this.#ask('beat', { now, lifeMs: this.#settings.lifeMs })
  }

  balances(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]> {
    return this.#ask('balances', { budgets, at })
  }

  reset(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]> {
    return this.#ask('reset', { budgets, at })
  }

  async total(query: UsageQuery): Promise<UsageTotal> {
    const totals: UsageTotal[] = []
    let after: EventPlace | null = null
    do {
      const page: Exchange['total'][1] = await this.#ask('total', slice(query, after))
      totals.push(page.total)
      after = page.next
    } while (after !== null)
    return sumOf(totals)
  }

  async *events(query: UsageQuery): AsyncIterable<UsageEvent> {
    let after: EventPlace | null = null
    do {
      const page: Exchange['events'][1] = await this.#ask('events', slice(query, after))
      yield* page.events
      after = page.next
    } while (after !== null)
  }

  untold(now: EpochMs): Promise<readonly BudgetWarning[]> {
    return this.#ask('untold', now)
  }

  async told(warning: BudgetWarning): Promise<void> {
    await this.#ask('told', warning)
  }

  registry(): Promise<Registry> {
    return this.#ask('registry', null)
  }

  revision(): Promise<number> {
    return this.#ask('revision', null)
  }

  async addKey(record: KeyRecord): Promise<void> {
    if (!(await this.#ask('addKey', record))) throw new KeyExists(record.id)
  }

  revokeKey(id: string, at: EpochMs): Promise<boolean> {
    return this.#ask('revokeKey', { id, at })
  }

  rotateKey(id: string, next: NextSecret): Promise<boolean> {
    return this.#ask('rotateKey', { id, next })
  }

  async setOverride(override: BudgetOverride): Promise<void> {
    await this.#ask('setOverride', override)
  }

  removeOverride(subject: SubjectName): Promise<boolean> {
    return this.#ask('removeOverride', subject)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const connection = await this.#connection?.catch(() => null)
    await connection?.close()
  }

  async #ask<Q extends Question>(question: Q, input: Exchange[Q][0]): Promise<Exchange[Q][1]> {
    if (this.#isClosed) throw new LedgerUnavailable(`ledger ${this.#settings.file}: it is closed`)
    this.#connection = this.#connected(this.#connection)
    const connection = await this.#connection
    return connection.ask(question, input)
  }

  /** The connection there is, or a new one where its thread has ended. */
  async #connected(former: Promise<Connection> | null): Promise<Connection> {
    const connection = await former?.catch(() => null)
    if (connection && !connection.hasEnded) return connection
    try {
      return await this.#connect()
    } catch (error) {
      // It was a ledger once, and may be again: what is pending is kept until then.
      throw error instanceof LedgerSetupError ? new LedgerUnavailable(error.message, error) : error
    }
  }

  #connect(): Promise<Connection> {
    const { file, holder, busyTimeoutMs, startWorker } = this.#settings
    return Connection.open(startWorker({ file, holder, busyTimeoutMs }), file)
  }
}

function slice(query: UsageQuery, after: EventPlace | null): Exchange['events'][0] {
  return { query, after, limit: EVENTS_PER_PAGE }
}
