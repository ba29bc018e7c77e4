// Payloads of one group from when money was set aside for them up to their result. Owns: what is on its way, what is sent
// again, and what all that costs. Must not know: where payloads come from, or when the next one is taken.
import { randomUUID } from 'node:crypto'
import type { EpochMs } from '../core/clock.ts'
import type { Ceiling } from './ceiling.ts'
import { LOST, notSentAgain, type Outcome, outcomeOf } from './outcome.ts'
import type { Answered as AnsweredPayload, Failed } from './payload.ts'
import { costOfOutcome } from './price-tag.ts'
import { pauseMs } from './retry-budget.ts'
import type { RunParts } from './run-parts.ts'
import { Sending } from './sending.ts'
import type { Task } from './task.ts'
import type { WindowWatch } from './window-watch.ts'

/** `cost` in nano-dollars; null where it is not known. */
type Failure = Extract<Outcome, { kind: 'failure' }> & { readonly cost: number | null }
type Answer = Extract<Outcome, { kind: 'answer' }>
/** It left the line, or what was on its way was broken off. */
interface Left {
  readonly kind: 'left'
}

export interface CarrierParts {
  readonly ceiling: Ceiling
  readonly windows: WindowWatch
}

export class Carrier {
  readonly #parts: RunParts & CarrierParts
  readonly #sendings = new Set<Sending>()
  /** Those of them that were aside, or are. */
  readonly #troubled = new Set<Sending>()
  #sentAt: EpochMs = Number.NEGATIVE_INFINITY
  #open = 0
  #unread = 0
  #retrying = 0

  constructor(parts: RunParts, own: CarrierParts) {
    this.#parts = { ...parts, ...own }
  }

  /** When one was handed to the gate last. */
  get sentAt(): EpochMs {
    return this.#sentAt
  }

  /** Payloads without a result. */
  get open(): number {
    return this.#open
  }

  /** Payloads whose result nobody has read yet. */
  get unread(): number {
    return this.#unread
  }

  /** Those without a result that will be sent again, and are not under way: here, or aside in the gate. */
  get retrying(): number {
    return this.#retrying + this.#aside
  }

  /** From the first sending of a payload, for which money is set aside, up to its result. */
  carry(task: Task): void {
    const { changes, ending } = this.#parts
    this.#open++
    this.#carry(task)
      .catch((error: unknown) => ending.breakOff(error))
      .finally(() => {
        this.#open--
        changes.tell()
      })
  }

  /** Whatever stands in line leaves it. */
  leaveLine(): void {
    for (const sending of [...this.#sendings]) if (sending.isStanding) sending.leave()
  }

  /** Ends all that is under way, at once. */
  leave(): void {
    for (const sending of [...this.#sendings]) sending.leave()
  }

  get #now(): EpochMs {
    return this.#parts.options.dispatcher.clock.now()
  }

  get #hasRoom(): boolean {
    return this.#sendings.size - this.#aside < this.#parts.ceiling.choice.chosen
  }

  /** A prompt that fails again and again takes nobody's place while it waits. */
  get #aside(): number {
    let aside = 0
    for (const sending of this.#troubled) if (sending.isAside) aside++
    return aside
  }

  async #carry(task: Task): Promise<void> {
    const { ending, options } = this.#parts
    const { id, worstNanoUsd } = task
    await this.#write(() => options.spending?.sending?.({ id, worstNanoUsd }))
    for (;;) {
      const outcome = await this.#send(task)
      if (ending.isBrokenOff) return
      if (outcome.kind === 'answer') {
        this.#hand(task.answered(outcome.response, this.#now))
        return
      }
      if (outcome.kind === 'left' && task.attempts === 0) return
      const error =
        outcome.kind === 'left'
          ? notSentAgain(task.lastError)
          : await this.#errorUnlessAgain(task, outcome)
      if (error) {
        this.#hand(task.failed(error, this.#now))
        return
      }
    }
  }

  /** To whoever reads. */
  #hand(result: AnsweredPayload | Failed): void {
    this.#unread++
    this.#parts.results.add(result, () => this.#unread--)
  }

