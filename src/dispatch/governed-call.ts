// One call through the gate, from its first byte to its last. Owns: the order of a call's life:
// describe, wait, send, observe, retry or settle. Must not know: whose turn it is (the store), or
// how bytes reach the caller (the door).

import type { Bounce, Placement } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Observation } from '../core/observation.ts'
import type { PromptShape } from '../core/prompt.ts'
import type { Refusal, RefusalReason } from '../core/refusal.ts'
import { StoreUnreachable } from '../core/store.ts'
import type { Description, Headers, Provider, Verdict } from '../providers/provider.ts'
import type { CallContext, CallResource, Waiter } from './call-context.ts'
import { CallCost, type CostedCall, type Revision } from './call-cost.ts'
import type { Caller, CallRequest } from './caller.ts'
import type { CallFacts, Outcome } from './events.ts'
import type { Follower } from './followers.ts'
import type { Flight, UpstreamFailure, UpstreamHandler } from './upstream.ts'
import { upstreamRefusal } from './upstream-refusal.ts'
import { describeWait } from './wait-message.ts'
import type { WarmCall } from './warm-calls.ts'

/** As much of an error's body as is read before deciding what it means. */
const MOST_ERROR_BYTES = 64 * 1024
/** Sent at most so often when the provider is in trouble, or cannot be reached. */
const MOST_ATTEMPTS_OVERLOADED = 6
const MOST_ATTEMPTS_UNREACHABLE = 4
const FIRST_BACKOFF_MS = 500
const LONGEST_BACKOFF_MS = 16_000
const NO_STORE = 'Headgate takes no requests while its store is out of reach; try again.'

/** Where a call stands. `over` is final: whatever comes later is ignored. */
type Phase = 'waiting' | 'sent' | 'erring' | 'answering' | 'over'

export class GovernedCall implements UpstreamHandler, CostedCall, Waiter, Follower, WarmCall {
  readonly request: CallRequest
  readonly description: Description
  readonly flow: string
  readonly scope: string
  // Kept by the dispatcher's schedule of waits.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly #context: CallContext
  readonly #caller: Caller
  readonly #resource: CallResource
  readonly #startedAt: EpochMs
  #resourceName: string
  #phase: Phase = 'waiting'
  /** Whether it has had to wait since it was last sent, if it ever was. */
  #isStanding = false
  readonly #cost: CallCost
  #attempts = 0
  /** Attempts that met the provider in trouble, or not at all. A limit that refuses is no trouble. */
  #troubles = 0
  #sentAt: EpochMs = 0
  #queuedMs = 0
  #waitingSince: EpochMs
  #flight: Flight | null = null
  #status = 0
  #answerHeaders: Headers = {}
  #errorChunks: Buffer[] = []
  #errorSays: Observation = { limits: [], sentAt: 0 }
  #errorBytes = 0

