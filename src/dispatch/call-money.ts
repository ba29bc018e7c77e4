// What one call does in the ledger: money is set aside before it is sent, and what it used is charged
// after. Owns: when each of these happens, and with which figures. Must not know: the line, the store,
// how the ledger keeps anything.
import type { Clock, EpochMs } from '../core/clock.ts'
import type { Usage } from '../core/prompt.ts'
import {
  type Balance,
  type Budget,
  type BudgetWarning,
  type Ledger,
  type LedgerCall,
  LedgerUnavailable,
  type UsageOutcome,
} from '../ledger/ledger.ts'
import { costOf, type ModelPrice, type Prices } from '../ledger/prices.ts'
import { reservationSize } from '../ledger/reservation-size.ts'

/** What a call is likely to use, and what it can use at most. */
export interface UsageForecast {
  readonly expected: Usage
  readonly worst: Usage
}

export interface MoneyOptions {
  readonly ledger: Ledger
  readonly prices: Prices
  readonly budgets: readonly Budget[]
  /** Whether a call is sent that budgets bind and whose price is not known. */
  readonly sendsUnpriced: boolean
  /** Whether the most that the call can cost is set aside, and charged where nobody tells what it used. */
  readonly setsAsideWorst: boolean
  readonly follow: (operation: Promise<unknown>) => void
  readonly warned: (warnings: readonly BudgetWarning[]) => void
  /** What was noted stands in the record; these are the budgets in shadow mode. */
  readonly noted: (balances: readonly Balance[]) => void
}

export type MoneyAnswer =
  | { readonly kind: 'reserved'; readonly balances: readonly Balance[] }
  | { readonly kind: 'over_budget'; readonly balance: Balance; readonly needed: number }
  | { readonly kind: 'price_unknown' }

/** So long a ledger that is slow to write keeps an answer from a caller that waits for it. */
const WRITES_WITHIN_MS = 10_000

const NOTHING_USED: Usage = {
  inputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  cacheWriteHourTokens: 0,
  outputTokens: 0,
}

export class CallMoney {
  readonly #options: MoneyOptions
  #call: LedgerCall
  #budgets: readonly Budget[]
  #isReserved = false
  #reservedAt: EpochMs = 0
  /** What it costs at least where that is only guessed. */
  #leastGuess = 0
  #settling: Promise<void> | null = null

  constructor(call: LedgerCall, options: MoneyOptions) {
    this.#call = call
    this.#options = options
    this.#budgets = options.budgets
  }

  /** The budgets have changed while the call waited. */
  rebind(budgets: readonly Budget[]): void {
    this.#budgets = budgets
  }

  /** The call asks for another model from now on. Only before it is reserved. */
  aim(model: string | null): void {
    this.#call = { ...this.#call, model }
  }

  /**
   * Whether the budgets can bear the call at all, as they stand without what others have set aside:
   * that comes back, what is spent does not. Nothing is set aside. @throws LedgerUnavailable
   */
  async foresee(forecast: UsageForecast, now: EpochMs): Promise<MoneyAnswer> {
    const { ledger } = this.#options
    const budgets = this.#budgets
    const binding = budgets.filter(({ isShadow }) => !isShadow)
    if (binding.length === 0) return { kind: 'reserved', balances: [] }
    const amount = this.#amountOf(forecast, now)
    if (amount === null)
      return this.#options.sendsUnpriced
        ? { kind: 'reserved', balances: [] }
        : { kind: 'price_unknown' }
    const balances = await ledger.balances(binding, now)
    const short = balances.find(
      ({ budget, credited, spent }) => budget.amount + credited - spent < amount,
    )
    if (short) return { kind: 'over_budget', balance: short, needed: amount }
    return { kind: 'reserved', balances }
  }

