// One call through the gate, from its first byte to its last. Owns: the order of a call's life:
// describe, judge, take its subject's quota, wait, set money aside, send, observe, retry or settle. Must not know: whose turn it is (the store), or
// how bytes reach the caller (the door).

import type { Bounce, Placement, Prediction } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Lane } from '../core/lane.ts'
import { formatUsd } from '../core/money.ts'
import type { Observation } from '../core/observation.ts'
import type { PromptShape } from '../core/prompt.ts'
import type { Refusal, RefusalReason } from '../core/refusal.ts'
import { StoreUnreachable } from '../core/store.ts'
import type { Place } from '../core/ticket.ts'
import { type Balance, LedgerUnavailable } from '../ledger/ledger.ts'
import type { Identity, Subject } from '../policy/subject.ts'
import type { Description, Headers, Provider, Verdict } from '../providers/provider.ts'
import type { CallContext, Waiter } from './call-context.ts'
import { CallCost, type CostedCall, type Revision } from './call-cost.ts'
import { CallMoney, type MoneyAnswer } from './call-money.ts'
import {
  fallbacksOf,
  forbiddenModel,
  laneOf,
  mindsModels,
  overCap,
  routeOf,
} from './call-policy.ts'
import type { CallRules } from './call-rules.ts'
import { type AimReason, CallTarget } from './call-target.ts'
import type { Caller, CallRequest } from './caller.ts'
import { ErrorAnswer } from './error-answer.ts'
import type { CallFacts, Outcome } from './events.ts'
import type { Follower } from './followers.ts'
import { budgetHeaders, leftOf, limitHeaders, type OwnHeaders } from './limit-headers.ts'
import type { LimitStanding } from './limit-standing.ts'
import { Quota } from './quota.ts'
import { budgetRefusal, LEDGER_FAILED, limitRefusal, PRICE_UNKNOWN } from './subject-refusals.ts'
import type { Flight, UpstreamFailure, UpstreamHandler } from './upstream.ts'
import { upstreamRefusal } from './upstream-refusal.ts'
import { describeWait } from './wait-message.ts'
import type { WarmCall } from './warm-calls.ts'

/** Sent at most so often when the provider is in trouble, or cannot be reached. */
const MOST_ATTEMPTS_OVERLOADED = 6
const MOST_ATTEMPTS_UNREACHABLE = 4
const FIRST_BACKOFF_MS = 500
const LONGEST_BACKOFF_MS = 16_000
const NO_STORE = 'Headgate takes no requests while its store is out of reach; try again.'

/**
 * Where a call stands: before its turn, while money is set aside for it, and after. `over` is final:
 * whatever comes later is ignored.
 */
type Phase = 'waiting' | 'reserving' | 'sent' | 'erring' | 'answering' | 'over'

export class GovernedCall implements UpstreamHandler, CostedCall, Waiter, Follower, WarmCall {
  readonly request: CallRequest
  readonly flow: string
  readonly scope: string
  readonly lane: Lane
  // Kept by the dispatcher's schedule of waits.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly #context: CallContext
  readonly #caller: Caller
  readonly #rules: CallRules
  readonly #subject: Subject
  readonly #target: CallTarget
  readonly #quota: Quota | null
  readonly #money: CallMoney | null
  readonly #startedAt: EpochMs
  #resourceName: string
  #phase: Phase = 'waiting'
  /** Whether the store has been asked for a place, which is to be left again. */
  #isInLine = false
  /** Whether it lets another go first, whose prompt it can read from the cache. */
  #isParked = false
  /** Whether it has had to wait since it was last sent, if it ever was. */
  #isStanding = false
  #cost: CallCost
  #standings: Promise<readonly LimitStanding[]> | null = null
  /** What the caller is told of its limits and budgets. */
  #ownHeaders: OwnHeaders = {}
  #attempts = 0
  /** Attempts that met the provider in trouble, or not at all. A limit that refuses is no trouble. */
  #troubles = 0
  #sentAt: EpochMs = 0
  #queuedMs = 0
  #waitingSince: EpochMs
  #flight: Flight | null = null
  #status = 0
  #error: ErrorAnswer | null = null
  #errorSays: Observation = { limits: [], sentAt: 0 }

