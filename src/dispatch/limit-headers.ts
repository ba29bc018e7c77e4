// A subject's limits and budgets as response headers. Owns: their names and forms. Must not know: who
// sends them, and when.
//
// `RateLimit` and `RateLimit-Policy` are those of the IETF draft (draft-ietf-httpapi-ratelimit-headers,
// from version 8 on): lists of named policies with `q` (quota), `w` (window), `r` (remaining) and `t`
// (seconds until more is there). The `X-RateLimit-` trio has one limit, so it tells of the tightest.
import type { EpochMs } from '../core/clock.ts'
import { formatUsd } from '../core/money.ts'
import type { Balance } from '../ledger/ledger.ts'
import { type LimitStanding, tightestOf } from './limit-standing.ts'

export type OwnHeaders = Readonly<Record<string, string>>

export function limitHeaders(standings: readonly LimitStanding[], now: EpochMs): OwnHeaders {
  const tightest = tightestOf(standings)
  if (!tightest) return {}
  const named = standings.map((standing) => ({ name: nameOf(standing, standings), standing }))
  return {
    'ratelimit-policy': named.map(({ name, standing }) => policyOf(name, standing)).join(', '),
    ratelimit: named
      .map(({ name, standing }) => {
        const t = standing.windowMs === null ? '' : `;t=${secondsUntil(standing.fullAt, now)}`
        return `"${name}";r=${standing.remaining}${t}`
      })
      .join(', '),
    'x-ratelimit-limit': String(tightest.capacity),
    'x-ratelimit-remaining': String(tightest.remaining),
    'x-ratelimit-reset': String(Math.ceil(tightest.fullAt / 1000)),
  }
}

/** `requests`, or `team-requests-3600` where one name would stand for several. */
function nameOf(one: LimitStanding, all: readonly LimitStanding[]): string {
  const { subject, dimension, windowMs } = one
  const kind = subject.slice(0, subject.indexOf(':'))
  const name = kind === 'user' ? dimension : `${kind}-${dimension}`
  const alike = all.filter((other) => other.subject === subject && other.dimension === dimension)
  return alike.length === 1 || windowMs === null ? name : `${name}-${Math.ceil(windowMs / 1000)}`
}

function policyOf(name: string, { amount, windowMs }: LimitStanding): string {
  const window = windowMs === null ? '' : `;w=${Math.ceil(windowMs / 1000)}`
  return `"${name}";q=${amount}${window}`
}

const secondsUntil = (at: EpochMs, now: EpochMs): number =>
  Math.max(0, Math.ceil((at - now) / 1000))

export const leftOf = ({ budget, spent, reserved, credited }: Balance): number =>
  budget.amount + credited - spent - reserved

/** Tells of the budget with the least left, shadows aside. */
export function budgetHeaders(balances: readonly Balance[]): OwnHeaders {
  const [tightest] = balances
    .filter(({ budget }) => !budget.isShadow)
    .sort((one, other) => leftOf(one) - leftOf(other))
  if (!tightest) return {}
  const { budget, spent, credited } = tightest
  const step = budget.warnAt.findLast(
    (percent) => (spent - credited) * 100 >= percent * budget.amount,
  )
  return {
    'x-headgate-budget-limit-usd': formatUsd(budget.amount),
    'x-headgate-budget-remaining-usd': formatUsd(Math.max(0, leftOf(tightest))),
    ...(step !== undefined && { 'x-headgate-budget-warning': String(step) }),
  }
}
