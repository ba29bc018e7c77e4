// What the operator's policy says to those who carry it out. Owns: the shape, which is replaced whole
// when the configuration changes. Must not know: where it comes from.
import type { Prices } from '../ledger/prices.ts'
import type { FallbackRule } from '../policy/settings.ts'
import type { Subjects } from '../policy/subjects.ts'

export interface CallRules {
  readonly subjects: Subjects
  readonly prices: Prices
  /** Whether calls are sent that a budget binds and whose price is not known. */
  readonly sendsUnpriced: boolean
  readonly fallbacks: readonly FallbackRule[]
  /** A predicted wait longer than this takes a fallback. */
  readonly fallbackAfterMs: number
}