  constructor(context: CallContext, request: CallRequest, caller: Caller) {
    this.#context = context
    this.#caller = caller
    this.#rules = context.rules
    this.request = request
    this.#target = new CallTarget(context, request)
    this.#subject = this.#rules.subjects.of(this.#identity())
    this.#route()
    this.#resourceName = this.#target.present.resource.name
    this.scope = this.#target.present.resource.owner
    this.lane = laneOf(this.#subject, request.lane)
    this.flow =
      this.#subject.flow ??
      request.flow ??
      this.description.session ??
      this.#target.present.resource.fingerprint
    this.#startedAt = this.#waitingSince = context.clock.now()
    this.#cost = new CallCost(this, context.estimator, this.#startedAt)
    this.#quota = this.#createQuota()
    this.#money = this.#createMoney()
  }

  get description(): Description {
    return this.#target.present.description
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
    const refusal = this.#judge()
    if (refusal) {
      this.#refuseWith(refusal)
      return
    }
    if (this.#quota && !(await this.#takeQuota(this.#quota))) return
    await this.#enqueue()
  }

  /** What the subject's tier forbids whatever is left of its limits. */
  #judge(): Refusal | null {
    const subject = this.#subject
    const isBatch = this.request.operation.pool === 'batches' && this.request.method === 'POST'
    // What a batch will run is not looked into: whoever is bound by models or money may send none.
    if (isBatch && mindsModels(subject)) return forbiddenModel(subject, null)
    if (isBatch && !this.#rules.sendsUnpriced && bindsMoney(subject)) return PRICE_UNKNOWN
    if (!this.isMetered) return null
    const forbidden = forbiddenModel(subject, this.model)
    if (forbidden) return forbidden
    const { maxTokensPerRequest, shadowMaxTokensPerRequest } = subject
    if (maxTokensPerRequest === null && shadowMaxTokensPerRequest === null) return null
    const tokens = this.#cost.largestTokens(this.#startedAt)
    if (overCap(subject, shadowMaxTokensPerRequest, tokens))
      this.#context.events.shadowed(this.#facts(), 'max_tokens_per_request')
    return overCap(subject, maxTokensPerRequest, tokens)
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
    this.#standings = quota.standings().catch((error: unknown) => {
      if (!(error instanceof StoreUnreachable)) events.failed(error)
      return []
    })
    return true
  }

