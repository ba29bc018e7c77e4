// What happened, counted per key and minute. Owns: the counts. Must not know: why anything happened.
import type { Clock, EpochMs } from '../core/clock.ts'
import type { LimitedDimension } from './quota.ts'

const COUNTS = [
  'requests',
  'admitted',
  'refusedForRequests',
  'refusedForInputTokens',
  'refusedForOutputTokens',
  'overloaded',
  'failed',
  'inputTokens',
  'cacheReadTokens',
  'outputTokens',
  'auxiliaryRequests',
  'batchRequests',
] as const

/**
 * `requests` counts message requests that were well formed: each was then admitted, refused (429),
 * overloaded (529) or failed (another fault). `inputTokens` are those that the limit counts.
 * `auxiliaryRequests` are calls of the other pools, whatever became of them. `batchRequests` are those
 * that were answered within batches: they are in none of the other counts, but in the bills.
 */
export type CountName = (typeof COUNTS)[number]
export type Counts = Record<CountName, number>

export const REFUSAL_COUNT: Record<LimitedDimension, CountName> = {
  requests: 'refusedForRequests',
  input_tokens: 'refusedForInputTokens',
  output_tokens: 'refusedForOutputTokens',
}

export interface MinuteReport extends Counts {
  readonly startsAt: EpochMs
  readonly keys: Readonly<Record<string, Counts>>
}

/** A day of minutes is kept; totals are kept for ever. */
const KEPT_MINUTES = 1440

type Rows = Map<string, Counts>

export class Tally {
  readonly #clock: Clock
  readonly #minuteMs: number
  readonly #totals: Rows = new Map()
  readonly #minutes = new Map<EpochMs, Rows>()
  #inFlight = 0
  #maxInFlight = 0

  /** `minuteMs`: the length of a limit's minute in real time. */
  constructor(minuteMs: number, clock: Clock) {
    this.#minuteMs = minuteMs
    this.#clock = clock
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get maxInFlight(): number {
    return this.#maxInFlight
  }

  add(key: string, name: CountName, amount = 1): void {
    rowOf(this.#totals, key)[name] += amount
    rowOf(this.#presentMinute(), key)[name] += amount
  }

  began(): void {
    this.#inFlight++
    this.#maxInFlight = Math.max(this.#maxInFlight, this.#inFlight)
  }

  ended(): void {
    this.#inFlight--
  }

  totals(): Counts {
    return sum(this.#totals)
  }

  keys(): Record<string, Counts> {
    return Object.fromEntries(this.#totals)
  }

  minutes(): MinuteReport[] {
    return Array.from(this.#minutes, ([startsAt, rows]) => ({
      startsAt,
      ...sum(rows),
      keys: Object.fromEntries(rows),
    }))
  }

  #presentMinute(): Rows {
    const startsAt = Math.floor(this.#clock.now() / this.#minuteMs) * this.#minuteMs
    const known = this.#minutes.get(startsAt)
    if (known) return known
    const rows: Rows = new Map()
    this.#minutes.set(startsAt, rows)
    const [oldest] = this.#minutes.keys()
    if (this.#minutes.size > KEPT_MINUTES && oldest !== undefined) this.#minutes.delete(oldest)
    return rows
  }
}

function nothing(): Counts {
  return {
    requests: 0,
    admitted: 0,
    refusedForRequests: 0,
    refusedForInputTokens: 0,
    refusedForOutputTokens: 0,
    overloaded: 0,
    failed: 0,
    inputTokens: 0,
    cacheReadTokens: 0,
    outputTokens: 0,
    auxiliaryRequests: 0,
    batchRequests: 0,
  }
}

function rowOf(rows: Rows, key: string): Counts {
  const known = rows.get(key)
  if (known) return known
  const row = nothing()
  rows.set(key, row)
  return row
}

function sum(rows: Rows): Counts {
  const total = nothing()
  for (const row of rows.values()) {
    for (const name of COUNTS) total[name] += row[name]
  }
  return total
}
