// The ledger behind an engine. Owns: whether one is opened, and what is told of it. Must not know: what is
// written in it.
import { openLedger } from '../backends/open-ledger.ts'
import type { Clock } from '../core/clock.ts'
import { type BudgetWarning, type Ledger, LedgerSetupError } from '../ledger/ledger.ts'
import type { Settings } from '../policy/settings.ts'

/** What is told of the ledger alone. */
export interface LedgerNews {
  /** Spending cannot be written down. */
  ledgerUnavailable(why: string): void
  ledgerReturned(afterMs: number, pending: number): void
  /** What a process that died had set aside was charged. */
  ledgerRecovered(requests: number, costNanoUsd: number): void
}

export interface BooksEvents extends LedgerNews {
  /** A budget has passed one of its steps. */
  budgetWarned(warning: BudgetWarning): void
  /** Something that must not fail has failed. */
  failed(error: unknown): void
}

export interface BooksOptions {
  readonly settings: Settings
  readonly clock: Clock
  /** Whether the usual ledger is opened where the settings name none and no budget needs one. */
  readonly keepsBooks: boolean
  /** How long what nobody waits for may wait to be written with what others used. @default 0 */
  readonly lingerMs?: number
}

/** A ledger that is slow to write its last records keeps nobody for longer. */
export const CLOSE_LEDGER_WITHIN_MS = 10_000

/** The ledger; null where there is none, or where none was asked for and the usual one can't be had. */
export async function openBooks(
  { settings, clock, keepsBooks, lingerMs = 0 }: BooksOptions,
  events: BooksEvents,
): Promise<{ readonly ledger: Ledger | null; readonly warnings: readonly string[] }> {
  const told = {
    unavailable: (why: string) => events.ledgerUnavailable(why),
    returned: (afterMs: number, pending: number) => events.ledgerReturned(afterMs, pending),
    recovered: (requests: number, cost: number) => events.ledgerRecovered(requests, cost),
    warned: (warnings: readonly BudgetWarning[]) => {
      for (const warning of warnings) events.budgetWarned(warning)
    },
    failed: (error: Error) => events.failed(error),
  }
  const address = settings.ledger
  const isUnasked = address.kind === 'sqlite' && address.isDefault && !needsBooks(settings)
  if (isUnasked && !keepsBooks) return { ledger: null, warnings: [] }
  try {
    return {
      ledger: await openLedger(address, { clock, events: told, lingerMs }),
      warnings: [],
    }
  } catch (error) {
    if (!(error instanceof LedgerSetupError) || !isUnasked) throw error
    return { ledger: null, warnings: [`nothing is written down: ${error.message}`] }
  }
}

export const NO_BOOKS =
  'there are budgets, and this gate was started without a ledger: set ledger and start it again'

/** Whether there is a budget to keep. */
export const needsBooks = ({ rules }: Settings): boolean =>
  [...rules.tiers.values(), ...rules.teams.values()].some(({ budgets }) => budgets.length > 0)
