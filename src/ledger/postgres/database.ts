// The way to Postgres. Owns: connections, how long an answer is waited for, and errors' translation.
// Must not know: what is asked.
//
// No question leaves anything behind on its connection but prepared statements, so a pooler may stand
// between (PgBouncer in transaction mode: from 1.21, whose max_prepared_statements is not 0).
import { Pool, type QueryConfig } from 'pg'
import type { z } from 'zod'
import type { PostgresAddress } from './address.ts'
import { asLedgerError, isRepeatable } from './failure.ts'

/** What deadlocks again and again is told of. */
const MOST_TRIES = 5

export interface DatabaseSettings {
  readonly connections: number
  /** How long a connection, and then an answer, is waited for: a frozen server answers nothing. */
  readonly timeoutMs: number
}

export class Database {
  readonly #pool: Pool
  readonly #shown: string

  constructor({ connectionString, shown }: PostgresAddress, settings: DatabaseSettings) {
    this.#shown = shown
    this.#pool = new Pool({
      connectionString,
      max: settings.connections,
      connectionTimeoutMillis: settings.timeoutMs,
      query_timeout: settings.timeoutMs,
      application_name: 'headgate',
      keepAlive: true,
    })
    // An idle connection has ended: the pool has removed it, and the next question finds another.
    this.#pool.on('error', () => {})
  }

  /**
   * The one value that a statement answers.
   * @param question makes it anew for each try
   * @throws LedgerUnavailable also where it is not known what became of it
   */
  async ask<T>(answer: z.ZodType<T>, question: () => QueryConfig): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        const { rows } = await this.#pool.query<{ answer: unknown }>(question())
        return answer.parse(rows[0]?.answer)
      } catch (error) {
        if (!isRepeatable(error) || tries === MOST_TRIES) throw asLedgerError(error, this.#shown)
      }
    }
  }

  /** Resolves when all connections are closed, which a frozen server never confirms. */
  async close(): Promise<void> {
    await this.#pool.end()
  }
}