  constructor(context: CallContext, request: CallRequest, caller: Caller) {
    const { provider, operation, headers, body } = request
    this.#context = context
    this.#caller = caller
    this.request = request
    this.description = provider.describe(operation, headers, Buffer.isBuffer(body) ? body : null)
    this.#resource = context.resourceOf(provider, headers, this.description.limitGroup)
    this.#resourceName = this.#resource.name
    this.scope = this.#resource.owner
    this.flow = request.flow ?? this.description.session ?? this.#resource.fingerprint
    this.#startedAt = this.#waitingSince = context.clock.now()
    this.#cost = new CallCost(this, context.estimator, this.#startedAt)
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
    this.#enqueue().catch((error: unknown) => {
      const isOutage = error instanceof StoreUnreachable
      if (!isOutage) this.#context.events.failed(error)
      if (this.#phase !== 'waiting') return
      const message = isOutage ? NO_STORE : 'Headgate could not keep a place in line; try again.'
      this.#refuse('store_failed', message, 1000)
    })
  }

  async #enqueue(): Promise<void> {
    const { request } = this
    // Where others wait, tokens are scarce: what the cache will hold in a moment is not read afresh.
    const parked = this.#context.waits.size > 0 && this.hasLeader(this.#startedAt)
    if (parked) this.#context.followers.add(this)
    const placement = await this.#store.enqueue({
      id: request.id,
      resource: this.#resourceName,
      flow: this.flow,
      lane: request.lane,
      weight: 1,
      estimate: this.#cost.reserved,
      deadlineAt: request.deadlineAt,
      place: Buffer.isBuffer(request.body)
        ? this.#context.abandoned.reclaim(this.#identity(request.body), this.#startedAt)
        : null,
      parked,
      holder: null,
    })
    if (placement.kind === 'admitted') this.granted()
    else if (this.#phase !== 'waiting') return
    else if (placement.kind === 'refused') this.#refusePlacement(placement)
    else this.#stand(parked)
  }

  /** It stands in line, or aside. */
  #stand(isAside: boolean): void {
    const { clock, followers, waits, warmCalls } = this.#context
    this.#isStanding = true
    waits.set(this, this.#waitsUntil)
    const cachedUntil = this.#cost.cachedUntil(clock.now())
    if (cachedUntil !== null) warmCalls.add(this, cachedUntil)
    // Its leader may have begun before the store had answered.
    if (isAside && !followers.has(this)) this.rejoin()
    this.#caller.waiting()
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
    const { clock, waits, upstream } = this.#context
    const now = clock.now()
    if (this.#isStanding && this.#cost.isDearer(now)) {
      // It goes back to the front of the line, and waits for what it needs by now.
      this.#bounce({ kind: 'repriced', estimate: this.#cost.reserved })
      return
    }
    waits.clear(this)
    this.#context.warmCalls.remove(this)
    this.#queuedMs += now - this.#waitingSince
    this.#phase = 'sent'
    this.#isStanding = false
    this.#attempts++
    this.#sentAt = now
    this.#revise(this.#cost.sent(now))
    const { request } = this
    const base = this.#context.baseOf(request.provider)
    this.#flight = upstream.send(
      {
        origin: base.origin,
        method: request.method,
        path: base.pathPrefix + request.operation.upstreamPath,
        headers: request.forwardHeaders,
        body: request.body,
      },
      this,
    )
  }

  /** The caller has gone: leave the line, or end the request, at once. */
  abandon(): void {
    if (this.#phase === 'over') return
    const { abandoned, clock, events, store } = this.#context
    const { request } = this
    if (this.#phase !== 'waiting') {
      this.#flight?.abort()
      this.#settle('abandoned')
      return
    }
    const facts = this.#facts()
    this.#end()
    events.cancelled(facts)
    this.#context.follow(
      store.cancel(this.#resourceName, request.id).then((place) => {
        if (place && Buffer.isBuffer(request.body))
          abandoned.keep(this.#identity(request.body), place, clock.now())
      }),
    )
  }

  /** The gate closes: a call that still waits is refused, one under way goes on. */
  turnAway(): void {
    if (this.#phase !== 'waiting') return
    this.#leaveLine()
    this.#refuse('shutting_down', 'Headgate is shutting down; send the request again.', 1000)
  }

  /** The deadline has come while the call waits. */
  waitedOut(): void {
    if (this.#phase !== 'waiting') return
    this.#context.follow(this.#waitedOut())
  }

  async #waitedOut(): Promise<void> {
    const position = await this.#store.position(this.#resourceName, this.request.id)
    if (this.#phase !== 'waiting') return
    const place = this.#store.cancel(this.#resourceName, this.request.id)
    const { abandoned, clock } = this.#context
    const { body } = this.request
    const now = clock.now()
    const expectedMs = position ? Math.max(0, position.expectedAt - now) : null
    // A caller that is only let go before it gives up by itself is asked back at once.
    const retryAfterMs = now < this.request.deadlineAt ? 1000 : expectedMs
    const message = describeWait('waited_out', this.#resourceName, position, now)
    this.#refuse('waited_out', message, retryAfterMs)
    // Whoever is told to try again finds the old place.
    const kept = await place
    if (kept && Buffer.isBuffer(body)) abandoned.keep(this.#identity(body), kept, now)
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
    this.#answerHeaders = headers
    const observation = this.#readLimits(headers)
    if (status >= 400) {
      this.#phase = 'erring'
      this.#errorSays = observation
      return
    }
    this.#observe(observation)
    this.#phase = 'answering'
    const { clock, store } = this.#context
    const firstAnswerMs = this.isStream ? clock.now() - this.#sentAt : null
    this.#context.follow(store.answered(this.#resourceName, firstAnswerMs))
    this.#cost.open(headers)
    this.#caller.respond(status, headers, this.#queuedMs)
  }

  onData(chunk: Buffer): boolean {
    if (this.#phase === 'erring') return this.#readError(chunk)
    if (this.#phase !== 'answering') return true
    this.#revise(this.#cost.read(chunk, this.#context.clock.now()))
    return this.#caller.write(chunk)
  }

  onEnd(): void {
    if (this.#phase === 'erring') {
      this.#judge()
      return
    }
    if (this.#phase !== 'answering') return
    this.#cost.end()
    const isError = this.#status >= 400 || this.#cost.hasFailed
    this.#settle(isError ? 'provider_error' : 'answered')
    this.#caller.end()
  }

  onFailure(failure: UpstreamFailure): void {
    if (this.#phase === 'over' || this.#phase === 'waiting') return
    if (this.#phase === 'answering') {
      this.#settle('broken')
      this.#caller.fail(upstreamRefusal(this.provider.name, failure))
      return
    }
    if (this.#phase === 'erring') {
      // The status has come, and with it what matters.
      this.#judge()
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
    return this.request.body === null || Buffer.isBuffer(this.request.body)
  }

  /** When the call stops waiting: at its deadline, or before its client gives up by itself. */
  get #waitsUntil(): EpochMs {
    const { deadlineAt, longestPlainWaitMs } = this.request
    return this.isStream ? deadlineAt : Math.min(deadlineAt, this.#startedAt + longestPlainWaitMs)
  }

  #identity(body: Buffer) {
    return { flow: this.flow, resource: this.#resource.name, body }
  }

  #readLimits(headers: Headers): Observation {
    const { provider } = this.request
    const { limits, organization } = provider.observe(headers)
    if (organization !== null)
      this.#context.learnOrganization(provider, this.#resource.fingerprint, organization)
    return { limits, sentAt: this.#sentAt }
  }

  #observe(observation: Observation): void {
    if (observation.limits.length > 0)
      this.#context.follow(this.#store.observe(this.#presentName, observation))
  }

  /** Its lease stays where it was given, but news and waiting belong where all others look by now. */
  get #presentName(): string {
    const { provider } = this.request
    return this.#context.nameOf(provider, this.#resource, this.description.limitGroup)
  }

  #revise(revision: Revision | null): void {
    if (!revision) return
    const { cost, producedTokens, isFirst } = revision
    const { id } = this.request
    this.#context.follow(this.#store.revise(this.#resourceName, id, cost, producedTokens))
    if (isFirst) this.#context.followers.look(this.scope)
  }

  #readError(chunk: Buffer): boolean {
    this.#errorChunks.push(chunk)
    this.#errorBytes += chunk.length
    if (this.#errorBytes > MOST_ERROR_BYTES) {
      this.#observe(this.#errorSays)
      this.#passError()
    }
    return true
  }

  /** Decides what the provider's error means, now that it is whole. */
  #judge(): void {
    const body = Buffer.concat(this.#errorChunks).toString('utf8')
    const verdict = this.request.provider.classify(this.#status, this.#answerHeaders, body)
    if (verdict.kind === 'rate_limited') {
      this.#bounceRateLimited(verdict)
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
    this.#passError()
  }

  #bounceRateLimited(verdict: Extract<Verdict, { kind: 'rate_limited' }>): void {
    const { retryAfterMs } = verdict
    const now = this.#context.clock.now()
    if (!this.#canSendAgain || now + (retryAfterMs ?? 0) > this.request.deadlineAt) {
      // Not for this caller to wait for: it hears the provider's own words. The others wait.
      const refusal = { retryAfterMs, observation: this.#errorSays }
      this.#context.follow(this.#store.refused(this.#presentName, refusal))
      this.#passError()
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
    this.#cost.failed()
    this.#context.followers.look(this.scope)
    this.#phase = 'waiting'
    this.#isStanding = true
    this.#waitingSince = clock.now()
    this.#status = 0
    this.#errorChunks = []
    this.#errorBytes = 0
    waits.set(this, this.#waitsUntil)
    this.#caller.waiting()
  }

  /** The provider's error is the answer. */
  #passError(): void {
    const chunks = this.#errorChunks
    this.#errorChunks = []
    const isWhole = this.#errorBytes <= MOST_ERROR_BYTES
    this.#caller.respond(this.#status, this.#answerHeaders, this.#queuedMs)
    for (const chunk of chunks) this.#caller.write(chunk)
    if (!isWhole) {
      this.#phase = 'answering'
      return
    }
    this.#settle('provider_error')
    this.#caller.end()
  }

  /** Ends the lease with what the call cost, as far as it is known. */
  #settle(outcome: Outcome): void {
    const { clock, events } = this.#context
    const { actual, isExact } = this.#cost.settle(outcome, this.#status, clock.now())
    this.#end()
    this.#context.follow(this.#store.settle(this.#resourceName, this.request.id, actual, isExact))
    events.settled(this.#facts(), outcome, this.#status || null, actual)
  }

  /** No answer came: what was never sent cost nothing, what was sent may have. */
  #settleUnanswered(failure: UpstreamFailure): void {
    const { id } = this.request
    this.#cost.failed()
    this.#end()
    this.#context.follow(
      failure.kind === 'unreachable'
        ? this.#store.release(this.#resourceName, id)
        : this.#store.settle(this.#resourceName, id, this.#cost.reserved, false),
    )
  }

  #leaveLine(): void {
    this.#context.follow(this.#store.cancel(this.#resourceName, this.request.id))
  }

  #refusePlacement(placement: Extract<Placement, { kind: 'refused' }>): void {
    const now = this.#context.clock.now()
    const message = describeWait(placement.reason, this.#resourceName, placement, now)
    const waitMs = Math.max(0, placement.expectedAt - now)
    this.#refuse(placement.reason, message, Number.isFinite(waitMs) ? waitMs : null)
  }

  #refuse(reason: RefusalReason, message: string, retryAfterMs: number | null): void {
    const refusal: Refusal = { reason, message, retryAfterMs }
    const facts = this.#facts()
    this.#end()
    this.#context.events.refused(facts, refusal)
    this.#caller.refuse(refusal)
  }

  #end(): void {
    this.#phase = 'over'
    this.#flight = null
    this.#context.forget(this)
    this.#context.followers.remove(this)
    this.#context.warmCalls.remove(this)
    this.#context.followers.look(this.scope)
  }

  #facts(): CallFacts {
    const now = this.#context.clock.now()
    const waitsMs = this.#phase === 'waiting' ? now - this.#waitingSince : 0
    return {
      id: this.request.id,
      resource: this.#resourceName,
      flow: this.flow,
      lane: this.request.lane,
      model: this.description.model,
      attempts: this.#attempts,
      queuedMs: Math.round(this.#queuedMs + waitsMs),
      durationMs: Math.round(now - this.#startedAt),
    }
  }
}
