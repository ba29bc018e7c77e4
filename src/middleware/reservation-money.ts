// What one reservation does in the ledger. Owns: its price, what is set aside, and what is charged.
// Must not know: limits, HTTP.
import type { EpochMs } from '../core/clock.ts'
import type { Refusal } from '../core/refusal.ts'
import { bindsMoney } from '../dispatch/call-accounts.ts'
import { leftOf } from '../dispatch/limit-headers.ts'
import { budgetRefusal, PRICE_UNKNOWN } from '../dispatch/subject-refusals.ts'
import type { Balance, Ledger, LedgerCall, NanoUsd } from '../ledger/ledger.ts'
import { costOf } from '../ledger/prices.ts'
import type { Subject } from '../policy/subject.ts'
import { type Amounts, nanoUsdOf, type ReserveRequest, tokenCountsOf } from './amounts.ts'
import type { LimiterContext } from './context.ts'

const USUAL_PROVIDER = 'anthropic'

export type MoneyAnswer =
  | { readonly kind: 'reserved'; readonly balances: readonly Balance[] }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

/** Null where the reservation is not about money, or nobody counts it. */
export function moneyOf(
  context: LimiterContext,
  subject: Subject,
  asked: ReserveRequest,
  id: string,
): ReservationMoney | null {
  const { ledger } = context
  if (!ledger || (asked.costUsd === undefined && asked.model === undefined)) return null
  const { identity, tier } = subject
  const { user, team, key } = identity
  const { provider = USUAL_PROVIDER, model = null } = asked
  return new ReservationMoney(context, ledger, subject, {
    id,
    user,
    team,
    key,
    tier,
    provider,
    model,
  })
}

export class ReservationMoney {
  readonly #context: LimiterContext
  readonly #ledger: Ledger
  readonly #subject: Subject
  readonly #call: LedgerCall
  readonly #at: EpochMs
  #isReserved = false

  constructor(context: LimiterContext, ledger: Ledger, subject: Subject, call: LedgerCall) {
    this.#context = context
    this.#ledger = ledger
    this.#subject = subject
    this.#call = call
    this.#at = context.clock.now()
  }

  /** Sets the money aside, for all budgets or for none. @throws LedgerUnavailable */
  async reserve(asked: Amounts): Promise<MoneyAnswer> {
    const { budgets, identity } = this.#subject
    const { policy, events, clock } = this.#context
    const amount = this.#costOf(asked)
    if (amount === null && bindsMoney(this.#subject) && !policy.sendsUnpriced)
      return { kind: 'refused', refusal: PRICE_UNKNOWN }
    const needed = amount ?? 0
    const answer = await this.#ledger.reserve({
      call: this.#call,
      at: this.#at,
      amount: needed,
      budgets,
    })
    for (const warning of answer.warnings) events.budgetWarned(warning)
    if (answer.kind === 'over_budget')
      return { kind: 'refused', refusal: budgetRefusal(answer.balance, needed, clock.now()) }
    this.#isReserved = true
    for (const balance of answer.balances)
      if (balance.budget.isShadow && leftOf(balance) < 0)
        events.shadowed(identity, `budget of ${balance.budget.subject}`)
    return answer
  }

  /** Charges what was used. Resolves when that is written. */
  async settle(used: Amounts, isExact: boolean): Promise<void> {
    if (!this.#isReserved) return
    this.#isReserved = false
    const { warnings } = await this.#ledger.settle({
      call: this.#call,
      attempt: 1,
      at: this.#at,
      cost: this.#costOf(used),
      outcome: isExact ? 'answered' : 'abandoned',
      isExact,
      ...tokenCountsOf(used),
    })
    for (const warning of warnings) this.#context.events.budgetWarned(warning)
  }

  async release(): Promise<void> {
    if (!this.#isReserved) return
    this.#isReserved = false
    await this.#ledger.release(this.#call.id)
  }

  /** Null where the price is not known. */
  #costOf(amounts: Amounts): NanoUsd | null {
    if (amounts.costUsd !== undefined) return nanoUsdOf(amounts.costUsd)
    const { provider, model } = this.#call
    const price =
      model === null ? null : this.#context.policy.prices.priceOf(provider, model, this.#at)
    return price ? costOf(price, tokenCountsOf(amounts)) : null
  }
}
