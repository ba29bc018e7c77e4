// One call through the gate, from its first byte to its last. Owns: the order of a call's life:
// describe, judge, take its subject's limits, wait, set money aside, send, and send again or settle.
// Must not know: whose turn it is (the store), what an answer says (attempt.ts), or how bytes reach the
// caller (the door).

import type { Bounce, Placement, Prediction } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Lane } from '../core/lane.ts'
import type { Observation } from '../core/observation.ts'
import type { PromptShape } from '../core/prompt.ts'
import type { Refusal, RefusalReason } from '../core/refusal.ts'
import { StoreUnreachable } from '../core/store.ts'
import { type Balance, LedgerUnavailable } from '../ledger/ledger.ts'
import type { Subject } from '../policy/subject.ts'
import type { Description, Provider } from '../providers/provider.ts'
import { Attempt, type AttemptedCall } from './attempt.ts'
import { bindsMoney, canBeBooked, moneyFor, quotaFor } from './call-accounts.ts'
import type { CallContext, Waiter } from './call-context.ts'
import { CallCost, type CostedCall } from './call-cost.ts'
import { CallLine, type LineWish } from './call-line.ts'
import type { CallMoney, MoneyAnswer, UsageForecast } from './call-money.ts'
import { fallbacksOf, judge, laneOf } from './call-policy.ts'
import type { CallRules } from './call-rules.ts'
import { type AimReason, CallTarget, type Present } from './call-target.ts'
import type { Caller, CallRequest } from './caller.ts'
import type { CallFacts, Outcome } from './events.ts'
import type { Follower } from './followers.ts'
import { budgetHeaders, leftOf, limitHeaders, type OwnHeaders } from './limit-headers.ts'
import type { LimitStanding } from './limit-standing.ts'
import type { Quota } from './quota.ts'
import { budgetRefusal, LEDGER_FAILED, limitRefusal, PRICE_UNKNOWN } from './subject-refusals.ts'
import { type Again, type Patience, Tries } from './tries.ts'
import type { UpstreamFailure } from './upstream.ts'
import { upstreamRefusal } from './upstream-refusal.ts'
import { describeWait } from './wait-message.ts'
import type { WarmCall } from './warm-calls.ts'

const NO_STORE = 'Headgate takes no requests while its store is out of reach; try again.'

/**
 * Where a call stands: before its turn, while money is set aside for it, and after. `over` is final:
 * whatever comes later is ignored.
 */
type Phase = 'waiting' | 'reserving' | 'sent' | 'over'

export class GovernedCall implements AttemptedCall, CostedCall, Waiter, Follower, WarmCall {
  readonly request: CallRequest
  readonly caller: Caller
  readonly flow: string
  readonly scope: string
  readonly lane: Lane
  readonly line: CallLine
  readonly tries: Tries
  // Kept by the dispatcher's schedule of waits.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly #context: CallContext
  readonly #rules: CallRules
  readonly #subject: Subject
  readonly #target: CallTarget
  readonly #quota: Quota | null
  readonly #money: CallMoney | null
  readonly #startedAt: EpochMs
  #phase: Phase = 'waiting'
  /** Whether it has had to wait since it was last sent, if it ever was. */
  #isStanding = false
  #hasWaited = false
  /** Whether other models were thought of in the present wait. */
  #hasLookedElsewhere = false
  /** By its caller, or by its tier in its caller's place. */
  readonly #modelAskedFor: string | null
  #cost: CallCost
  #standings: Promise<unknown> | null = null
  /** What the caller is told of its limits and budgets. */
  #ownHeaders: OwnHeaders = {}
  #queuedMs = 0
  #waitingSince: EpochMs
  #attempt: Attempt | null = null

