// How much money to set aside for a request. Owns: that rule. Must not know: tokens, prices, or where
// money is kept.
import type { NanoUsd } from './ledger.ts'

/** One request may hold back one of so many equal shares of a budget for what it will hardly use. */
const SHARES = 10

export interface ReservationNeeds {
  /** What the request is likely to cost. */
  readonly expected: NanoUsd
  /** What it can cost at most, with all the output that it allows. */
  readonly worst: NanoUsd
  /** The smallest of the budgets that bind it; null: none does. */
  readonly smallestBudget: NanoUsd | null
}

/**
 * A small request sets its worst case aside, so that it cannot overspend. A large one sets aside what it
 * will probably cost, and no less than a tenth of the budget: its worst case would freeze the account for
 * every other request. What a budget can be passed by is then the error of the large requests under way.
 */
export function reservationSize({ expected, worst, smallestBudget }: ReservationNeeds): NanoUsd {
  if (smallestBudget === null) return Math.min(expected, worst)
  const share = Math.floor(smallestBudget / SHARES)
  return Math.min(worst, Math.max(expected, share))
}
