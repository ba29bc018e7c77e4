// Usage as a table for spreadsheets. Owns: its columns, and how a field is written so that it stays
// one. Must not know: where the table goes.
import { formatUsd } from '../core/money.ts'
import type { UsageEvent } from '../ledger/ledger.ts'

type Cell = string | number | null

const COLUMNS: Readonly<Record<string, (event: UsageEvent) => Cell>> = {
  at: ({ at }) => new Date(at).toISOString(),
  request: ({ call }) => text(call.id),
  attempt: ({ attempt }) => attempt,
  user: ({ call }) => text(call.user),
  team: ({ call }) => text(call.team),
  key: ({ call }) => text(call.key),
  tier: ({ call }) => text(call.tier),
  provider: ({ call }) => text(call.provider),
  model: ({ call }) => text(call.model),
  outcome: ({ outcome }) => outcome,
  cost_usd: ({ cost }) => cost && formatUsd(cost),
  is_exact: ({ isExact }) => String(isExact),
  input_tokens: ({ inputTokens }) => inputTokens,
  cache_read_tokens: ({ cacheReadTokens }) => cacheReadTokens,
  cache_write_tokens: ({ cacheWriteTokens }) => cacheWriteTokens,
  cache_write_hour_tokens: ({ cacheWriteHourTokens }) => cacheWriteHourTokens,
  output_tokens: ({ outputTokens }) => outputTokens,
}

/** So many characters are handed on at a time: a line each would cost a write each. */
const CHUNK_CHARACTERS = 16_384

/** The table in pieces of text, the names of its columns first. An unknown cost is an empty field. */
export async function* usageCsv(events: AsyncIterable<UsageEvent>): AsyncGenerator<string> {
  let chunk = line(Object.keys(COLUMNS))
  for await (const event of events) {
    chunk += line(Object.values(COLUMNS).map((cell) => cell(event)))
    if (chunk.length < CHUNK_CHARACTERS) continue
    yield chunk
    chunk = ''
  }
  yield chunk
}

const line = (cells: readonly Cell[]): string => `${cells.map((cell) => cell ?? '').join(',')}\r\n`

/**
 * A field that callers chose. Spreadsheets run one that begins with `= + - @`, a tab or a line end as a
 * formula, so such a field gets an apostrophe before it. Source: OWASP, "CSV Injection".
 */
function text(field: string | null): string {
  if (field === null) return ''
  const harmless = /^[=+\-@\t\r\n]/.test(field) ? `'${field}` : field
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}
