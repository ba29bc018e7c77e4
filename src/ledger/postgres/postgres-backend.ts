// The ledger's record in Postgres. Owns: which function answers what, each in one round trip; that a
// commit that was given up on never takes effect after a later one. Must not know: SQL of any length,
// retries, budgets.
import type { z } from 'zod'
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { LedgerBackend, LedgerOperation, LedgerResult, Recovered } from '../backend.ts'
import {
  type Balance,
  type Budget,
  type BudgetOverride,
  type BudgetWarning,
  KeyExists,
  type KeyRecord,
  type Ledger,
  LedgerUnavailable,
  type Registry,
  type SubjectName,
  type UsageEvent,
  type UsageQuery,
  type UsageTotal,
} from '../ledger.ts'
import type { PostgresAddress } from './address.ts'
import * as answers from './answers.ts'
import { Database } from './database.ts'
import { datedText, operationsText } from './operation-rows.ts'
import { type EventPlace, pageQuery, totalQuery } from './usage-queries.ts'

/** Callers wait for a commit. */
const COMMITS = { connections: 1, timeoutMs: 2000 }
/** Sums over years of events are among them; they never keep a commit waiting. */
const OTHERS = { connections: 3, timeoutMs: 10_000 }

const CLOSING_MS = 2000
const EVENTS_PER_PAGE = 500

export interface PostgresSettings {
  readonly address: PostgresAddress
  readonly clock: Clock
  /** Names this process among those that share the ledger; never used twice. */
  readonly holder: string
  /** After so long a silence a holder is taken for dead. */
  readonly lifeMs: number
}

export class PostgresBackend implements LedgerBackend {
  readonly kind = 'postgres'
  readonly #settings: PostgresSettings
  readonly #commits: Database
  readonly #others: Database
  /** The number of this holder's last commit. Postgres refuses one that comes after a higher one. */
  #turn = 0

  constructor(settings: PostgresSettings) {
    this.#settings = settings
    this.#commits = new Database(settings.address, COMMITS)
    this.#others = new Database(settings.address, OTHERS)
  }

  async commit(operations: readonly LedgerOperation[]): Promise<readonly LedgerResult[]> {
    const { address, holder } = this.#settings
    const text = operationsText(operations)
    return await this.#commits.ask(answers.results, () => ({
      name: 'headgate_commit',
      text: `select ${address.schema}.commit($1, $2, $3) as answer`,
      values: [holder, ++this.#turn, text],
    }))
  }

  /** By Postgres' own clock: those of gateways may differ. */
  async beat(): Promise<Recovered> {
    const { holder, lifeMs } = this.#settings
    return await this.#call(answers.recovered, 'beat', holder, lifeMs)
  }

  async balances(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]> {
    return await this.#call(answers.balances, 'balances', datedText(budgets, at))
  }

  async reset(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]> {
    return await this.#call(answers.balances, 'reset', datedText(budgets, at))
  }

  async total(query: UsageQuery): Promise<UsageTotal> {
    const { schema } = this.#settings.address
    return await this.#others.ask(answers.total, () => totalQuery(schema, query))
  }

  async *events(query: UsageQuery): AsyncIterable<UsageEvent> {
    const { schema } = this.#settings.address
    let after: EventPlace | null = null
    do {
      const wanted = pageQuery(schema, { ...query, after, most: EVENTS_PER_PAGE })
      const page: z.infer<typeof answers.page> = await this.#others.ask(answers.page, () => wanted)
      for (const { event } of page) yield event
      const last = page.length === EVENTS_PER_PAGE ? page.at(-1) : undefined
      after = last ? { at: last.event.at, place: last.place } : null
    } while (after !== null)
  }

  async untold(now: EpochMs): Promise<readonly BudgetWarning[]> {
    return await this.#call(answers.warnings, 'untold', now)
  }

  async told(warning: BudgetWarning): Promise<void> {
    await this.#call(answers.nothing, 'told', JSON.stringify(warning))
  }

  async registry(): Promise<Registry> {
    return await this.#call(answers.registry, 'read_registry')
  }

  async revision(): Promise<number> {
    const { schema } = this.#settings.address
    const text = `select to_jsonb(revision) as answer from ${schema}.registry`
    return await this.#others.ask(answers.revision, () => ({ text }))
  }

  async addKey(key: KeyRecord): Promise<void> {
    const { sha256, id, user, team, tier, scopes, createdAt, expiresAt, revokedAt } = key
    const values = [sha256, id, user, team, tier, scopes, createdAt, expiresAt, revokedAt]
    if (!(await this.#call(answers.isDone, 'add_key', ...values))) throw new KeyExists(id)
  }

  async revokeKey(id: string, at: EpochMs): Promise<boolean> {
    return await this.#call(answers.isDone, 'revoke_key', id, at)
  }

  async rotateKey(id: string, next: Parameters<Ledger['rotateKey']>[1]): Promise<boolean> {
    const { sha256, at, othersExpireAt } = next
    return await this.#call(answers.isDone, 'rotate_key', id, sha256, at, othersExpireAt)
  }

  async setOverride({ subject, amount, period }: BudgetOverride): Promise<void> {
    const { unit, timeZone } = period
    await this.#call(answers.isDone, 'set_override', subject, amount, unit, timeZone)
  }

  async removeOverride(subject: SubjectName): Promise<boolean> {
    return await this.#call(answers.isDone, 'remove_override', subject)
  }

  /**
   * What this holder still has set aside is charged at anybody's next beat; where Postgres cannot be told
   * so, once the silence has lasted long enough.
   */
  async close(): Promise<void> {
    const { address, holder } = this.#settings
    const text = `select ${address.schema}.leave($1) as answer`
    try {
      await this.#commits.ask(answers.nothing, () => ({ text, values: [holder] }))
    } catch (error) {
      if (!(error instanceof LedgerUnavailable)) throw error
    } finally {
      await this.#disconnect()
    }
  }

  /** Not for ever: a frozen server confirms nothing. */
  async #disconnect(): Promise<void> {
    const { clock } = this.#settings
    const { promise: isLate, resolve } = Promise.withResolvers<void>()
    const timer = clock.schedule(clock.now() + CLOSING_MS, resolve)
    await Promise.race([Promise.all([this.#commits.close(), this.#others.close()]), isLate])
    timer.cancel()
  }

  /** One of the ledger's functions inside Postgres. */
  #call<T>(answer: z.ZodType<T>, name: string, ...values: Value[]): Promise<T> {
    const parameters = values.map((_, index) => `$${index + 1}`)
    const text = `select ${this.#settings.address.schema}.${name}(${parameters.join()}) as answer`
    return this.#others.ask(answer, () => ({ text, values }))
  }
}

type Value = string | number | readonly string[] | null
