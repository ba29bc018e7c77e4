// One sending of a call: from the request that leaves to the answer's last byte. Owns: what the
// provider's answer means, and passing it on. Must not know: how the call came to its turn, or what
// becomes of it after.
import type { EpochMs } from '../core/clock.ts'
import { formatUsd } from '../core/money.ts'
import type { Observation } from '../core/observation.ts'
import type { Headers } from '../providers/provider.ts'
import type { CallContext } from './call-context.ts'
import type { CallCost, Revision } from './call-cost.ts'
import type { CallLine } from './call-line.ts'
import type { Present } from './call-target.ts'
import type { Caller, CallRequest } from './caller.ts'
import { ErrorAnswer } from './error-answer.ts'
import type { Outcome } from './events.ts'
import type { OwnHeaders } from './limit-headers.ts'
import type { Again, Patience, Tries } from './tries.ts'
import type { Flight, UpstreamFailure, UpstreamHandler } from './upstream.ts'
import { upstreamRefusal } from './upstream-refusal.ts'

/** The call that is sent, as its attempt sees it. */
export interface AttemptedCall {
  readonly request: CallRequest
  readonly caller: Caller
  readonly present: Present
  readonly cost: CallCost
  readonly line: CallLine
  readonly tries: Tries
  readonly patience: Patience
  /** Whose prompt cache it reads. */
  readonly scope: string
  /** What Headgate says beside an answer. */
  ownHeaders(): OwnHeaders
  /** The call is over, save for its last word to the caller. Returns its price in nano-dollars, where known. */
  settle(outcome: Outcome, status: number): number | null
  /** Calls back when what it used is on record; at once where its caller does not wait for that. */
  whenWritten(done: () => void): void
  /** The call waits, and is sent once more. */
  sendAgain(again: Again, says: Observation, status: number): void
  /** No answer will come. */
  failUnanswered(failure: UpstreamFailure): void
}

const NOTHING_SAID: Observation = { limits: [], sentAt: 0 }

export class Attempt implements UpstreamHandler {
  readonly #context: CallContext
  readonly #call: AttemptedCall
  readonly #sentAt: EpochMs
  #flight: Flight | null = null
  #status = 0
  #isAnswering = false
  #isOver = false
  /** The provider's error, until it is known what it means. */
  #error: ErrorAnswer | null = null
  #errorSays = NOTHING_SAID

  constructor(context: CallContext, call: AttemptedCall) {
    this.#context = context
    this.#call = call
    this.#sentAt = context.clock.now()
  }

  /** 0 before the answer begins. */
  get status(): number {
    return this.#status
  }

  send(): void {
    const { cost, present, request } = this.#call
    this.#revise(cost.sent(this.#sentAt))
    const base = request.base ?? this.#context.baseOf(request.provider)
    const flight = this.#context.upstream.send(
      {
        origin: base.origin,
        method: request.method,
        path: base.pathPrefix + request.operation.upstreamPath,
        headers: present.forwardHeaders,
        body: present.body,
      },
      this,
    )
    if (!this.#isOver) this.#flight = flight
  }

  /** Ends it at once: nothing more is heard of it. */
  abort(): void {
    this.#flight?.abort()
    this.#end()
  }

  resume(): void {
    this.#flight?.resume()
  }

