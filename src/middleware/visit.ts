// One request to an HTTP API, from its arrival to the end of its response. Owns: the order of that:
// who it is, its budget, its turn, what its handler reserves. Must not know: frameworks, sockets.
import { randomUUID } from 'node:crypto'
import { costOf } from '../core/cost.ts'
import type { Refusal } from '../core/refusal.ts'
import { StoreUnreachable } from '../core/store.ts'
import { overCap } from '../dispatch/call-policy.ts'
import { budgetHeaders, limitHeaders } from '../dispatch/limit-headers.ts'
import { type LimitStanding, standingsOf } from '../dispatch/limit-standing.ts'
import { budgetRefusal, LEDGER_FAILED } from '../dispatch/subject-refusals.ts'
import { type Balance, LedgerUnavailable } from '../ledger/ledger.ts'
import type { Identity, Scope, Subject } from '../policy/subject.ts'
import {
  type Amounts,
  checkReserve,
  costVectorOf,
  type ReserveRequest,
  tokenCountsOf,
} from './amounts.ts'
import type { ApiScopes } from './api-policy.ts'
import type { Caller } from './callers.ts'
import type { LimiterContext } from './context.ts'
import { answerTo, CallerGone, LimitReached, type RefusalAnswer } from './refusal-answer.ts'
import { OpenReservation, type Reservation } from './reservation.ts'
import { type MoneyAnswer, moneyOf } from './reservation-money.ts'
import { Turn } from './turn.ts'

/** What a handler has of its caller's limits. */
export interface RequestLimits {
  /** Who is charged. */
  readonly identity: Identity
  readonly tier: string | null
  /**
   * Sets aside what the handler is about to use. What is neither settled nor released is charged as it
   * was reserved, ten minutes after the response has ended.
   *
   * @throws LimitReached when the caller's limits or budgets have no room, as the answer to send.
   * @throws CallerGone when the caller went away while it waited.
   * @throws TypeError when an amount is not one.
   */
  reserve(asked: ReserveRequest): Promise<Reservation>
}

export type Entrance =
  | { readonly kind: 'admitted'; readonly limits: RequestLimits }
  | { readonly kind: 'refused'; readonly answer: RefusalAnswer }
  /** Its caller has gone: there is nobody to answer. */
  | { readonly kind: 'gone' }

const ONE_REQUEST = costOf({ requests: 1 })

const STORE_FAILED: Refusal = {
  reason: 'store_failed',
  message: 'Headgate takes no requests while its store is out of reach; try again.',
  retryAfterMs: 1000,
}

const SHUTTING_DOWN: Refusal = {
  reason: 'shutting_down',
  message: 'Headgate: this server is shutting down; try again.',
  retryAfterMs: 1000,
}

const NO_SCOPES: ApiScopes = { arrival: [], reserve: [], told: [] }

export class Visit {
  readonly #context: LimiterContext
  readonly #id = `api_${randomUUID()}`
  readonly #onEnd: (visit: Visit) => void
  readonly #turns = new Set<Turn>()
  readonly #open = new Set<OpenReservation>()
  #scopes = NO_SCOPES
  #arrival: Turn | null = null
  #isOver = false
  #reservations = 0
  /** Of all reservations together, as far as is known. */
  #tokens = 0
  #balances: readonly Balance[] = []
  /** Is told of the caller's limits once it is admitted, and after each reservation. Set once. */
  onHeaders: (headers: Readonly<Record<string, string>>) => void = () => {}

  constructor(context: LimiterContext, onEnd: (visit: Visit) => void) {
    this.#context = context
    this.#onEnd = onEnd
  }

  /** Waits for the request's turn. */
  async enter(caller: Caller): Promise<Entrance> {
    const { clock, policy } = this.#context
    if (this.#context.isClosing) return refused(SHUTTING_DOWN)
    const known = policy.identify(caller, clock.now())
    if (known.kind === 'refused') return refused(known.refusal)
    const subject = policy.subjectOf(known.identity)
    this.#scopes = policy.scopesOf(subject)
    try {
      return await this.#admit(subject)
    } catch (error) {
      this.#arrival?.letGo()
      return refused(refusalOf(error))
    }
  }

  /** The response has ended, or its caller has gone, in whatever state it is. Harmless again. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const turn of this.#turns) turn.letGo()
    this.#arrival?.settle(ONE_REQUEST, true)
    for (const reservation of this.#open) reservation.responseEnded()
    this.#onEnd(this)
  }

  async #admit(subject: Subject): Promise<Entrance> {
    const spent = await this.#spentBudget(subject)
    if (spent) return refused(budgetRefusal(spent, null, this.#context.clock.now()))
    if (this.#isOver) return this.#nobody()
    const turn = this.#turn(this.#id, subject, this.#scopes.arrival, ONE_REQUEST)
    const answer = await this.#take(turn)
    if (answer.kind === 'refused') return answer
    if (answer.kind === 'let_go') return this.#nobody()
    this.#arrival = turn
    await this.#tellHeaders()
    if (this.#isOver) {
      turn.letGo()
      return this.#nobody()
    }
    const { identity, tier } = subject
    const reserve = (asked: ReserveRequest) => this.#reserve(subject, asked)
    return { kind: 'admitted', limits: { identity, tier, reserve } }
  }

  /** It was ended before it was let in: by its caller, or by whoever closes the limiter. */
  #nobody(): Entrance {
    return this.#context.isClosing ? refused(SHUTTING_DOWN) : { kind: 'gone' }
  }

