// A subject's limit or budget that has no room, as the caller reads it. Owns: the sentences. Must not
// know: any provider's error shape.
import type { EpochMs } from '../core/clock.ts'
import { formatUsd } from '../core/money.ts'
import type { Refusal } from '../core/refusal.ts'
import type { Balance } from '../ledger/ledger.ts'
import { budgetHeaders, leftOf, limitHeaders } from './limit-headers.ts'
import type { QuotaRefusal } from './quota.ts'
import { describeBinding } from './wait-message.ts'

export function limitRefusal(refusal: QuotaRefusal, now: EpochMs): Refusal {
  const { scope, boundBy, expectedAt, standings } = refusal
  const waitMs = Number.isFinite(expectedAt) ? Math.max(0, expectedAt - now) : 1000
  const which = boundBy ? describeBinding(boundBy) : 'what it may have waiting'
  const bound = boundBy?.kind === 'limit' ? boundBy.limit : null
  const left = standings.find(
    ({ dimension, amount }) => dimension === bound?.dimension && amount === bound.amount,
  )
  const rest = left ? `, ${left.remaining} left` : ''
  return {
    reason: 'limit_reached',
    message: `Headgate: ${named(scope.subject)} has reached a limit: ${which}${rest}; there is room in ${Math.ceil(waitMs / 1000)} s.`,
    retryAfterMs: waitMs,
    headers: limitHeaders(standings, now),
  }
}

/** @param needed null where it is not known yet: nothing is left. */
export function budgetRefusal(balance: Balance, needed: number | null, now: EpochMs): Refusal {
  const { budget, endAt } = balance
  const { unit, timeZone } = budget.period
  const left = formatUsd(Math.max(0, leftOf(balance)))
  const frees = new Date(endAt).toISOString()
  const asked = needed === null ? '' : `; this request may cost ${formatUsd(needed)} USD`
  return {
    reason: 'budget_spent',
    message: `Headgate: the budget of ${named(budget.subject)}, ${formatUsd(budget.amount)} USD a ${unit}, has ${left} USD left${asked}. A new ${unit} (${timeZone}) begins at ${frees}.`,
    retryAfterMs: Math.max(0, endAt - now),
    headers: budgetHeaders([balance]),
  }
}

export const PRICE_UNKNOWN: Refusal = {
  reason: 'price_unknown',
  message:
    'Headgate: what this request costs is not known, and a budget binds its caller. Name a model with a known price, or have its price put under prices in the configuration.',
  retryAfterMs: null,
}

export const UNREADABLE: Refusal = {
  reason: 'forbidden',
  message: 'Headgate: this path is not one whose use can be counted, and limits bind its caller.',
  retryAfterMs: null,
}

export const LEDGER_FAILED: Refusal = {
  reason: 'ledger_failed',
  message:
    'Headgate cannot write down what this request would spend, so it is not sent; try again.',
  retryAfterMs: 1000,
}

/** `user alice` of `user:alice`. */
const named = (subject: string): string => subject.replace(':', ' ')