  onHeaders(status: number, headers: Headers): void {
    if (this.#isOver) return
    const { caller, cost, line } = this.#call
    this.#status = status
    const observation = this.#readLimits(headers)
    if (status >= 400) {
      this.#error = new ErrorAnswer(status, headers)
      this.#errorSays = observation
      return
    }
    this.#observe(observation)
    this.#isAnswering = true
    const { clock, store } = this.#context
    const { stream } = this.#call.present.description
    const firstAnswerMs = stream ? clock.now() - this.#sentAt : null
    this.#context.follow(store.answered(line.resource, firstAnswerMs))
    cost.open(headers, clock.now())
    caller.respond(status, headers, this.#call.ownHeaders())
  }

  onData(chunk: Buffer): boolean {
    if (this.#error) return this.#readError(this.#error, chunk)
    if (!this.#isAnswering) return true
    this.#revise(this.#call.cost.read(chunk, this.#context.clock.now()))
    return this.#call.caller.write(chunk)
  }

  onEnd(): void {
    if (this.#error) {
      this.#weigh(this.#error)
      return
    }
    if (!this.#isAnswering) return
    const { caller, cost } = this.#call
    cost.end()
    const isError = this.#status >= 400 || cost.hasFailed
    const price = this.#settle(isError ? 'provider_error' : 'answered')
    const trailers = price === null ? {} : { 'x-headgate-cost-usd': formatUsd(price) }
    this.#call.whenWritten(() => caller.end(trailers))
  }

  onFailure(failure: UpstreamFailure): void {
    if (this.#isOver) return
    if (this.#isAnswering) {
      this.#settle('broken')
      this.#call.caller.fail(upstreamRefusal(this.#call.request.provider.name, failure))
      return
    }
    if (this.#error) {
      // The status has come, and with it what matters.
      this.#weigh(this.#error)
      return
    }
    const again = this.#canSendAgain ? this.#call.tries.afterFailure(failure) : null
    this.#end()
    if (again) this.#call.sendAgain(again, NOTHING_SAID, this.#status)
    else this.#call.failUnanswered(failure)
  }

  get #canSendAgain(): boolean {
    const { body } = this.#call.present
    return body === null || Buffer.isBuffer(body)
  }

  #readLimits(headers: Headers): Observation {
    const { request, present } = this.#call
    const { provider } = request
    const { limits, organization } = provider.observe(headers)
    if (organization !== null)
      this.#context.learnOrganization(provider, present.resource.fingerprint, organization)
    return { limits, sentAt: this.#sentAt }
  }

  #observe(observation: Observation): void {
    if (observation.limits.length > 0)
      this.#context.follow(this.#context.store.observe(this.#presentName, observation))
  }

  /** The lease stays where it was given, but news belong where all others look by now. */
  get #presentName(): string {
    const { request, present } = this.#call
    return this.#context.nameOf(request.provider, present.resource, present.description.limitGroup)
  }

  #revise(revision: Revision | null): void {
    if (!revision) return
    const { cost, producedTokens, isFirst } = revision
    const { line, request, scope } = this.#call
    const { follow, followers, store } = this.#context
    follow(store.revise(line.resource, request.id, cost, producedTokens))
    if (isFirst) followers.look(scope)
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
    const { request, tries, patience } = this.#call
    const { follow, store } = this.#context
    const verdict = request.provider.classify(error.status, error.headers, error.text())
    const again = this.#canSendAgain ? tries.afterError(verdict, patience) : null
    const isRateLimited = verdict.kind === 'rate_limited'
    if (!isRateLimited) this.#observe(this.#errorSays)
    if (again) {
      this.#end()
      this.#call.sendAgain(again, this.#errorSays, this.#status)
      return
    }
    if (isRateLimited) {
      // Not for this caller to wait for: it hears the provider's own words. The others wait.
      const { retryAfterMs } = verdict
      follow(store.refused(this.#presentName, { retryAfterMs, observation: this.#errorSays }))
    }
    // An error of the request's own shows that the provider is there.
    if (verdict.kind === 'final') follow(store.answered(this.#presentName, null))
    this.#passError(error)
  }

  /** The provider's error is the answer. */
  #passError(error: ErrorAnswer): void {
    const { caller } = this.#call
    this.#error = null
    caller.respond(error.status, error.headers, this.#call.ownHeaders())
    for (const chunk of error.takeChunks()) caller.write(chunk)
    if (error.isTooLong) {
      this.#isAnswering = true
      return
    }
    this.#settle('provider_error')
    caller.end({})
  }

  #settle(outcome: Outcome): number | null {
    this.#end()
    return this.#call.settle(outcome, this.#status)
  }

  #end(): void {
    this.#isOver = true
    this.#isAnswering = false
    this.#flight = null
    this.#error = null
  }
}