  async #enqueue(): Promise<void> {
    const placement = await this.#joinLine(null)
    if (placement.kind === 'admitted') this.granted()
    else if (this.#phase !== 'waiting') return
    else if (this.#isTooLong(placement) && (await this.#takeFallback(placement))) return
    else if (placement.kind === 'refused') this.#refusePlacement(placement)
    else this.#stand()
  }

  async #joinLine(place: Place | null): Promise<Placement> {
    const { request } = this
    const { body } = this.#target.present
    // Where others wait, tokens are scarce: what the cache will hold in a moment is not read afresh.
    const parked = this.#context.waits.size > 0 && this.hasLeader(this.#startedAt)
    if (parked) this.#context.followers.add(this)
    this.#isParked = parked
    this.#isInLine = true
    return await this.#store.enqueue({
      id: request.id,
      resource: this.#resourceName,
      flow: this.flow,
      lane: this.lane,
      weight: this.#subject.weight,
      estimate: this.#cost.reserved,
      deadlineAt: request.deadlineAt,
      place:
        place ??
        (Buffer.isBuffer(body)
          ? this.#context.abandoned.reclaim(this.#placeKey(body), this.#startedAt)
          : null),
      parked,
      holder: null,
    })
  }

  #isTooLong({ expectedAt }: Prediction): boolean {
    return expectedAt - this.#context.clock.now() > this.#rules.fallbackAfterMs
  }

  /**
   * Takes the first of the other models that has a shorter wait. False when none has: then the call
   * has its old place again. True also when its turn came meanwhile.
   */
  async #takeFallback(first: Exclude<Placement, { kind: 'admitted' }>): Promise<boolean> {
    const models = this.#fallbacks()
    if (models.length === 0) return false
    const before = { ...this.#target.present }
    let place: Place | null = null
    if (first.kind === 'waiting') {
      place = await this.#leaveLine()
      if (!place || this.#phase !== 'waiting') return true
    }
    for (const model of models) {
      if (!this.#aim(model, 'wait')) continue
      const placement = await this.#joinLine(null)
      if (this.#phase !== 'waiting') return true
      if (placement.kind === 'admitted') this.granted()
      else if (placement.kind === 'waiting' && !this.#isTooLong(placement)) this.#stand()
      else if (placement.kind === 'refused' || (await this.#leaveLine())) continue
      return true
    }
    if (this.#phase !== 'waiting') return true
    this.#target.present = before
    this.#aimed()
    if (first.kind === 'refused') return false
    const again = await this.#joinLine(place)
    if (again.kind === 'admitted') this.granted()
    else if (this.#phase === 'waiting') this.#stand()
    return true
  }

  #fallbacks(): readonly string[] {
    return this.isMetered ? fallbacksOf(this.#rules.fallbacks, this.#subject, this.model) : []
  }

  /** Null when it was admitted in the same moment: then its grant is on its way, or has come. */
  async #leaveLine(): Promise<Place | null> {
    this.#context.followers.remove(this)
    const place = await this.#store.cancel(this.#resourceName, this.request.id)
    if (place) this.#isInLine = false
    return place
  }

  #aim(model: string, reason: AimReason): boolean {
    if (!this.#target.aim(model, reason)) return false
    this.#aimed()
    return true
  }

  #aimed(): void {
    const { clock, estimator } = this.#context
    this.#resourceName = this.#target.present.resource.name
    this.#cost = new CallCost(this, estimator, clock.now())
    this.#money?.aim(this.model)
  }

  /** It stands in line, or aside. */
  #stand(): void {
    const { clock, followers, waits, warmCalls } = this.#context
    const isAside = this.#isParked
    this.#isStanding = true
    waits.set(this, this.#waitsUntil)
    const cachedUntil = this.#cost.cachedUntil(clock.now())
    if (cachedUntil !== null) warmCalls.add(this, cachedUntil)
    // Its leader may have begun before the store had answered.
    if (isAside && !followers.has(this)) this.rejoin()
    this.#caller.waiting()
    if (this.#money && bindsMoney(this.#subject)) this.#foresee(this.#money)
  }

  /** Nobody waits for what the budget cannot bear in any case. */
  #foresee(money: CallMoney): void {
    const now = this.#context.clock.now()
    money.foresee(this.#cost.forecast(now), now).then(
      (answer) => {
        if (this.#phase !== 'waiting' || answer.kind === 'reserved') return
        this.#context.follow(
          this.#leaveLine().then((place) => (place ? this.#payOtherwise(answer) : null)),
        )
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
    this.#context.follow(this.#store.raise(this.#resourceName, this.request.id))
  }

  hasLeader(now: EpochMs): boolean {
    return this.#cost.hasLeader(now)
  }

  /** Nobody goes before it any more: back in line, where it would be by now. */
  rejoin(): void {
    if (this.#phase !== 'waiting') return
    const estimate = this.#cost.reprice(this.#context.clock.now())
    this.#context.follow(this.#store.unpark(this.#resourceName, this.request.id, estimate))
  }

  /** The call's turn has come. */
  granted(): void {
    if (this.#phase !== 'waiting') {
      if (this.#phase === 'over')
        this.#context.follow(this.#store.release(this.#resourceName, this.request.id))
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
    this.#isStanding = false
    if (this.#standings || bindsMoney(this.#subject)) {
      this.#phase = 'reserving'
      this.#reserve().catch((error: unknown) => this.#failToReserve(error))
      return
    }
    this.#money?.note(this.#cost.forecast(now), now)
    this.#send()
  }

  /** Sets money aside, and looks at what is left of the subject's limits, before the call is sent. */
  async #reserve(): Promise<void> {
    const now = this.#context.clock.now()
    const forecast = this.#cost.forecast(now)
    const isBound = bindsMoney(this.#subject)
    if (!isBound) this.#money?.note(forecast, now)
    const reserving = isBound ? this.#money?.reserve(forecast, now) : null
    const [answer, standings] = await Promise.all([reserving, this.#standings ?? []])
    if (this.#phase !== 'reserving') return
    if (answer && answer.kind !== 'reserved') {
      // The turn goes to somebody else: what comes now may take a while.
      this.#phase = 'waiting'
      this.#waitingSince = this.#context.clock.now()
      await this.#store.release(this.#resourceName, this.request.id)
      this.#isInLine = false
      if (this.#phase === 'waiting') await this.#payOtherwise(answer)
      return
    }
    const balances = answer?.balances ?? []
    this.#ownHeaders = {
      ...this.#ownHeaders,
      ...budgetHeaders(balances),
      ...limitHeaders(standings, now),
    }
    this.#reportShadows(balances)
    this.#send()
  }

  #reportShadows(balances: readonly Balance[]): void {
    for (const balance of balances)
      if (balance.budget.isShadow && leftOf(balance) < 0)
        this.#context.events.shadowed(this.#facts(), `budget of ${balance.budget.subject}`)
  }

  /** The budget has no room for the call: for one of another model it may have. */
  async #payOtherwise(answer: Exclude<MoneyAnswer, { kind: 'reserved' }>): Promise<void> {
    if (this.#phase !== 'waiting') return
    if (answer.kind === 'over_budget' && this.#target.present.aimedBy !== 'budget')
      for (const model of this.#fallbacks())
        if (this.#aim(model, 'budget') && (await this.#isAffordable())) {
          if (this.#phase === 'waiting') await this.#enqueue()
          return
        }
    if (this.#phase !== 'waiting') return
    this.#refuseWith(
      answer.kind === 'over_budget' ? budgetRefusal(answer.balance, answer.needed) : PRICE_UNKNOWN,
    )
  }

  async #isAffordable(): Promise<boolean> {
    const now = this.#context.clock.now()
    const answer = await this.#money?.foresee(this.#cost.forecast(now), now)
    return answer?.kind === 'reserved'
  }

  #failToReserve(error: unknown): void {
    const isOutage = error instanceof LedgerUnavailable
    if (!isOutage) this.#context.events.failed(error)
    if (this.#phase !== 'reserving' && this.#phase !== 'waiting') return
    this.#context.follow(this.#store.release(this.#resourceName, this.request.id))
    this.#refuseWith(LEDGER_FAILED)
  }

  #send(): void {
    const { clock, upstream } = this.#context
    const now = clock.now()
    this.#phase = 'sent'
    this.#attempts++
    this.#sentAt = now
    this.#revise(this.#cost.sent(now))
    const { request } = this
    const { body, forwardHeaders } = this.#target.present
    const base = this.#context.baseOf(request.provider)
    this.#flight = upstream.send(
      {
        origin: base.origin,
        method: request.method,
        path: base.pathPrefix + request.operation.upstreamPath,
        headers: forwardHeaders,
        body,
      },
      this,
    )
  }

  /** The caller has gone: leave the line, or end the request, at once. */
  abandon(): void {
    switch (this.#phase) {
      case 'over':
        return
      case 'waiting':
        this.#abandonLine()
        return
      case 'reserving': {
        const facts = this.#facts()
        this.#end()
        this.#context.events.cancelled(facts)
        this.#context.follow(this.#store.release(this.#resourceName, this.request.id))
        return
      }
      default:
        this.#flight?.abort()
        this.#settle('abandoned')
    }
  }

  #abandonLine(): void {
    const { abandoned, clock, events } = this.#context
    const { body } = this.#target.present
    const facts = this.#facts()
    const left = this.#isInLine ? this.#leaveLine() : Promise.resolve(null)
    this.#end()
    events.cancelled(facts)
    this.#context.follow(
      left.then((place) => {
        if (place && Buffer.isBuffer(body)) abandoned.keep(this.#placeKey(body), place, clock.now())
      }),
    )
  }

  /** The gate closes: a call that still waits is refused, one under way goes on. */
  turnAway(): void {
    if (this.#phase !== 'waiting') return
    if (this.#isInLine) this.#context.follow(this.#leaveLine())
    this.#refuse('shutting_down', 'Headgate is shutting down; send the request again.', 1000)
  }

  /** The deadline has come while the call waits. */
  waitedOut(): void {
    if (this.#phase !== 'waiting') return
    this.#context.follow(this.#waitedOut())
  }

  async #waitedOut(): Promise<void> {
    const { resource, id } = this.#quota?.waitsFor ?? {
      resource: this.#resourceName,
      id: this.request.id,
    }
    const position = await this.#store.position(resource, id)
    if (this.#phase !== 'waiting') return
    const left = this.#isInLine ? this.#leaveLine() : null
    const { abandoned, clock } = this.#context
    const { body } = this.#target.present
    const now = clock.now()
    const expectedMs = position ? Math.max(0, position.expectedAt - now) : null
    // A caller that is only let go before it gives up by itself is asked back at once.
    const retryAfterMs = now < this.request.deadlineAt ? 1000 : expectedMs
    this.#refuse('waited_out', describeWait('waited_out', resource, position, now), retryAfterMs)
    // Whoever is told to try again finds the old place.
    const kept = await left
    if (kept && Buffer.isBuffer(body)) abandoned.keep(this.#placeKey(body), kept, now)
  }

  /** Its resource turned out to be part of another, which has taken in all that waited. */
  moved(from: string, into: string): void {
    if (this.#phase === 'waiting' && this.#resourceName === from) this.#resourceName = into
  }

  /** The caller can take more of the answer. */
  resume(): void {
    this.#flight?.resume()
  }

  onHeaders(status: number, headers: Headers): void {
    if (this.#phase !== 'sent') return
    this.#status = status
    const observation = this.#readLimits(headers)
    if (status >= 400) {
      this.#phase = 'erring'
      this.#error = new ErrorAnswer(status, headers)
      this.#errorSays = observation
      return
    }
    this.#observe(observation)
    this.#phase = 'answering'
    const { clock, store } = this.#context
    const firstAnswerMs = this.isStream ? clock.now() - this.#sentAt : null
    this.#context.follow(store.answered(this.#resourceName, firstAnswerMs))
    this.#cost.open(headers)
    this.#caller.respond(status, headers, this.#headersOfItsOwn())
  }

  onData(chunk: Buffer): boolean {
    if (this.#error) return this.#readError(this.#error, chunk)
    if (this.#phase !== 'answering') return true
    this.#revise(this.#cost.read(chunk, this.#context.clock.now()))
    return this.#caller.write(chunk)
  }

  onEnd(): void {
    if (this.#error) {
      this.#weigh(this.#error)
      return
    }
    if (this.#phase !== 'answering') return
    this.#cost.end()
    const isError = this.#status >= 400 || this.#cost.hasFailed
    const cost = this.#settle(isError ? 'provider_error' : 'answered')
    this.#caller.end(cost === null ? {} : { 'x-headgate-cost-usd': formatUsd(cost) })
  }

  onFailure(failure: UpstreamFailure): void {
    if (this.#phase === 'over' || this.#phase === 'waiting') return
    if (this.#phase === 'answering') {
      this.#settle('broken')
      this.#caller.fail(upstreamRefusal(this.provider.name, failure))
      return
    }
    if (this.#error) {
      // The status has come, and with it what matters.
      this.#weigh(this.#error)
      return
    }
    const canRetry =
      this.#canSendAgain &&
      failure.kind !== 'timeout' &&
      this.#troubles + 1 < MOST_ATTEMPTS_UNREACHABLE
    if (canRetry) {
      this.#bounceInTrouble(null, 'connection')
      return
    }
    this.#settleUnanswered(failure)
    const refusal = upstreamRefusal(this.provider.name, failure)
    this.#context.events.refused(this.#facts(), refusal)
    this.#caller.refuse(refusal)
  }

  get #store() {
    return this.#context.store
  }

  get #canSendAgain(): boolean {
    const { body } = this.#target.present
    return body === null || Buffer.isBuffer(body)
  }

  /** When the call stops waiting: at its deadline, or before its client gives up by itself. */
  get #waitsUntil(): EpochMs {
    const { deadlineAt, longestPlainWaitMs } = this.request
    return this.isStream ? deadlineAt : Math.min(deadlineAt, this.#startedAt + longestPlainWaitMs)
  }

  #placeKey(body: Buffer) {
    return { flow: this.flow, resource: this.#target.present.resource.name, body }
  }

  #readLimits(headers: Headers): Observation {
    const { provider } = this.request
    const { limits, organization } = provider.observe(headers)
    if (organization !== null)
      this.#context.learnOrganization(
        provider,
        this.#target.present.resource.fingerprint,
        organization,
      )
    return { limits, sentAt: this.#sentAt }
  }

  #observe(observation: Observation): void {
    if (observation.limits.length > 0)
      this.#context.follow(this.#store.observe(this.#presentName, observation))
  }

  /** Its lease stays where it was given, but news and waiting belong where all others look by now. */
  get #presentName(): string {
    const { provider } = this.request
    return this.#context.nameOf(provider, this.#target.present.resource, this.limitGroup)
  }

  #revise(revision: Revision | null): void {
    if (!revision) return
    const { cost, producedTokens, isFirst } = revision
    const { id } = this.request
    this.#context.follow(this.#store.revise(this.#resourceName, id, cost, producedTokens))
    if (isFirst) this.#context.followers.look(this.scope)
  }

  #readError(error: ErrorAnswer, chunk: Buffer): boolean {
    error.read(chunk)
    if (error.isTooLong) {
      this.#observe(this.#errorSays)
      this.#passError(error)
    }
    return true
  }

  /** Decides what the provider's error means, now that it is whole. */
  #weigh(error: ErrorAnswer): void {
    const { status, headers } = error
    const verdict = this.request.provider.classify(status, headers, error.text())
    if (verdict.kind === 'rate_limited') {
      this.#bounceRateLimited(error, verdict)
      return
    }
    this.#observe(this.#errorSays)
    const canRetry = this.#canSendAgain && this.#troubles + 1 < MOST_ATTEMPTS_OVERLOADED
    if (verdict.kind === 'overloaded' && canRetry && this.#canOutlive(verdict.retryAfterMs)) {
      this.#bounceInTrouble(verdict.retryAfterMs, 'overloaded')
      return
    }
    // An error of the request's own shows that the provider is there.
    if (verdict.kind === 'final')
      this.#context.follow(this.#store.answered(this.#presentName, null))
    this.#passError(error)
  }

  #bounceRateLimited(
    error: ErrorAnswer,
    verdict: Extract<Verdict, { kind: 'rate_limited' }>,
  ): void {
    const { retryAfterMs } = verdict
    const now = this.#context.clock.now()
    if (!this.#canSendAgain || now + (retryAfterMs ?? 0) > this.request.deadlineAt) {
      // Not for this caller to wait for: it hears the provider's own words. The others wait.
      const refusal = { retryAfterMs, observation: this.#errorSays }
      this.#context.follow(this.#store.refused(this.#presentName, refusal))
      this.#passError(error)
      return
    }
    this.#waitAgain('rate_limited')
    this.#bounce({ kind: 'rate_limited', retryAfterMs, observation: this.#errorSays })
  }

  #canOutlive(retryAfterMs: number | null): boolean {
    return this.#context.clock.now() + (retryAfterMs ?? 0) <= this.#waitsUntil
  }

  #bounceInTrouble(retryAfterMs: number | null, reason: 'overloaded' | 'connection'): void {
    this.#troubles++
    const backoffMs = Math.max(retryAfterMs ?? 0, this.#backoffMs())
    this.#waitAgain(reason)
    this.#bounce({ kind: reason === 'connection' ? 'disconnected' : 'overloaded', backoffMs })
  }

  #bounce(bounce: Bounce): void {
    this.#context.follow(this.#store.bounce(this.#resourceName, this.request.id, bounce))
    if (this.#context.isDraining) this.turnAway()
    else if (this.#resourceName !== this.#presentName) this.#moveToOthers(bounce)
  }

  /** Its credential turned out to be one of several while it was sent: it waits where they wait. */
  #moveToOthers(bounce: Bounce): void {
    if (bounce.kind === 'rate_limited') {
      this.#context.follow(this.#store.refused(this.#presentName, bounce))
    }
    this.#context.unite(this.#resourceName, this.#presentName)
  }

  /** Doubles with each attempt; drawn from its upper half, so that callers do not come in step. */
  #backoffMs(): number {
    const longest = Math.min(FIRST_BACKOFF_MS * 2 ** this.#troubles, LONGEST_BACKOFF_MS)
    return longest * (0.5 + this.#context.random() / 2)
  }

  #waitAgain(reason: 'rate_limited' | 'overloaded' | 'connection'): void {
    const { clock, events, waits } = this.#context
    events.bounced(this.#facts(), reason, this.#status || null)
    this.#money?.failedOnce(this.#attempts, reason === 'connection' ? 'unreachable' : reason)
    this.#cost.failed()
    this.#context.followers.look(this.scope)
    this.#phase = 'waiting'
    this.#isStanding = true
    this.#waitingSince = clock.now()
    this.#status = 0
    this.#error = null
    waits.set(this, this.#waitsUntil)
    this.#caller.waiting()
  }

  /** The provider's error is the answer. */
  #passError(error: ErrorAnswer): void {
    this.#error = null
    this.#caller.respond(error.status, error.headers, this.#headersOfItsOwn())
    for (const chunk of error.takeChunks()) this.#caller.write(chunk)
    if (error.isTooLong) {
      this.#phase = 'answering'
      return
    }
    this.#settle('provider_error')
    this.#caller.end({})
  }

  /** Ends the lease with what the call cost, as far as it is known. Returns its price in nano-dollars. */
  #settle(outcome: Outcome): number | null {
    const { clock, events } = this.#context
    const { actual, used, isExact } = this.#cost.settle(outcome, this.#status, clock.now())
    const cost = this.#money?.settle(this.#attempts, outcome, used, isExact) ?? null
    this.#quota?.settle(actual, isExact)
    this.#end()
    this.#context.follow(this.#store.settle(this.#resourceName, this.request.id, actual, isExact))
    events.settled(this.#facts(), outcome, this.#status || null, { ...actual, cost: cost ?? 0 })
    return cost
  }

  /** No answer came: what was never sent cost nothing, what was sent may have. */
  #settleUnanswered(failure: UpstreamFailure): void {
    const { id } = this.request
    const { clock } = this.#context
    const { reserved } = this.#cost
    const isSent = failure.kind !== 'unreachable'
    if (isSent) {
      const { expected } = this.#cost.forecast(clock.now())
      this.#money?.settle(this.#attempts, 'broken', this.isMetered ? expected : null, false)
      this.#quota?.settle(reserved, false)
    } else {
      this.#money?.settle(this.#attempts, 'unreachable', null, true)
    }
    this.#cost.failed()
    this.#end()
    this.#context.follow(
      isSent
        ? this.#store.settle(this.#resourceName, id, reserved, false)
        : this.#store.release(this.#resourceName, id),
    )
  }

  #refusePlacement(placement: Extract<Placement, { kind: 'refused' }>): void {
    const now = this.#context.clock.now()
    const message = describeWait(placement.reason, this.#resourceName, placement, now)
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
    this.#caller.refuse(refusal)
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
    this.#flight = null
    this.#error = null
    this.#quota?.letGo()
    this.#money?.release()
    this.#context.forget(this)
    this.#context.followers.remove(this)
    this.#context.warmCalls.remove(this)
    this.#context.followers.look(this.scope)
  }

  #identity(): Identity {
    const { identity, believesBody } = this.request
    const { user } = this.description
    return identity.user === null && believesBody && user !== null
      ? { ...identity, user }
      : identity
  }

  #route(): void {
    const { model } = this.description
    const route = this.isMetered && model !== null ? routeOf(this.#subject, model) : null
    if (route !== null) this.#target.aim(route, 'tier')
  }

  #createQuota(): Quota | null {
    const { id, deadlineAt, operation } = this.request
    const { scopes } = this.#subject
    if (scopes.length === 0 || !COUNTED_POOLS.has(operation.pool)) return null
    return new Quota(this.#context, {
      id,
      scopes,
      lane: this.lane,
      flow: this.flow,
      weight: this.#subject.weight,
      estimate: this.#cost.reserved,
      deadlineAt,
      onWaiting: () => {
        this.#context.waits.set(this, this.#waitsUntil)
        this.#caller.waiting()
      },
    })
  }

  #createMoney(): CallMoney | null {
    const { ledger, events, follow } = this.#context
    if (!ledger || !this.isMetered) return null
    const { identity, tier, budgets } = this.#subject
    const { id, provider } = this.request
    const { user, team, key } = identity
    const call = { id, user, team, key, tier, provider: provider.name, model: this.model }
    return new CallMoney(call, {
      ledger,
      prices: this.#rules.prices,
      budgets,
      sendsUnpriced: this.#rules.sendsUnpriced || !bindsMoney(this.#subject),
      follow,
      noted: (balances) => this.#reportShadows(balances),
      settled: ({ warnings }) => {
        for (const warning of warnings) events.budgetWarned(warning)
      },
    })
  }

  #headersOfItsOwn(): OwnHeaders {
    const { aimedBy, description } = this.#target.present
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
      resource: this.#resourceName,
      flow: this.flow,
      user: this.#subject.identity.user,
      tier: this.#subject.tier,
      lane: this.lane,
      model: this.description.model,
      attempts: this.#attempts,
      queuedMs: Math.round(this.#queuedMs + (isWaiting ? now - this.#waitingSince : 0)),
      durationMs: Math.round(now - this.#startedAt),
    }
  }
}

/** Which of the provider's pools run a model: the others cost its user nothing. */
const COUNTED_POOLS: ReadonlySet<string> = new Set(['model', 'batches'])

const bindsMoney = ({ budgets }: Subject): boolean => budgets.some(({ isShadow }) => !isShadow)