  /** Sets money aside, before the first time that the call is sent. @throws LedgerUnavailable */
  async reserve(forecast: UsageForecast, now: EpochMs): Promise<MoneyAnswer> {
    const { ledger } = this.#options
    const budgets = this.#budgets
    if (this.#isReserved) return { kind: 'reserved', balances: [] }
    const amount = this.#amountOf(forecast, now)
    if (amount === null && !this.#options.sendsUnpriced) return { kind: 'price_unknown' }
    this.#isReserved = true
    this.#reservedAt = now
    const reserving = ledger.reserve({ call: this.#call, at: now, amount: amount ?? 0, budgets })
    try {
      const answer = await reserving
      this.#options.warned(answer.warnings)
      if (answer.kind === 'reserved') return answer
      this.#isReserved = false
      return { ...answer, needed: amount ?? 0 }
    } catch (error) {
      this.#isReserved = false
      throw error
    }
  }

  /**
   * As `reserve`, where nobody's permission is needed. Resolves when it stands in the record, or cannot at
   * present: a crash forgets what was sent before.
   */
  async note(forecast: UsageForecast, now: EpochMs): Promise<void> {
    if (this.#isReserved) return
    this.#isReserved = true
    this.#reservedAt = now
    const { ledger, noted, warned } = this.#options
    const budgets = this.#budgets
    const amount = this.#amountOf(forecast, now) ?? 0
    if (this.#options.setsAsideWorst) this.#leastGuess = amount
    try {
      const answer = await ledger.reserve({ call: this.#call, at: now, amount, budgets })
      warned(answer.warnings)
      if (answer.kind === 'reserved') noted(answer.balances)
    } catch (error) {
      // What it uses is written down at its end, whenever that is possible.
      if (!(error instanceof LedgerUnavailable)) throw error
    }
  }

  /** An attempt failed, and will be repeated. @param used null where it can have cost nothing. */
  failedOnce(attempt: number, outcome: UsageOutcome, used: Usage | null): void {
    if (!this.#isReserved) return
    const event = this.#eventOf(attempt, outcome, used ?? NOTHING_USED, used === null)
    this.#options.follow(this.#options.ledger.record(event))
  }

  /** The last attempt has ended. Returns its cost in nano-dollars, or null where that is not known. */
  settle(
    attempt: number,
    outcome: UsageOutcome,
    used: Usage | null,
    isExact: boolean,
  ): number | null {
    if (!this.#isReserved) return null
    this.#isReserved = false
    const { ledger, follow, warned } = this.#options
    const event = this.#eventOf(attempt, outcome, used ?? NOTHING_USED, isExact)
    this.#settling = ledger.settle(event).then(({ warnings }) => warned(warnings))
    follow(this.#settling)
    return event.cost
  }

  /** Resolves when what it used stands in the record, or cannot soon. */
  async written(clock: Clock): Promise<void> {
    if (!this.#settling || !this.#options.ledger.isAvailable) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = clock.schedule(clock.now() + WRITES_WITHIN_MS, resolve)
    // Its failure is told where it is followed.
    this.#settling.then(resolve, resolve)
    await promise
    timer.cancel()
  }

  /** The call is not sent after all. */
  release(): void {
    if (!this.#isReserved) return
    this.#isReserved = false
    this.#options.follow(this.#options.ledger.release(this.#call.id))
  }

  /** Null where the price is not known. */
  #amountOf({ expected, worst }: UsageForecast, now: EpochMs): number | null {
    const price = this.#priceAt(now)
    if (!price) return null
    if (this.#options.setsAsideWorst) return costOf(price, worst)
    const binding = this.#budgets.filter(({ isShadow }) => !isShadow)
    const amounts = binding.map(({ amount }) => amount)
    return reservationSize({
      expected: costOf(price, expected),
      worst: costOf(price, worst),
      smallestBudget: amounts.length === 0 ? null : Math.min(...amounts),
    })
  }

  #priceAt(at: EpochMs): ModelPrice | null {
    const { model, provider } = this.#call
    return model === null ? null : this.#options.prices.priceOf(provider, model, at)
  }

  #eventOf(attempt: number, outcome: UsageOutcome, used: Usage, isExact: boolean) {
    const price = this.#priceAt(this.#reservedAt)
    const least = isExact ? 0 : this.#leastGuess
    return {
      call: this.#call,
      attempt,
      at: this.#reservedAt,
      outcome,
      isExact,
      cost: price ? Math.max(costOf(price, used), least) : isNothing(used) ? 0 : null,
      inputTokens: used.inputTokens,
      cacheReadTokens: used.cacheReadTokens,
      cacheWriteTokens: used.cacheWriteTokens,
      cacheWriteHourTokens: used.cacheWriteHourTokens,
      outputTokens: used.outputTokens,
    }
  }
}

const isNothing = (used: Usage): boolean =>
  used.inputTokens + used.cacheReadTokens + used.cacheWriteTokens + used.outputTokens === 0