  constructor(context: CallContext, request: CallRequest, caller: Caller) {
    this.#context = context
    this.caller = caller
    this.#rules = context.rules
    this.request = request
    this.#target = new CallTarget(context, request)
    this.#subject = this.#rules.subjects.of(this.#target.identity())
    this.#target.route(this.#subject)
    this.#modelAskedFor = this.model
    this.scope = this.present.resource.owner
    this.lane = laneOf(this.#subject, request.lane)
    this.flow =
      this.#subject.flow ??
      request.flow ??
      this.description.session ??
      this.present.resource.fingerprint
    this.#startedAt = this.#waitingSince = context.clock.now()
    this.#cost = new CallCost(this, context.estimator, this.#startedAt)
    this.tries = new Tries(context.random)
    this.line = this.#createLine()
    this.#quota = quotaFor(context, request, this.#subject, {
      lane: this.lane,
      flow: this.flow,
      estimate: this.#cost.reserved,
      onWaiting: () => this.#showWaiting(),
    })
    this.#money = moneyFor(context, request, this.#subject, this.model, (balances) =>
      this.#reportShadows(balances),
    )
  }

  get present(): Present {
    return this.#target.present
  }

  get cost(): CallCost {
    return this.#cost
  }

  get description(): Description {
    return this.present.description
  }

  get provider(): Provider {
    return this.request.provider
  }

  get limitGroup(): string {
    return this.description.limitGroup
  }

  get isMetered(): boolean {
    return this.request.operation.pool === 'model'
  }

  get pricePercent(): number {
    return this.description.pricePercent
  }

  get model(): string | null {
    return this.description.model
  }

  get prompt(): PromptShape {
    return this.description.prompt
  }

  get isStream(): boolean {
    return this.description.stream
  }

  enqueue(): void {
    this.#begin().catch((error: unknown) => this.#failToBegin(error))
  }

  async #begin(): Promise<void> {
    const { operation } = this.request
    const isUnpricedRefused = !this.#rules.sendsUnpriced && bindsMoney(this.#subject)
    const largestTokens = () => this.#cost.largestTokens(this.#startedAt)
    const call = { operation, model: this.model, largestTokens }
    const { refusal, isShadowed } = judge(this.#subject, call, isUnpricedRefused)
    if (isShadowed) this.#context.events.shadowed(this.#facts(), 'max_tokens_per_request')
    if (refusal || !canBeBooked(this.#context.ledger, this.#subject)) {
      this.#refuseWith(refusal ?? LEDGER_FAILED)
      return
    }
    if (this.#quota && !(await this.#takeQuota(this.#quota))) return
    await this.#enqueue()
  }

  /** False when the call has been refused, or has gone. */
  async #takeQuota(quota: Quota): Promise<boolean> {
    const answer = await quota.take()
    if (this.#phase !== 'waiting' || answer.kind === 'let_go') return false
    const { clock, events } = this.#context
    if (answer.kind === 'refused') {
      this.#refuseWith(limitRefusal(answer.refusal, clock.now()))
      return false
    }
    for (const { subject } of answer.shadowed)
      events.shadowed(this.#facts(), `limits of ${subject}`)
    // It is known before the call's turn comes, as a rule, and not waited for twice.
    this.#standings = this.#standingsOf(quota)
    return true
  }

  async #standingsOf(quota: Quota): Promise<readonly LimitStanding[]> {
    try {
      const standings = await quota.standings()
      this.#ownHeaders = limitHeaders(standings, this.#context.clock.now())
      return standings
    } catch (error) {
      if (!(error instanceof StoreUnreachable)) this.#context.events.failed(error)
      return []
    }
  }

  async #enqueue(): Promise<void> {
    const placement = await this.line.join(this.#wish, null)
    if (placement.kind === 'admitted') this.granted()
    else if (this.#phase !== 'waiting') return
    else if (this.#isTooLong(placement) && (await this.#takeFallback(placement))) return
    else if (placement.kind === 'refused') this.#refusePlacement(placement)
    else this.#stand()
  }

  get #wish(): LineWish {
    const { resource, body } = this.present
    return { resource: resource.name, body, estimate: this.#cost.reserved }
  }

  /** An instant that only an event can tell is not known to be late. */
  #isTooLong({ expectedAt }: Prediction): boolean {
    return Number.isFinite(expectedAt) && !this.#isSoon({ expectedAt })
  }

  #isSoon({ expectedAt }: Pick<Prediction, 'expectedAt'>): boolean {
    return expectedAt - this.#context.clock.now() <= this.#rules.fallbackAfterMs
  }

  /**
   * Takes the first of the other models that has a shorter wait. False when none has: then the call
   * has its old place again. True also when its turn came meanwhile.
   */
  async #takeFallback(placement: Pick<Placement, 'kind'>): Promise<boolean> {
    const models = this.#fallbacks()
    if (models.length === 0) return false
    this.#hasLookedElsewhere = true
    const before = this.present
    const isInLine = placement.kind === 'waiting'
    const place = isInLine ? await this.line.leave() : null
    if (isInLine && !place) return true
    for (const model of models) {
      if (this.#phase !== 'waiting') return true
      if (this.#aim(model, 'wait') && (await this.#takesSoon())) return true
    }
    if (this.#phase !== 'waiting') return true
    this.#aimAt(before)
    if (!isInLine) return false
    const again = await this.line.join(this.#wish, place)
    if (again.kind === 'admitted') this.granted()
    else if (this.#phase === 'waiting') this.#stand()
    return true
  }

  /** Joins the line of the model that the call asks for now; stays where its turn comes soon. */
  async #takesSoon(): Promise<boolean> {
    const placement = await this.line.join(this.#wish, null)
    if (this.#phase !== 'waiting') return true
    if (placement.kind === 'admitted') {
      this.granted()
      return true
    }
    if (placement.kind === 'refused') return false
    if (this.#isSoon(placement)) {
      this.#stand()
      return true
    }
    return (await this.line.leave()) === null
  }

  /** The other models that may stand for the one asked for, in order. */
  #fallbacks(): readonly string[] {
    if (!this.isMetered) return []
    const all = fallbacksOf(this.#rules.fallbacks, this.#subject, this.#modelAskedFor)
    return all.filter((model) => model !== this.model)
  }

  #aim(model: string, reason: AimReason): boolean {
    if (!this.#target.aim(model, reason)) return false
    this.#aimAt(this.present)
    return true
  }

  #aimAt(present: Present): void {
    const { clock, estimator } = this.#context
    this.#target.present = present
    this.#cost = new CallCost(this, estimator, clock.now())
    this.#money?.aim(this.model)
  }

  /** It stands in line, or aside. */
  #stand(): void {
    const { clock, followers, warmCalls } = this.#context
    this.#isStanding = true
    const cachedUntil = this.#cost.cachedUntil(clock.now())
    if (cachedUntil !== null) warmCalls.add(this, cachedUntil)
    // Its leader may have begun before the store had answered.
    if (this.line.isParked && !followers.has(this)) this.rejoin()
    this.#showWaiting()
    if (this.#money && bindsMoney(this.#subject)) this.#foresee(this.#money)
  }

  #showWaiting(after?: Again['reason']): void {
    this.#context.waits.set(this, Math.min(this.#waitsUntil, this.#looksElsewhereAt))
    this.caller.waiting(this.ownHeaders(), after)
  }

  /** When it has waited so long for the model asked for that another may do. */
  get #looksElsewhereAt(): EpochMs {
    const mayLook = this.line.isIn && !this.#hasLookedElsewhere && this.#fallbacks().length > 0
    return mayLook ? this.#waitingSince + this.#rules.fallbackAfterMs : Number.POSITIVE_INFINITY
  }

  /** Nobody waits for what the budget cannot bear in any case. */
  #foresee(money: CallMoney): void {
    const now = this.#context.clock.now()
    money.foresee(this.#cost.forecast(now), now).then(
      (answer) => {
        if (this.#phase !== 'waiting' || answer.kind === 'reserved') return
        this.line
          .leave()
          .then((place) => (place ? this.#payOtherwise(answer) : null))
          .catch((error: unknown) => this.#failToReserve(error))
      },
      // Whether it can be written down matters when its turn has come.
      (error: unknown) => {
        if (!(error instanceof LedgerUnavailable)) this.#context.events.failed(error)
      },
    )
  }

  /** Its cached prompt is about to expire. */
  raise(): void {
    if (this.#phase !== 'waiting') return
    this.#context.follow(this.#store.raise(this.line.resource, this.request.id))
  }

  hasLeader(now: EpochMs): boolean {
    return this.#cost.hasLeader(now)
  }

  /** Nobody goes before it any more: back in line, where it would be by now. */
  rejoin(): void {
    if (this.#phase !== 'waiting') return
    const estimate = this.#cost.reprice(this.#context.clock.now())
    this.#context.follow(this.#store.unpark(this.line.resource, this.request.id, estimate))
  }

  /** The call's turn has come. */
  granted(): void {
    if (this.#phase !== 'waiting') {
      if (this.#phase === 'over') this.#context.follow(this.line.giveTurnBack())
      return
    }
    const { clock, waits } = this.#context
    const now = clock.now()
    if (this.#isStanding && this.#cost.isDearer(now)) {
      // It goes back to the front of the line, and waits for what it needs by now.
      this.#bounce({ kind: 'repriced', estimate: this.#cost.reserved })
      return
    }
    waits.clear(this)
    this.#context.warmCalls.remove(this)
    this.#queuedMs += now - this.#waitingSince
    this.#hasWaited = this.#isStanding
    this.#isStanding = false
    if (this.#standings || bindsMoney(this.#subject) || this.#waitsForLedger) {
      this.#phase = 'reserving'
      this.#reserve().catch((error: unknown) => this.#failToReserve(error))
      return
    }
    void this.#note(this.#cost.forecast(now), now)
    this.#send()
  }

  /** Sets money aside, and looks at what is left of the subject's limits, before the call is sent. */
  async #reserve(): Promise<void> {
    const now = this.#context.clock.now()
    const forecast = this.#cost.forecast(now)
    const isBound = bindsMoney(this.#subject)
    if (this.#context.rules !== this.#rules) this.#rebind()
    const noting = isBound ? null : this.#note(forecast, now)
    const reserving = isBound ? this.#money?.reserve(forecast, now) : null
    // After a wait they stand otherwise than when it began.
    if (this.#hasWaited && this.#quota) this.#standings = this.#standingsOf(this.#quota)
    const [answer] = await Promise.all([reserving, this.#standings, noting])
    if (this.#phase !== 'reserving') return
    if (answer && answer.kind !== 'reserved') {
      // The turn goes to somebody else: what comes now may take a while.
      this.#phase = 'waiting'
      this.#waitingSince = this.#context.clock.now()
      await this.line.giveTurnBack()
      if (this.#phase === 'waiting') await this.#payOtherwise(answer)
      return
    }
    const balances = answer?.balances ?? []
    this.#ownHeaders = { ...this.#ownHeaders, ...budgetHeaders(balances) }
    this.#reportShadows(balances)
    this.#send()
  }

  /** Writes down that it is sent; null where that is not waited for. */
  #note(forecast: UsageForecast, now: EpochMs): Promise<void> | null {
    const noting = this.#money?.note(forecast, now) ?? null
    if (!noting) return null
    this.#context.follow(noting)
    // Its failure is told where it is followed.
    return this.#waitsForLedger ? noting.catch(() => {}) : null
  }

  /** One that cannot be written at present is not waited for. */
  get #waitsForLedger(): boolean {
    const { ledger } = this.#context
    return (
      this.#money !== null && this.request.waitsForLedger === true && ledger?.isAvailable === true
    )
  }

  /** Money is asked for by the budgets of this moment, not of the one when the call began to wait. */
  #rebind(): void {
    const { budgets } = this.#context.rules.subjects.of(this.#subject.identity)
    this.#money?.rebind(budgets)
  }

  #reportShadows(balances: readonly Balance[]): void {
    for (const balance of balances)
      if (balance.budget.isShadow && leftOf(balance) < 0)
        this.#context.events.shadowed(this.#facts(), `budget of ${balance.budget.subject}`)
  }

  /** The budget has no room for the call: for one of another model it may have. */
  async #payOtherwise(answer: Exclude<MoneyAnswer, { kind: 'reserved' }>): Promise<void> {
    if (this.#phase !== 'waiting') return
    const before = this.present
    if (answer.kind === 'over_budget' && before.aimedBy !== 'budget')
      for (const model of this.#fallbacks())
        if (this.#aim(model, 'budget') && (await this.#isAffordable())) {
          if (this.#phase === 'waiting') await this.#enqueue()
          return
        }
    if (this.#phase !== 'waiting') return
    this.#aimAt(before)
    // Asked in earnest, the ledger tells of the refusal; and something may have come free meanwhile.
    const now = this.#context.clock.now()
    const last = (await this.#money?.reserve(this.#cost.forecast(now), now)) ?? answer
    if (this.#phase !== 'waiting') return
    if (last.kind === 'reserved') await this.#enqueue()
    else if (last.kind === 'price_unknown') this.#refuseWith(PRICE_UNKNOWN)
    else this.#refuseWith(budgetRefusal(last.balance, last.needed, now))
  }

  async #isAffordable(): Promise<boolean> {
    const now = this.#context.clock.now()
    const answer = await this.#money?.foresee(this.#cost.forecast(now), now)
    return answer?.kind === 'reserved'
  }

  #failToReserve(error: unknown): void {
    if (this.#phase === 'reserving') {
      this.#context.follow(this.line.giveTurnBack())
      this.#phase = 'waiting'
    }
    this.#failToBegin(error)
  }

  #send(): void {
    this.#phase = 'sent'
    this.tries.sent()
    this.#attempt = new Attempt(this.#context, this)
    this.#attempt.send()
  }

  /** The caller has gone: leave the line, or end the request, at once. */
  abandon(): void {
    switch (this.#phase) {
      case 'over':
        return
      case 'waiting':
        this.#cancel(this.line.leaveForNow())
        return
      case 'reserving':
        this.#cancel(this.line.giveTurnBack())
        return
      default:
        this.#attempt?.abort()
        this.settle('abandoned', this.#attempt?.status ?? 0)
    }
  }

  #cancel(leaving: Promise<void>): void {
    const facts = this.#facts()
    this.#end()
    this.#context.events.cancelled(facts)
    this.#context.follow(leaving)
  }

  /** The gate closes: a call that still waits is refused, one under way goes on. */
  turnAway(): void {
    if (this.#phase !== 'waiting') return
    this.#context.follow(this.line.leave())
    this.#refuse('shutting_down', 'Headgate is shutting down; send the request again.', 1000)
  }

  /** The deadline has come while the call waits, or the time to look for another model. */
  waitedOut(): void {
    if (this.#phase !== 'waiting') return
    if (this.#context.clock.now() >= this.#waitsUntil) {
      this.#context.follow(this.#waitedOut())
      return
    }
    this.#takeFallback({ kind: 'waiting' }).catch((error: unknown) => this.#failToReserve(error))
  }

  async #waitedOut(): Promise<void> {
    const { quota, line } = { quota: this.#quota?.waitsFor, line: this.line }
    const resource = quota?.resource ?? line.resource
    const position = quota
      ? await this.#store.position(quota.resource, quota.id)
      : await line.position()
    if (this.#phase !== 'waiting') return
    // Whoever is told to try again finds the old place.
    this.#context.follow(line.leaveForNow())
    const now = this.#context.clock.now()
    const expectedMs = position ? Math.max(0, position.expectedAt - now) : null
    // A caller that is only let go before it gives up by itself is asked back at once.
    const retryAfterMs = now < this.request.deadlineAt ? 1000 : expectedMs
    this.#refuse('waited_out', describeWait('waited_out', resource, position, now), retryAfterMs)
  }

  /** Its resource turned out to be part of another, which has taken in all that waited. */
  moved(from: string, into: string): void {
    if (this.#phase === 'waiting' && this.line.resource === from) this.line.resource = into
  }

  /** The caller can take more of the answer. */
  resume(): void {
    this.#attempt?.resume()
  }

  /** The answer never came. */
  failUnanswered(failure: UpstreamFailure): void {
    this.#settleUnanswered(failure)
    const refusal = upstreamRefusal(this.provider.name, failure)
    this.#context.events.refused(this.#facts(), refusal)
    this.caller.refuse(refusal)
  }

  get #store() {
    return this.#context.store
  }

  /** When the call stops waiting: at its deadline, or before its client gives up by itself. */
  get #waitsUntil(): EpochMs {
    const { deadlineAt, longestPlainWaitMs } = this.request
    return this.isStream ? deadlineAt : Math.min(deadlineAt, this.#startedAt + longestPlainWaitMs)
  }

  get patience(): Patience {
    const { deadlineAt } = this.request
    return { now: this.#context.clock.now(), deadlineAt, waitsUntil: this.#waitsUntil }
  }

  sendAgain(again: Again, says: Observation, status: number): void {
    this.#waitAgain(again, status)
    switch (again.reason) {
      case 'rate_limited': {
        const { reason: kind, retryAfterMs } = again
        this.#bounce({ kind, retryAfterMs, observation: says })
        return
      }
      case 'overloaded':
        this.#bounce({ kind: 'overloaded', backoffMs: again.backoffMs })
        return
      case 'connection':
        this.#bounce({ kind: 'disconnected', backoffMs: again.backoffMs })
        if (again.isSent) this.caller.lost?.()
    }
  }

  /** Its lease stays where it was given, but waiting belongs where all others wait by now. */
  get #presentName(): string {
    return this.#context.nameOf(this.provider, this.present.resource, this.limitGroup)
  }

  /** A refusal cost nothing; what broke off after it was sent may have cost what was expected. */
  #recordFailure(again: Again): void {
    const { count } = this.tries
    if (again.reason !== 'connection') this.#money?.failedOnce(count, again.reason, null)
    else if (!again.isSent) this.#money?.failedOnce(count, 'unreachable', null)
    else {
      const { expected } = this.#cost.forecast(this.#context.clock.now())
      this.#money?.failedOnce(count, 'broken', expected)
    }
  }

  #bounce(bounce: Bounce): void {
    this.#context.follow(this.#store.bounce(this.line.resource, this.request.id, bounce))
    if (this.#context.isDraining) this.turnAway()
    else if (this.line.resource !== this.#presentName) this.#moveToOthers(bounce)
  }

  /** Its credential turned out to be one of several while it was sent: it waits where they wait. */
  #moveToOthers(bounce: Bounce): void {
    if (bounce.kind === 'rate_limited') {
      this.#context.follow(this.#store.refused(this.#presentName, bounce))
    }
    this.#context.unite(this.line.resource, this.#presentName)
  }

  #waitAgain(again: Again, status: number): void {
    const { clock, events } = this.#context
    const { reason } = again
    events.bounced(this.#facts(), reason, status || null)
    this.#recordFailure(again)
    this.#cost.failed()
    this.#context.followers.look(this.scope)
    this.#phase = 'waiting'
    this.#isStanding = true
    this.#waitingSince = clock.now()
    this.#attempt = null
    this.#hasLookedElsewhere = false
    this.#showWaiting(reason)
  }

  /** Ends the lease with what the call cost, as far as it is known. */
  settle(outcome: Outcome, status: number): number | null {
    const { clock, events } = this.#context
    const { actual, used, isExact } = this.#cost.settle(outcome, status, clock.now())
    const cost = this.#money?.settle(this.tries.count, outcome, used, isExact) ?? null
    this.#quota?.settle(actual, isExact)
    this.#end()
    this.#context.follow(this.#store.settle(this.line.resource, this.request.id, actual, isExact))
    events.settled(this.#facts(), outcome, status || null, { ...actual, cost: cost ?? 0 })
    return cost
  }

  whenWritten(done: () => void): void {
    if (!this.#money || !this.request.waitsForLedger) done()
    else this.#context.follow(this.#money.written(this.#context.clock).then(done))
  }

  /** No answer came: what was never sent cost nothing, what was sent may have. */
  #settleUnanswered(failure: UpstreamFailure): void {
    const { id } = this.request
    const { clock } = this.#context
    const { reserved } = this.#cost
    const isSent = failure.kind !== 'unreachable'
    if (isSent) {
      const { expected } = this.#cost.forecast(clock.now())
      this.#money?.settle(this.tries.count, 'broken', this.isMetered ? expected : null, false)
      this.#quota?.settle(reserved, false)
    } else {
      this.#money?.settle(this.tries.count, 'unreachable', null, true)
    }
    this.#cost.failed()
    this.#end()
    this.#context.follow(
      isSent
        ? this.#store.settle(this.line.resource, id, reserved, false)
        : this.#store.release(this.line.resource, id),
    )
  }

  #refusePlacement(placement: Extract<Placement, { kind: 'refused' }>): void {
    const now = this.#context.clock.now()
    const message = describeWait(placement.reason, this.line.resource, placement, now)
    const waitMs = Math.max(0, placement.expectedAt - now)
    this.#refuse(placement.reason, message, Number.isFinite(waitMs) ? waitMs : null)
  }

  #refuse(reason: RefusalReason, message: string, retryAfterMs: number | null): void {
    this.#refuseWith({ reason, message, retryAfterMs })
  }

  #refuseWith(refusal: Refusal): void {
    const facts = this.#facts()
    this.#end()
    this.#context.events.refused(facts, refusal)
    this.caller.refuse({ ...refusal, headers: { ...this.#ownHeaders, ...refusal.headers } })
  }

  #failToBegin(error: unknown): void {
    const isOutage = error instanceof StoreUnreachable
    const isUnwritten = error instanceof LedgerUnavailable
    if (!isOutage && !isUnwritten) this.#context.events.failed(error)
    if (this.#phase !== 'waiting') return
    if (isUnwritten) {
      this.#refuseWith(LEDGER_FAILED)
      return
    }
    const message = isOutage ? NO_STORE : 'Headgate could not keep a place in line; try again.'
    this.#refuse('store_failed', message, 1000)
  }

  /** Whoever ends without having settled gives back what was taken. */
  #end(): void {
    this.#phase = 'over'
    this.#attempt = null
    this.#quota?.letGo()
    this.#money?.release()
    this.#context.forget(this)
    this.#context.followers.remove(this)
    this.#context.warmCalls.remove(this)
    this.#context.followers.look(this.scope)
  }

  #createLine(): CallLine {
    const { id, deadlineAt, weight = this.#subject.weight } = this.request
    const ticket = { id, flow: this.flow, lane: this.lane, weight, deadlineAt }
    return new CallLine(this.#context, ticket, this, this.#wish)
  }

  ownHeaders(): OwnHeaders {
    const { aimedBy, description } = this.present
    return {
      ...this.#ownHeaders,
      ...(aimedBy !== null && {
        'x-headgate-model': description.model ?? '',
        'x-headgate-model-reason': aimedBy,
      }),
      ...(this.#money && { trailer: 'x-headgate-cost-usd' }),
      'x-headgate-queued-ms': String(Math.round(this.#queuedMs)),
    }
  }

  #facts(): CallFacts {
    const now = this.#context.clock.now()
    const isWaiting = this.#phase === 'waiting'
    return {
      id: this.request.id,
      resource: this.line.resource,
      flow: this.flow,
      user: this.#subject.identity.user,
      tier: this.#subject.tier,
      lane: this.lane,
      model: this.description.model,
      attempts: this.tries.count,
      queuedMs: Math.round(this.#queuedMs + (isWaiting ? now - this.#waitingSince : 0)),
      durationMs: Math.round(now - this.#startedAt),
    }
  }
}