  /** Waits until the payload may be sent again, and gives null then. Where it never may, its error. */
  async #errorUnlessAgain(
    task: Task,
    { error, retryAfterMs, cost }: Failure,
  ): Promise<Failed['error'] | null> {
    const { ending, funds, tell, sleepUntil } = this.#parts
    const { dispatcher, retriesPerPayload, retryBudget } = this.#parts.options
    const isWorthIt = error.isRetryable && task.retries < retriesPerPayload
    const mayTry = isWorthIt && !ending.isStopping && !dispatcher.isDraining
    const wishedAt = this.#now + pauseMs(task.retries, retryAfterMs, dispatcher.random())
    const retryAt = mayTry ? retryBudget.take(wishedAt) : null
    tell({ kind: 'attempt_failed', id: task.id, error, costNanoUsd: cost, retryAt })
    if (retryAt === null) return isWorthIt && ending.isStopping ? notSentAgain(error) : error
    if (retryAt > wishedAt) tell({ kind: 'held', by: 'retries', group: null, until: retryAt })
    task.retries++
    task.lastError = error
    this.#retrying++
    await this.#writeDown(task, cost)
    await sleepUntil(retryAt)
    const isPaid = !ending.isStopping && (await funds.setAside(task.worstNanoUsd))
    this.#retrying--
    return isPaid ? null : notSentAgain(error)
  }

  /** Sends it once, through the gate, which may send it again by itself. */
  async #send(task: Task): Promise<Answer | Failure | Left> {
    const { ceiling, changes, ending, windows } = this.#parts
    const { dispatcher, purse } = this.#parts.options
    while (!ending.isStopping && !this.#hasRoom) await changes.next()
    if (ending.isStopping) {
      purse.giveBack(task.worstNanoUsd ?? 0)
      return { kind: 'left' }
    }
    const writing: Promise<void>[] = []
    const sending = new Sending({
      onWaiting: () => this.#stand(sending),
      onLost: () => writing.push(this.#payForLost(task, sending)),
    })
    this.#sendings.add(sending)
    const startedAt = this.#now
    this.#sentAt = startedAt
    sending.attach(dispatcher.start({ ...task.request, id: `hg_${randomUUID()}` }, sending))
    const ended = await sending.ended
    this.#sendings.delete(sending)
    this.#troubled.delete(sending)
    task.attempts += sending.attempts
    await Promise.all(writing)
    if (ended.kind === 'left') return this.#leftBehind(task, ended.isUnpaid)
    const { resource } = sending
    const outcome = outcomeOf(ended, task.request.provider)
    const cost = this.#settle(task, outcome)
    changes.tell()
    windows.lookAtLine(resource, { isRefused: false })
    if (outcome.kind === 'failure') return { ...outcome, cost }
    const { usage } = outcome
    const { provider } = task.request
    const latencyMs = this.#now - startedAt - outcome.queuedMs
    if (usage && resource !== null)
      dispatcher.follow(ceiling.record({ provider, resource, latencyMs, usage }))
    return outcome
  }

  /** It stands in line, or again: in the midst of a step of the gate's, which is to be finished first. */
  #stand(sending: Sending): void {
    const { changes, ending, windows } = this.#parts
    if (sending.isAside) {
      this.#troubled.add(sending)
      changes.tell()
    }
    if (ending.isStopping) queueMicrotask(() => sending.isStanding && sending.leave())
    else windows.lookAtLine(sending.resource, { isRefused: sending.isRefused })
  }

  /** @param isUnpaid whether it was under way, and may cost what was set aside */
  #leftBehind(task: Task, isUnpaid: boolean): Failure | Left {
    const { changes, ending } = this.#parts
    const { purse } = this.#parts.options
    purse.giveBack(task.worstNanoUsd ?? 0)
    if (isUnpaid) {
      task.cost(task.worstNanoUsd)
      purse.spend(task.worstNanoUsd ?? 0)
    }
    changes.tell()
    if (ending.isStopping) return { kind: 'left' }
    // There was no money to send it again at once; others may cost less than what is set aside for them.
    return { kind: 'failure', error: LOST, retryAfterMs: null, mayHaveCost: false, cost: 0 }
  }

  /** What was set aside is spent, or free again. Returns the cost; null where it is not known. */
  #settle(task: Task, outcome: Outcome): number | null {
    const { purse, dispatcher } = this.#parts.options
    if (outcome.kind === 'answer' && outcome.usage) task.use(outcome.usage)
    const cost = costOfOutcome(task, outcome, dispatcher.rules.prices, this.#now)
    task.cost(cost)
    purse.giveBack(task.worstNanoUsd ?? 0)
    purse.spend(cost ?? 0)
    return cost
  }

  /**
   * It is sent once more without being asked: what was lost may have to be paid as well. Resolves when that is
   * written down, which the gate does not wait for.
   */
  #payForLost(task: Task, sending: Sending): Promise<void> {
    const { tell } = this.#parts
    const { purse } = this.#parts.options
    const costNanoUsd = task.worstNanoUsd
    task.cost(costNanoUsd)
    task.lastError = LOST
    purse.spend(costNanoUsd ?? 0)
    const writing = this.#writeDown(task, costNanoUsd)
    tell({ kind: 'attempt_failed', id: task.id, error: LOST, costNanoUsd, retryAt: this.#now })
    if (!purse.has(0)) sending.leave({ isPaid: true })
    return writing
  }

  async #writeDown({ id }: Task, costNanoUsd: number | null): Promise<void> {
    const { spending } = this.#parts.options
    if (costNanoUsd) await this.#write(() => spending?.failedAttempt({ id, costNanoUsd }))
  }

  /** A journal that fails ends the job, as a listener does. */
  async #write(writing: () => Promise<void> | undefined): Promise<void> {
    try {
      await writing()
    } catch (error) {
      this.#parts.ending.breakOff(error)
    }
  }
}