  /** Nobody is let in who can pay for nothing. */
  async #spentBudget({ budgets }: Subject): Promise<Balance | null> {
    const { ledger, clock } = this.#context
    if (!ledger || budgets.length === 0) return null
    this.#balances = await ledger.balances(budgets, clock.now())
    const isSpent = ({ budget, spent, credited }: Balance): boolean =>
      !budget.isShadow && spent >= budget.amount + credited
    return this.#balances.find(isSpent) ?? null
  }

  async #reserve(subject: Subject, asked: ReserveRequest): Promise<Reservation> {
    checkReserve(asked)
    const { model, provider, ...amounts } = asked
    this.#checkCap(subject, tokensOf(amounts))
    const id = `${this.#id}/${++this.#reservations}`
    const turn = this.#turn(id, subject, this.#scopes.reserve, costVectorOf(amounts))
    const money = moneyOf(this.#context, subject, asked, id)
    try {
      const answer = await this.#take(turn)
      if (answer.kind === 'let_go') throw this.#goneWhy()
      if (answer.kind === 'refused') throw new LimitReached(answer.answer)
      this.#paid((await money?.reserve(asked)) ?? NO_MONEY)
    } catch (error) {
      turn.letGo()
      throw error instanceof StoreUnreachable || error instanceof LedgerUnavailable
        ? new LimitReached(answerTo(refusalOf(error)))
        : error
    }
    return await this.#opened(amounts, turn, money)
  }

  async #opened(
    amounts: Amounts,
    turn: Turn,
    money: ReturnType<typeof moneyOf>,
  ): Promise<Reservation> {
    const reserved = tokensOf(amounts)
    this.#tokens += reserved
    const ended = (one: OpenReservation, used: Amounts): void => {
      this.#tokens += tokensOf(used) - reserved
      this.#open.delete(one)
    }
    const reservation = new OpenReservation(this.#context, amounts, turn, money, ended)
    this.#open.add(reservation)
    if (this.#isOver) reservation.responseEnded()
    else await this.#tellHeaders()
    return reservation
  }

  /** @throws LimitReached */
  #paid(answer: MoneyAnswer): void {
    if (answer.kind === 'refused') throw new LimitReached(answerTo(answer.refusal))
    if (answer.balances.length > 0) this.#balances = answer.balances
  }

  #goneWhy(): Error {
    return this.#context.isClosing ? new LimitReached(answerTo(SHUTTING_DOWN)) : new CallerGone()
  }

  /** @throws LimitReached when the request with all its reservations is too large. */
  #checkCap(subject: Subject, more: number): void {
    const { maxTokensPerRequest, shadowMaxTokensPerRequest, identity } = subject
    const all = this.#tokens + more
    if (overCap(subject, shadowMaxTokensPerRequest, all))
      this.#context.events.shadowed(identity, 'max_tokens_per_request')
    const refusal = overCap(subject, maxTokensPerRequest, all)
    if (refusal) throw new LimitReached(answerTo(refusal))
  }

  #turn(
    id: string,
    subject: Subject,
    scopes: readonly Scope[],
    estimate: ReturnType<typeof costOf>,
  ): Turn {
    return new Turn(this.#context, { id, subject, scopes, estimate })
  }

  /** While it waits, the end of the request is the end of the wait. */
  async #take(turn: Turn): ReturnType<Turn['take']> {
    this.#turns.add(turn)
    return await turn.take().finally(() => this.#turns.delete(turn))
  }

  async #tellHeaders(): Promise<void> {
    const { clock } = this.#context
    const standings = await Promise.all(this.#scopes.told.map((scope) => this.#standingsOf(scope)))
    this.onHeaders({
      ...limitHeaders(standings.flat(), clock.now()),
      ...budgetHeaders(this.#balances),
    })
  }

  /** Empty while that cannot be told: an admitted request is not turned away for it. */
  async #standingsOf({ subject, limits, resource }: Scope): Promise<readonly LimitStanding[]> {
    const { clock, store } = this.#context
    try {
      return standingsOf(subject, limits, await store.look(resource), clock.now())
    } catch (error) {
      if (error instanceof StoreUnreachable) return []
      throw error
    }
  }
}

const NO_MONEY: MoneyAnswer = { kind: 'reserved', balances: [] }

const refused = (refusal: Refusal): Entrance => ({ kind: 'refused', answer: answerTo(refusal) })

/** All tokens of a request, by whatever name. */
function tokensOf(amounts: Amounts): number {
  const { inputTokens, outputTokens } = tokenCountsOf(amounts)
  return inputTokens + outputTokens
}

/** What the caller is told of a failure that is not its own. @throws what nobody foresaw. */
function refusalOf(error: unknown): Refusal {
  if (error instanceof StoreUnreachable) return STORE_FAILED
  if (error instanceof LedgerUnavailable) return LEDGER_FAILED
  throw error
}
