// What one request, or one reservation, takes of its subject's limits, and how long it waits for that.
// Owns: the end of the wait. Must not know: what the turn is for.
import type { EpochMs } from '../core/clock.ts'
import type { CostVector } from '../core/cost.ts'
import type { Refusal } from '../core/refusal.ts'
import { laneOf } from '../dispatch/call-policy.ts'
import { Quota } from '../dispatch/quota.ts'
import { limitRefusal } from '../dispatch/subject-refusals.ts'
import { describeBinding } from '../dispatch/wait-message.ts'
import type { Scope, Subject } from '../policy/subject.ts'
import type { LimiterContext, Timed } from './context.ts'
import { answerTo, type RefusalAnswer } from './refusal-answer.ts'

export interface TurnRequest {
  readonly id: string
  readonly subject: Subject
  readonly scopes: readonly Scope[]
  readonly estimate: CostVector
}

export type TurnAnswer =
  | { readonly kind: 'taken' }
  | { readonly kind: 'refused'; readonly answer: RefusalAnswer }
  /** It was let go while it waited. */
  | { readonly kind: 'let_go' }

export class Turn implements Timed {
  // Kept by the schedule of deadlines.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly #context: LimiterContext
  readonly #request: TurnRequest
  readonly #quota: Quota
  #isTimeUp = false

  constructor(context: LimiterContext, request: TurnRequest) {
    const { id, subject, scopes, estimate } = request
    const deadlineAt = context.clock.now() + context.maxWaitMs
    this.#context = context
    this.#request = request
    this.#quota = new Quota(context, {
      id,
      scopes,
      estimate,
      lane: laneOf(subject, null),
      flow: subject.flow ?? 'anonymous',
      weight: subject.weight,
      deadlineAt,
      onWaiting: () => context.deadlines.set(this, deadlineAt),
    })
  }

  /** Takes of all scopes or of none. @throws StoreUnreachable */
  async take(): Promise<TurnAnswer> {
    const { clock, deadlines, events } = this.#context
    const answer = await this.#quota.take().finally(() => deadlines.clear(this))
    if (answer.kind === 'let_go')
      return this.#isTimeUp ? { kind: 'refused', answer: answerTo(this.#waitedOut()) } : answer
    if (answer.kind === 'refused') {
      const { boundBy } = answer.refusal
      const refusal = limitRefusal(answer.refusal, clock.now())
      return {
        kind: 'refused',
        answer: answerTo(refusal, boundBy && describeBinding(boundBy)),
      }
    }
    for (const { subject } of answer.shadowed)
      events.shadowed(this.#request.subject.identity, `limits of ${subject}`)
    return { kind: 'taken' }
  }

  timeUp(): void {
    this.#isTimeUp = true
    this.#quota.letGo()
  }

  settle(actual: CostVector, isExact: boolean): void {
    this.#quota.settle(actual, isExact)
  }

  letGo(): void {
    this.#quota.letGo()
  }

  #waitedOut(): Refusal {
    const seconds = Math.ceil(this.#context.maxWaitMs / 1000)
    return {
      reason: 'waited_out',
      message: `Headgate: this request has waited ${seconds} s for its turn, as long as it may; try again.`,
      retryAfterMs: 1000,
    }
  }
}
