// Random histories, against a reference that knows only one list of events and one of reservations:
// in it what an account has spent is the sum of its subject's events, at all times.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CORRECTED_ATTEMPTS } from '../../src/ledger/backend.ts'
import type { Balance, Budget, BudgetWarning, Ledger, LedgerCall } from '../../src/ledger/ledger.ts'
import { periodAt } from '../../src/ledger/period.ts'
import {
  beginAt,
  budgetOf,
  callOf,
  eventOf,
  type HomeOf,
  type LedgerHome,
  NOON,
} from './ledger-under-test.ts'

const RUNS = 15

/** At a month's end, and around: the clock jumps over it and back. */
const MONTH_END = Date.parse('2026-06-01T00:00:00Z')
const INSTANTS = [-3_600_000 * 24, -7_300_000, -2, -1, 0, 1, 1_900_000].map((ms) => MONTH_END + ms)
const FAR = Date.parse('2027-01-01T00:00:00Z')

/** Users and requests of one run have names of their own: all runs share a record. */
function budgetsOf(run: number): Budget[] {
  const user = `user:u${run}` as const
  const team = `team:t${run}` as const
  return [
    budgetOf(user, 100, { warnAt: [80, 100] }),
    budgetOf(user, 60, { period: { unit: 'day', timeZone: 'Europe/Berlin' }, warnAt: [50, 100] }),
    budgetOf(user, 40, { period: { unit: 'hour', timeZone: 'Asia/Kolkata' } }),
    budgetOf(user, 30, { isShadow: true, warnAt: [30, 100] }),
    budgetOf(team, 120, { warnAt: [10] }),
  ]
}

type Step =
  | {
      readonly kind: 'reserve'
      readonly id: number
      readonly at: number
      readonly amount: number
      readonly budgets: readonly number[]
    }
  | {
      readonly kind: 'settle'
      readonly id: number
      readonly at: number
      readonly attempt: number
      readonly cost: number | null
    }
  | {
      readonly kind: 'record'
      readonly id: number
      readonly at: number
      readonly attempt: number
      readonly cost: number | null
    }
  | { readonly kind: 'release'; readonly id: number }
  | { readonly kind: 'die' }
  | { readonly kind: 'reset'; readonly at: number; readonly budget: number }

const LAST_ID = 5
const anId = fc.integer({ min: 0, max: LAST_ID })
const anAt = fc.constantFrom(...INSTANTS)
const aCost = fc.option(fc.integer({ min: 0, max: 40 }))
const aBudget = fc.integer({ min: 0, max: 4 })

const aStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      id: anId,
      at: anAt,
      amount: fc.integer({ min: 0, max: 50 }),
      budgets: fc.uniqueArray(aBudget),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      id: anId,
      at: anAt,
      attempt: fc.constantFrom(1, 2),
      cost: aCost,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('record' as const),
      id: anId,
      at: anAt,
      attempt: fc.constantFrom(1, 2),
      cost: aCost,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), id: anId }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'die' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('reset' as const), at: anAt, budget: aBudget }),
  },
)

interface Spending {
  readonly id: string
  readonly attempt: number
  readonly at: number
  readonly cost: number | null
}

interface SetAside {
  readonly at: number
  readonly amount: number
  readonly budgets: readonly Budget[]
}

class Reference {
  readonly events: Spending[] = []
  readonly held = new Map<string, SetAside>()
  readonly lost = new Map<
    string,
    { readonly event: Spending; readonly budgets: readonly Budget[] }
  >()
  readonly #credited = new Map<string, number>()
  readonly #warned = new Set<string>()

  balance(budget: Budget, at: number): Balance {
    const { startAt, endAt } = periodAt(budget.period, at)
    const account = accountOf(budget, at)
    // All requests of a run are of its one user and its one team.
    const ours = this.events.filter((event) => event.at >= startAt && event.at < endAt)
    const held = [...this.held.values()].filter(({ budgets, at: heldAt }) =>
      budgets.some((other) => accountOf(other, heldAt) === account),
    )
    return {
      budget,
      startAt,
      endAt,
      spent: ours.reduce((sum, { cost }) => sum + (cost ?? 0), 0),
      reserved: held.reduce((sum, { amount }) => sum + amount, 0),
      credited: this.#credited.get(account) ?? 0,
    }
  }

  balances(budgets: readonly Budget[], at: number) {
    return budgets.map((budget) => this.balance(budget, at))
  }

