// What a call takes of its subject: limits and money. Owns: which calls take of which. Must not know:
// when they do.
import type { Balance, Ledger } from '../ledger/ledger.ts'
import type { Subject } from '../policy/subject.ts'
import type { CallContext } from './call-context.ts'
import { CallMoney } from './call-money.ts'
import type { CallRequest } from './caller.ts'
import { Quota, type QuotaRequest } from './quota.ts'

/** Which of the provider's pools run a model: the others cost their user nothing. */
const COUNTED_POOLS: ReadonlySet<string> = new Set(['model', 'batches'])

/** Whether somebody's money decides about the subject's calls. */
export const bindsMoney = ({ budgets }: Subject): boolean =>
  budgets.some(({ isShadow }) => !isShadow)

/** A process that cannot write for long keeps so much in memory, and then begins nothing more. */
const MOST_UNWRITTEN = 100_000

/** Whether what a call spends could be written down in the end. */
export function canBeBooked(ledger: Ledger | null, subject: Subject): boolean {
  return ledger ? ledger.pending < MOST_UNWRITTEN : !bindsMoney(subject)
}

/** Null where nothing of the subject is limited. */
export function quotaFor(
  context: CallContext,
  { id, deadlineAt, operation }: CallRequest,
  { scopes, weight }: Subject,
  rest: Pick<QuotaRequest, 'lane' | 'flow' | 'estimate' | 'onWaiting'>,
): Quota | null {
  if (scopes.length === 0 || !COUNTED_POOLS.has(operation.pool)) return null
  return new Quota(context, { id, deadlineAt, scopes, weight, ...rest })
}

/** Null where nothing is written down. */
export function moneyFor(
  { ledger, rules, events, follow }: CallContext,
  { id, provider, operation, waitsForLedger = false }: CallRequest,
  subject: Subject,
  model: string | null,
  noted: (balances: readonly Balance[]) => void,
): CallMoney | null {
  if (!ledger || operation.pool !== 'model') return null
  const { identity, tier, budgets } = subject
  const { user, team, key } = identity
  const call = { id, user, team, key, tier, provider: provider.name, model }
  return new CallMoney(call, {
    ledger,
    prices: rules.prices,
    budgets,
    sendsUnpriced: rules.sendsUnpriced || !bindsMoney(subject),
    setsAsideWorst: waitsForLedger && !bindsMoney(subject),
    follow,
    noted,
    warned: (warnings) => {
      for (const warning of warnings) events.budgetWarned(warning)
    },
  })
}
