// Usage events: appended, read, summed; never changed. Owns: the table `events`.
// Must not know: budgets, reservations.
import type Database from 'better-sqlite3'
import type { CalendarWindow } from '../../core/calendar.ts'
import type { EpochMs } from '../../core/clock.ts'
import { CORRECTED_ATTEMPTS, LOST_ATTEMPT } from '../backend.ts'
import type { NanoUsd, SubjectName, UsageEvent, UsageOutcome, UsageQuery } from '../ledger.ts'

interface EventRow {
  readonly row: number
  readonly id: string
  readonly attempt: number
  readonly at: EpochMs
  readonly user: string | null
  readonly team: string | null
  readonly key: string | null
  readonly tier: string | null
  readonly provider: string
  readonly model: string | null
  readonly cost: NanoUsd | null
  readonly outcome: UsageOutcome
  readonly isExact: number
  readonly endsRequest: number
  readonly inputTokens: number
  readonly cacheReadTokens: number
  readonly cacheWriteTokens: number
  readonly cacheWriteHourTokens: number
  readonly outputTokens: number
}

/** Behind which event a page ends: pages go by instant, then by the order of writing. */
export interface EventPlace {
  readonly at: EpochMs
  readonly row: number
}

/** A part of the events asked for: reading all of them at once would hold up what is to be written. */
export interface EventSlice {
  readonly query: UsageQuery
  readonly after: EventPlace | null
  readonly limit: number
}

export interface LoggedEvent {
  readonly event: UsageEvent
  /** Whether its request ended with it, rather than being sent once more. */
  readonly endsRequest: boolean
}

export interface EventPage {
  readonly events: readonly LoggedEvent[]
  /** Null after the last one. */
  readonly next: EventPlace | null
}

const APPEND = `
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id, attempt) DO NOTHING`

const COLUMNS = `
rowid AS row, id, attempt, at, user, team, key, tier, provider, model, cost, outcome, is_exact AS isExact,
ends_request AS endsRequest, input_tokens AS inputTokens, cache_read_tokens AS cacheReadTokens,
cache_write_tokens AS cacheWriteTokens, cache_write_hour_tokens AS cacheWriteHourTokens,
output_tokens AS outputTokens`

type Column = 'user' | 'team'

export class EventLog {
  readonly #append
  readonly #ofAttempts
  readonly #lost
  readonly #spentBy
  readonly #pagesBy

  constructor(database: Database.Database) {
    this.#append = database.prepare(APPEND)
    this.#ofAttempts = database.prepare<[string, number, number]>(
      'SELECT 1 FROM events WHERE id = ? AND attempt BETWEEN ? AND ? LIMIT 1',
    )
    this.#lost = database.prepare<[string, number], EventRow>(
      `SELECT ${COLUMNS} FROM events WHERE id = ? AND attempt = ?`,
    )
    const spentBy = (column: Column) =>
      database
        .prepare<[string, EpochMs, EpochMs], { spent: bigint }>(
          `SELECT coalesce(sum(cost), 0) AS spent FROM events WHERE ${column} = ? AND at >= ? AND at < ?`,
        )
        .safeIntegers()
    const pagesBy = (whose: string) =>
      database.prepare<unknown[], EventRow>(
        `SELECT ${COLUMNS} FROM events WHERE at >= @from AND at < @to ${whose}
         AND (at, rowid) > (@from, @afterRow) ORDER BY at, rowid LIMIT @limit`,
      )
    this.#spentBy = { user: spentBy('user'), team: spentBy('team') }
    this.#pagesBy = {
      anybody: pagesBy(''),
      user: pagesBy('AND user = @name'),
      team: pagesBy('AND team = @name'),
    }
  }

  /** False when there is an event of that name already. */
  append(event: UsageEvent, endsRequest: boolean): boolean {
    const { id, user, team, key, tier, provider, model } = event.call
    const { attempt, at, cost, outcome, isExact } = event
    const { inputTokens, cacheReadTokens, cacheWriteTokens, cacheWriteHourTokens } = event
    const row = [id, attempt, at, user, team, key, tier, provider, model, cost, outcome]
    const flags = [Number(isExact), Number(endsRequest)]
    const tokens = [inputTokens, cacheReadTokens, cacheWriteTokens, cacheWriteHourTokens]
    const { changes } = this.#append.run(...row, ...flags, ...tokens, event.outputTokens)
    return changes === 1
  }

  has(id: string): boolean {
    return this.#ofAttempts.get(id, LOST_ATTEMPT, Number.MAX_SAFE_INTEGER) !== undefined
  }

  hasAttempt(id: string, attempt: number): boolean {
    return this.#ofAttempts.get(id, attempt, attempt) !== undefined
  }

  /** What was charged for a request whose holder was taken for dead, and has not come back since. */
  uncorrectedLoss(id: string): UsageEvent | null {
    const lost = this.#lost.get(id, LOST_ATTEMPT)
    if (lost === undefined) return null
    const isCorrected = this.#ofAttempts.get(id, CORRECTED_ATTEMPTS, Number.MAX_SAFE_INTEGER)
    return isCorrected === undefined ? eventOf(lost).event : null
  }

  /** What a subject has spent in a period, counted from its events. */
  spent(subject: SubjectName, { startAt, endAt }: CalendarWindow): NanoUsd {
    const { column, name } = columnOf(subject)
    const spent = this.#spentBy[column].get(name, startAt, endAt)?.spent ?? 0n
    if (!Number.isSafeInteger(Number(spent)))
      throw new RangeError(`${subject} has spent ${spent} nano-dollars, too many to count exactly`)
    return Number(spent)
  }

  page({ query, after, limit }: EventSlice): EventPage {
    const { column, name } = query.subject
      ? columnOf(query.subject)
      : { column: 'anybody' as const, name: null }
    const from = after?.at ?? query.from
    const afterRow = after?.row ?? 0
    const rows = this.#pagesBy[column].all({
      from,
      to: query.to,
      afterRow,
      limit,
      ...(name === null ? {} : { name }),
    })
    const last = rows.length === limit ? rows.at(-1) : undefined
    return {
      events: rows.map(eventOf),
      next: last ? { at: last.at, row: last.row } : null,
    }
  }
}

function columnOf(subject: SubjectName): { readonly column: Column; readonly name: string } {
  return subject.startsWith('user:')
    ? { column: 'user', name: subject.slice('user:'.length) }
    : { column: 'team', name: subject.slice('team:'.length) }
}

function eventOf({ row: _, isExact, endsRequest, ...columns }: EventRow): LoggedEvent {
  const { id, user, team, key, tier, provider, model, ...rest } = columns
  const call = { id, user, team, key, tier, provider, model }
  return { event: { call, ...rest, isExact: isExact === 1 }, endsRequest: endsRequest === 1 }
}