  reserve(id: string, asked: SetAside) {
    const known = this.held.get(id)
    if (known)
      return { kind: 'reserved', balances: this.balances(known.budgets, known.at), warnings: [] }
    const balances = this.balances(asked.budgets, asked.at)
    if (this.events.some((event) => event.id === id))
      return { kind: 'reserved', balances, warnings: [] }
    const full = balances.filter(
      ({ budget, spent, reserved, credited }) =>
        spent + reserved + asked.amount > budget.amount + credited,
    )
    const warnings = full.flatMap((balance) => this.#newWarnings(balance, (step) => step === 100))
    const refusing = full.find(({ budget }) => !budget.isShadow)
    if (refusing) return { kind: 'over_budget', balance: refusing, warnings }
    this.held.set(id, asked)
    return { kind: 'reserved', balances: this.balances(asked.budgets, asked.at), warnings }
  }

  settle(told: Spending) {
    const held = this.held.get(told.id)
    this.held.delete(told.id)
    const loss = this.lost.get(told.id)
    const names = [told.attempt, told.attempt + CORRECTED_ATTEMPTS]
    const isKnown = this.events.some((e) => e.id === told.id && names.includes(e.attempt))
    if (loss) this.#correct(loss.event, told.attempt, told.cost ?? 0)
    else if (!isKnown) this.events.push({ ...told, at: held?.at ?? told.at })
    const isNew = loss !== undefined || !isKnown
    const balances = held ? this.balances(held.budgets, held.at) : []
    const charged = loss ? this.balances(loss.budgets, loss.event.at) : balances
    return { isNew, balances, warnings: isNew ? this.#passed(charged) : [] }
  }

  #correct(loss: Spending, attempt: number, cost: number): void {
    this.lost.delete(loss.id)
    const corrected = attempt + CORRECTED_ATTEMPTS
    this.events.push({ ...loss, attempt: corrected, cost: cost - (loss.cost ?? 0) })
  }

  release(id: string): void {
    this.held.delete(id)
    const loss = this.lost.get(id)
    if (loss) this.#correct(loss.event, 0, 0)
  }

  record(told: Spending): BudgetWarning[] {
    const names = [told.attempt, told.attempt + CORRECTED_ATTEMPTS]
    if (this.events.some((e) => e.id === told.id && names.includes(e.attempt))) return []
    const held = this.held.get(told.id)
    const loss = this.lost.get(told.id)
    this.events.push({ ...told, at: held?.at ?? told.at })
    if (held) return this.#passed(this.balances(held.budgets, held.at))
    return loss ? this.#passed(this.balances(loss.budgets, loss.event.at)) : []
  }

  die(): { recovered: { requests: number; cost: number }[]; warned: BudgetWarning[] } {
    const all = [...this.held]
    this.held.clear()
    for (const [id, { at, amount, budgets }] of all) {
      const loss = { id, attempt: 0, at, cost: amount }
      if (!this.events.some((e) => e.id === id && e.attempt === 0)) {
        this.events.push(loss)
        this.lost.set(id, { event: loss, budgets })
      }
    }
    const inOrder = all.toSorted(([a], [b]) => (a < b ? -1 : 1))
    const warned = inOrder.flatMap(([, { budgets, at }]) =>
      this.#passed(this.balances(budgets, at)),
    )
    const cost = all.reduce((sum, [, { amount }]) => sum + amount, 0)
    return { recovered: all.length > 0 ? [{ requests: all.length, cost }] : [], warned }
  }

  reset(budget: Budget, at: number) {
    const account = accountOf(budget, at)
    this.#credited.set(account, this.balance(budget, at).spent)
    for (const warned of [...this.#warned])
      if (warned.startsWith(account)) this.#warned.delete(warned)
    return this.balance(budget, at)
  }

  #passed(balances: readonly Balance[]): BudgetWarning[] {
    return balances.flatMap((balance) => {
      const { budget, spent, credited } = balance
      return this.#newWarnings(balance, (step) => (spent - credited) * 100 >= step * budget.amount)
    })
  }

  #newWarnings(balance: Balance, isPassed: (step: number) => boolean): BudgetWarning[] {
    const { budget, startAt, endAt, credited } = balance
    const { subject, period, amount, isShadow } = budget
    const spent = balance.spent - credited
    const nameOf = (step: number) => `${accountOf(budget, startAt)} ${amount} ${isShadow} ${step}`
    const steps = budget.warnAt.filter((step) => isPassed(step) && !this.#warned.has(nameOf(step)))
    for (const step of steps) this.#warned.add(nameOf(step))
    const rest = { subject, period, startAt, endAt, amount, spent, credited, isShadow }
    return steps.map((step) => ({ ...rest, step }))
  }
}

function accountOf({ subject, period }: Budget, at: number): string {
  return `${subject} ${period.unit} ${period.timeZone} ${periodAt(period, at).startAt}`
}

type Begun = Awaited<ReturnType<typeof beginAt>>

class History {
  readonly #home: LedgerHome
  readonly #ledger: Ledger
  /** By other ways than answers. */
  readonly #warned: BudgetWarning[]
  readonly #run: number
  readonly #budgets: readonly Budget[]
  readonly #reference = new Reference()
  static #deaths = 0

  constructor(home: LedgerHome, { ledger, warned }: Begun, run: number) {
    this.#home = home
    this.#ledger = ledger
    this.#warned = warned
    this.#run = run
    this.#budgets = budgetsOf(run)
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'reserve':
        return this.#reserve(step)
      case 'settle':
        return this.#settle(step)
      case 'record':
        return this.#record(step)
      case 'release':
        this.#reference.release(this.#idOf(step.id))
        return this.#ledger.release(this.#idOf(step.id))
      case 'die':
        return this.#die()
      case 'reset':
        return this.#reset(step)
    }
  }

  #idOf(id: number): string {
    return `${this.#run}-${id}`
  }

