// What the ledger's conformance suite needs of an implementation, and the words its cases are told in.
import { VirtualClock } from '../../src/core/clock.ts'
import type { GatheredOptions } from '../../src/ledger/gathered-ledger.ts'
import type {
  Budget,
  BudgetWarning,
  Ledger,
  LedgerCall,
  Reservation,
  SubjectName,
  UsageEvent,
} from '../../src/ledger/ledger.ts'
import type { LedgerEvents } from '../../src/ledger/ledger-events.ts'

/** An empty record, and processes that share it. */
export interface LedgerHome {
  /** A process of that name begins: for the clock of whatever keeps the record, too, it is now what `clock` shows. */
  open(holder: string, options: GatheredOptions): Promise<Ledger>
  dispose(): Promise<void>
}

export type CreateHome = () => Promise<LedgerHome>

/** The record of the test that runs. */
export type HomeOf = () => LedgerHome

export const LIFE_MS = 60_000
export const NOON = Date.parse('2026-05-20T12:00:00Z')
export const USD = 1_000_000_000

export interface Recovery {
  readonly requests: number
  readonly cost: number
}

/** One process upon a record: silent from its beginning, for its clock stands still. */
export async function beginAt(
  home: LedgerHome,
  holder: string,
  startAt: number,
  events: Partial<LedgerEvents> = {},
): Promise<{ ledger: Ledger; recovered: Recovery[]; warned: BudgetWarning[] }> {
  const recovered: Recovery[] = []
  const warned: BudgetWarning[] = []
  const ledger = await home.open(holder, {
    clock: new VirtualClock(startAt),
    lifeMs: LIFE_MS,
    events: {
      unavailable(why) {
        throw new Error(why)
      },
      returned() {},
      recovered: (requests, cost) => recovered.push({ requests, cost }),
      warned: (warnings) => warned.push(...warnings),
      failed(error) {
        throw error
      },
      ...events,
    },
  })
  return { ledger, recovered, warned }
}

export function budgetOf(subject: SubjectName, amount: number, more: Partial<Budget> = {}): Budget {
  const period = { unit: 'month', timeZone: 'UTC' } as const
  return { subject, amount, period, warnAt: [], isShadow: false, ...more }
}

export function callOf(id: string, more: Partial<LedgerCall> = {}): LedgerCall {
  return {
    id,
    user: 'alice',
    team: null,
    key: 'ci',
    tier: 'pro',
    provider: 'anthropic',
    model: 'claude-sonnet-4',
    ...more,
  }
}

export function reservationOf(
  id: string,
  amount: number,
  budgets: readonly Budget[],
  at = NOON,
): Reservation {
  return { call: callOf(id), at, amount, budgets }
}

export function eventOf(
  id: string,
  cost: number | null,
  more: Partial<UsageEvent> = {},
): UsageEvent {
  return {
    call: callOf(id),
    attempt: 1,
    at: NOON,
    cost,
    outcome: 'answered',
    isExact: true,
    inputTokens: 10,
    cacheReadTokens: 20,
    cacheWriteTokens: 30,
    cacheWriteHourTokens: 5,
    outputTokens: 40,
    ...more,
  }
}

export async function listOf<T>(all: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of all) list.push(one)
  return list
}
