// Operations as Postgres' functions take them. Owns: the names of columns, and each budget's period.
// Must not know: what is decided.
import type { EpochMs } from '../../core/clock.ts'
import type { LedgerOperation } from '../backend.ts'
import { briefReservations } from '../brief-reservations.ts'
import type { Budget, LedgerCall, Reservation, UsageEvent } from '../ledger.ts'
import { periodAt } from '../period.ts'

/** As JSON. */
export function operationsText(operations: readonly LedgerOperation[]): string {
  const brief = briefReservations(operations)
  return storableText(operations.map((operation) => rowOf(operation, brief)))
}

/** Budgets with the periods that hold an instant, as JSON. */
export function datedText(budgets: readonly Budget[], at: EpochMs): string {
  return storableText(datedBudgets(budgets, at))
}

/**
 * Text of Postgres holds neither zeros nor halves of surrogate pairs. A model's name comes from callers:
 * what they can send must not keep a request from being charged.
 */
function storableText(value: unknown): string {
  const text = JSON.stringify(value)
  if (!/\\u(0000|d[89a-f])/i.test(text)) return text
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'string' ? part.toWellFormed().replaceAll('\0', '\uFFFD') : part,
  )
}

function rowOf(operation: LedgerOperation, brief: ReadonlyMap<string, Reservation>): object {
  switch (operation.kind) {
    case 'reserve': {
      const { call, at, amount, budgets } = operation.reservation
      const { kind } = operation
      const isBrief = brief.has(call.id)
      const [columns, dated] = [callColumns(call), datedBudgets(budgets, at)]
      return { kind, id: call.id, call: columns, at, amount, budgets: dated, isBrief }
    }
    case 'settle':
    case 'record': {
      const { kind, event } = operation
      const { id } = event.call
      const at = brief.get(id)?.at ?? event.at
      const columns = eventColumns({ ...event, at }, kind === 'settle')
      return { kind, id, call: callColumns(event.call), event: columns }
    }
    case 'release':
      return operation
  }
}

function callColumns({ id, user, ...rest }: LedgerCall): object {
  return { request_id: id, user_name: user, ...rest }
}

function eventColumns(event: UsageEvent, isEnd: boolean): object {
  return {
    attempt: event.attempt,
    at: event.at,
    cost: event.cost,
    outcome: event.outcome,
    is_exact: event.isExact,
    is_end: isEnd,
    input_tokens: event.inputTokens,
    cache_read_tokens: event.cacheReadTokens,
    cache_write_tokens: event.cacheWriteTokens,
    cache_write_hour_tokens: event.cacheWriteHourTokens,
    output_tokens: event.outputTokens,
  }
}

function datedBudgets(budgets: readonly Budget[], at: EpochMs): object[] {
  return budgets.map((budget) => ({ budget, ...periodAt(budget.period, at) }))
}