  #callOf(id: number): LedgerCall {
    return callOf(this.#idOf(id), { user: `u${this.#run}`, team: `t${this.#run}` })
  }

  #eventOf(step: Step & { readonly kind: 'settle' | 'record' }) {
    const { at, attempt, cost } = step
    return eventOf('', cost, { call: this.#callOf(step.id), at, attempt })
  }

  async #reserve({ id, at, amount, ...step }: Step & { readonly kind: 'reserve' }): Promise<void> {
    const budgets = this.#budgets.filter((_, index) => step.budgets.includes(index))
    const call = this.#callOf(id)
    expect(await this.#ledger.reserve({ call, at, amount, budgets })).toEqual(
      this.#reference.reserve(call.id, { at, amount, budgets }),
    )
  }

  async #settle(step: Step & { readonly kind: 'settle' }): Promise<void> {
    expect(await this.#ledger.settle(this.#eventOf(step))).toEqual(
      this.#reference.settle({ ...step, id: this.#idOf(step.id) }),
    )
  }

  async #record(step: Step & { readonly kind: 'record' }): Promise<void> {
    await this.#ledger.record(this.#eventOf(step))
    const expected = this.#reference.record({ ...step, id: this.#idOf(step.id) })
    expect(this.#warned.splice(0)).toEqual(expected)
  }

  /** Another process begins, so late that this one is taken for dead; then this one goes on. */
  async #die(): Promise<void> {
    const name = `heir-${History.#deaths++}`
    const at = FAR + History.#deaths * 600_000
    const { ledger, ...told } = await beginAt(this.#home, name, at)
    expect(told).toEqual(this.#reference.die())
    await ledger.close(1000)
  }

  /** What is still set aside would be charged in the midst of the next run. */
  async end(): Promise<void> {
    for (let id = 0; id <= LAST_ID; id++) await this.#ledger.release(this.#idOf(id))
  }

  async #reset({ at, budget: index }: Step & { readonly kind: 'reset' }): Promise<void> {
    const budgets = this.#budgets.filter((_, other) => other === index)
    expect(await this.#ledger.reset(budgets, at)).toEqual(
      budgets.map((budget) => this.#reference.reset(budget, at)),
    )
  }

  /** The total of events is the total of balances, to the nano-dollar. */
  async check(): Promise<void> {
    for (const at of INSTANTS)
      expect(await this.#ledger.balances(this.#budgets, at)).toEqual(
        this.#reference.balances(this.#budgets, at),
      )
    const always = { from: 0, to: Number.POSITIVE_INFINITY }
    const { cost } = await this.#ledger.total({ ...always, subject: `user:u${this.#run}` })
    expect(cost).toBe(this.#reference.events.reduce((sum, event) => sum + (event.cost ?? 0), 0))
  }
}

export function historyCase(home: HomeOf): void {
  test('any history comes out as in a list of events', { timeout: 60_000 }, async () => {
    const one = await beginAt(home(), 'one', NOON)
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(aStep, { minLength: 5, maxLength: 30 }), async (steps) => {
        const history = new History(home(), one, run++)
        for (const step of steps) await history.take(step)
        await history.check()
        await history.end()
      }),
      { numRuns: RUNS },
    )
  })
}
