// One job: payloads go in, each has its result in the end. Owns: when the next one is taken and sent, what is
// sent again, and when to stop. Must not know: whose turn it is in line (the gate), options, engines.
import { randomUUID } from 'node:crypto'
import type { EpochMs } from '../core/clock.ts'
import type { Usage } from '../core/prompt.ts'
import { type ResourceSnapshot, StoreUnreachable } from '../core/store.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { FleetBatches } from './batch/batch-record.ts'
import { Ceiling } from './ceiling.ts'
import { Changes } from './changes.ts'
import type { FleetEvent } from './events.ts'
import { Intake, type PayloadSource, type Taken } from './intake.ts'
import { longWindowOf, paceMs } from './long-windows.ts'
import { messageRequest, type RequestTerms } from './message-request.ts'
import { failedUnsent, LOST, NOT_SENT_AGAIN, type Outcome, outcomeOf } from './outcome.ts'
import type { Answered, Failed, FleetResult } from './payload.ts'
import { costOfOutcome, worstCost } from './price-tag.ts'
import type { Purse } from './purse.ts'
import { Results } from './results.ts'
import { pauseMs, type RetryBudget } from './retry-budget.ts'
import { RunBatches, worstOfPending } from './run-batches.ts'
import { Sending } from './sending.ts'
import { Task } from './task.ts'

export interface RunOptions {
  readonly dispatcher: Dispatcher
  readonly terms: RequestTerms
  readonly purse: Purse
  readonly retryBudget: RetryBudget
  readonly retriesPerPayload: number
  /** Null: as many as rates and latencies ask for. */
  readonly maxInFlight: number | null
  readonly maxSpendUsd: number
  readonly order: 'completion' | 'submission'
  readonly longWindows: 'pace' | 'stop' | 'wait'
  /** How many payloads there are; null where nobody says. */
  readonly count: number | null
  /** How long answers may take as a rule; null: they cannot wait. */
  readonly withinMs: number | null
  readonly batches: FleetBatches | null
  readonly onEvent: (event: FleetEvent) => void
}

/** `cost` in nano-dollars; null where it is not known. */
type Failure = Extract<Outcome, { kind: 'failure' }> & { readonly cost: number | null }
type Answer = Extract<Outcome, { kind: 'answer' }>
type Marker = Extract<FleetResult, { kind: 'budget_exceeded' | 'quota_exhausted' }>

export class DispatchRun {
  readonly #options: RunOptions
  readonly #dispatcher: Dispatcher
  readonly #intake: Intake
  readonly #results: Results
  readonly #changes = new Changes()
  readonly #sendings = new Set<Sending>()
  readonly #ceiling: Ceiling
  readonly #batches: RunBatches
  #sentAt: EpochMs = Number.NEGATIVE_INFINITY
  /** Payloads that were taken and have no result yet. */
  #open = 0
  /** Those of them that will be sent again, and are not under way. */
  #retrying = 0
  #isLooking = false
  /** Says why nothing more is sent, and comes last. */
  #marker: Marker | null = null
  #problem: { readonly why: unknown } | null = null
  #isBrokenOff = false
  #isOver = false

  constructor(source: PayloadSource, options: RunOptions) {
    this.#options = options
    this.#dispatcher = options.dispatcher
    this.#intake = new Intake(source)
    this.#results = new Results(options.order)
    this.#ceiling = new Ceiling({
      maxInFlight: options.maxInFlight,
      clock: options.dispatcher.clock,
      look: (resource) => this.#look(resource),
      onChange: (choice) => {
        this.#tell({ kind: 'in_flight', ...choice })
        this.#changes.tell()
      },
    })
    const { dispatcher, terms, withinMs, count, batches, purse } = options
    purse.setAside(worstOfPending(batches))
    this.#batches = new RunBatches({
      dispatcher,
      terms,
      withinMs,
      count,
      batches,
      changes: this.#changes,
      onResult: (result, worst) => this.#takeFromBatch(result, worst),
      isRead: () => !this.#results.hasNext,
      onLeft: (worst, isSent) => {
        purse.giveBack(worst)
        if (isSent) purse.spend(worst)
      },
      onEvent: (event) => this.#tell(event),
      failed: (error) => this.breakOff(error),
    })
  }

  /**
   * Whoever stops reading ends all that is under way.
   *
   * @throws what the source throws, once what was taken before has its results; the signal's reason at once
   */
  async *results(signal: AbortSignal | null): AsyncGenerator<FleetResult, void, undefined> {
    const onAbort = (): void => this.breakOff(signal?.reason)
    signal?.throwIfAborted()
    signal?.addEventListener('abort', onAbort)
    this.#tell({ kind: 'in_flight', ...this.#ceiling.choice })
    this.#work().catch((error: unknown) => this.breakOff(error))
    try {
      for (;;) {
        await this.#changes.until(() => this.#isOver || this.#results.hasNext)
        const result = this.#isBrokenOff ? null : this.#results.next()
        if (!result) break
        this.#changes.tell()
        yield result
        await this.#batches.read(result)
      }
      if (this.#problem) throw this.#problem.why
      if (this.#marker) yield this.#marker
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#leave()
    }
  }

  /** Ends all that is under way, at once. */
  #leave(): void {
    this.#isOver = true
    for (const sending of [...this.#sendings]) sending.leave()
    this.#batches.leave()
    // A source that is in the midst of giving one may take its time.
    this.#dispatcher.follow(this.#intake.close())
    this.#changes.tell()
  }

  /** Resolves when nothing of it is under way. */
  async ended(): Promise<void> {
    await this.#changes.until(() => this.#isOver && this.#isIdle)
  }

  get #now(): EpochMs {
    return this.#dispatcher.clock.now()
  }

  /** Whether nothing is under way. */
  get #isIdle(): boolean {
    return this.#open === 0 && this.#batches.isOver
  }

  /** Whether nothing more is to be begun. */
  get #isStopping(): boolean {
    return this.#isOver || this.#marker !== null
  }

  /** Ends all that is under way, at once; whoever reads results is told why. */
  breakOff(why: unknown): void {
    if (this.#isOver) return
    this.#isBrokenOff = true
    this.#problem = { why }
    this.#leave()
  }

  async #work(): Promise<void> {
    let isFed = false
    const feeding = this.#feed()
      // Of the source: what it has given is finished first.
      .catch((why: unknown) => {
        this.#problem ??= { why }
      })
      .finally(() => {
        isFed = true
        this.#changes.tell()
      })
    this.#dispatcher.follow(feeding)
    // A source may take its time for what nobody wants any more.
    await this.#changes.until(() => isFed || this.#isStopping)
    this.#batches.close()
    await this.#changes.until(() => this.#isIdle)
    this.#results.closeRanks()
    this.#isOver = true
    this.#changes.tell()
  }

  async #feed(): Promise<void> {
    for (;;) {
      while (!this.#isStopping && !this.#hasRoomForNew) await this.#changes.next()
      if (this.#isStopping) return
      if (this.#dispatcher.isDraining) throw new Error('the gate of this job was closed')
      const taken = await this.#intake.next()
      if (!taken || this.#isStopping) return
      if (taken.kind === 'bad') {
        this.#results.add(failedUnsent(taken, 'invalid_payload', taken.why))
        this.#changes.tell()
      } else if (!(await this.#begin(taken))) return
    }
  }

  /** False when nothing more is to be begun. */
  async #begin(taken: Extract<Taken, { kind: 'payload' }>): Promise<boolean> {
    const { id, index, params } = taken
    const { dispatcher, purse, terms } = this.#options
    const takenAt = this.#now
    const request = messageRequest(params, terms, takenAt)
    const worstNanoUsd = worstCost(request, dispatcher.rules, takenAt)
    if (worstNanoUsd === null && purse.isBounded) {
      const why = `The price of ${params.model} is not known, and maxSpendUsd bounds this job: put its price under prices in the configuration.`
      this.#results.add(failedUnsent({ id, index }, 'price_unknown', why))
      this.#changes.tell()
      return true
    }
    const batchNanoUsd = worstCost(request, dispatcher.rules, takenAt, { isBatch: true })
    const isCheaper = batchNanoUsd !== null && worstNanoUsd !== null && batchNanoUsd < worstNanoUsd
    if (isCheaper && this.#batches.takes(taken.withinMs, takenAt)) {
      if (!(await this.#setAside({ worstNanoUsd: batchNanoUsd }))) return false
      await this.#batches.put({ id, index, params, worstNanoUsd: batchNanoUsd })
      return true
    }
    const task = new Task({ id, index, model: params.model, request, worstNanoUsd, takenAt })
    if (this.#options.longWindows === 'pace') await this.#keepPace()
    if (!(await this.#setAside(task))) return false
    this.#open++
    this.#carry(task)
      .catch((error: unknown) => this.breakOff(error))
      .finally(() => {
        this.#open--
        this.#changes.tell()
      })
    return true
  }

  /** From its first sending, for which money is set aside, up to its result. */
  async #carry(task: Task): Promise<void> {
    for (;;) {
      const outcome = await this.#send(task)
      if (!outcome || this.#isBrokenOff) return
      if (outcome.kind === 'answer') {
        this.#results.add(task.answered(outcome.response, this.#now))
        return
      }
      if (!(await this.#mayTryAgain(task, outcome))) {
        this.#results.add(task.failed(outcome.error, this.#now))
        return
      }
    }
  }

  /** Waits until the payload may be sent again. False when it never may. */
  async #mayTryAgain(task: Task, { error, retryAfterMs, cost }: Failure): Promise<boolean> {
    const { retriesPerPayload, retryBudget } = this.#options
    const isWorthIt = error.isRetryable && task.retries < retriesPerPayload
    const mayTry = isWorthIt && !this.#isStopping && !this.#dispatcher.isDraining
    const wishedAt = this.#now + pauseMs(task.retries, retryAfterMs, this.#dispatcher.random())
    const retryAt = mayTry ? retryBudget.take(wishedAt) : null
    this.#tell({ kind: 'attempt_failed', id: task.id, error, costNanoUsd: cost, retryAt })
    if (retryAt === null) return false
    if (retryAt > wishedAt) this.#tell({ kind: 'held', by: 'retries', until: retryAt })
    task.retries++
    this.#retrying++
    await this.#sleepUntil(retryAt)
    const isPaid = !this.#isStopping && (await this.#setAside(task))
    this.#retrying--
    return isPaid
  }

  /** Sends it once, through the gate. Null when it was not sent, and nobody wants to hear of it. */
  async #send(task: Task): Promise<Answer | Failure | null> {
    const { dispatcher, purse } = this.#options
    while (!this.#isStopping && !this.#hasRoom) await this.#changes.next()
    if (this.#isStopping) {
      purse.giveBack(task.worstNanoUsd ?? 0)
      return this.#leftBehind(task)
    }
    const sending = new Sending({
      onWaiting: ({ resource }) => this.#lookAtLine(resource),
      onLost: (lost) => this.#payForLost(task, lost),
    })
    this.#sendings.add(sending)
    const startedAt = this.#now
    this.#sentAt = startedAt
    sending.attach(dispatcher.start({ ...task.request, id: `hg_${randomUUID()}` }, sending))
    const ended = await sending.ended
    this.#sendings.delete(sending)
    const { attempts, resource } = sending
    task.attempts += attempts
    if (ended.kind === 'left') {
      purse.giveBack(task.worstNanoUsd ?? 0)
      if (ended.isUnpaid) {
        task.cost(task.worstNanoUsd)
        purse.spend(task.worstNanoUsd ?? 0)
      }
      this.#changes.tell()
      return this.#leftBehind(task)
    }
    const outcome = outcomeOf(ended, task.request.provider)
    const cost = this.#settle(task, outcome)
    this.#changes.tell()
    this.#lookAtLine(resource)
    if (outcome.kind === 'answer' && outcome.usage && resource !== null)
      this.#measure(task, resource, this.#now - startedAt - outcome.queuedMs, outcome.usage)
    return outcome.kind === 'answer' ? outcome : { ...outcome, cost }
  }

  /** What becomes of a payload that was made to leave: one that was never sent has no result. */
  #leftBehind({ attempts }: Task): Failure | null {
    if (this.#isOver || attempts === 0) return null
    const error = this.#marker ? NOT_SENT_AGAIN : LOST
    return { kind: 'failure', error, retryAfterMs: null, mayHaveCost: false, cost: 0 }
  }

  #takeFromBatch(result: Answered | Failed, worstNanoUsd: number): void {
    const { purse } = this.#options
    purse.giveBack(worstNanoUsd)
    purse.spend(result.costNanoUsd ?? worstNanoUsd)
    this.#results.add(result)
    this.#changes.tell()
  }

  /** What was set aside is spent, or free again. Returns the cost; null where it is not known. */
  #settle(task: Task, outcome: Outcome): number | null {
    const { purse, dispatcher } = this.#options
    if (outcome.kind === 'answer' && outcome.usage) task.use(outcome.usage)
    const cost = costOfOutcome(task, outcome, dispatcher.rules.prices, this.#now)
    task.cost(cost)
    purse.giveBack(task.worstNanoUsd ?? 0)
    purse.spend(cost ?? 0)
    return cost
  }

  /** It is sent once more without being asked: what was lost may have to be paid as well. */
  #payForLost(task: Task, sending: Sending): void {
    const { purse } = this.#options
    const costNanoUsd = task.worstNanoUsd
    task.cost(costNanoUsd)
    purse.spend(costNanoUsd ?? 0)
    this.#tell({
      kind: 'attempt_failed',
      id: task.id,
      error: LOST,
      costNanoUsd,
      retryAt: this.#now,
    })
    if (!purse.has(0)) sending.leave({ isPaid: true })
  }

  /** Sets aside the most that a sending can cost. False when there will never be so much, or nothing more is sent. */
  async #setAside({ worstNanoUsd }: Pick<Task, 'worstNanoUsd'>): Promise<boolean> {
    const { purse, maxSpendUsd } = this.#options
    const worst = worstNanoUsd ?? 0
    if (!purse.has(worst) && purse.hasSetAside) {
      this.#tell({ kind: 'held', by: 'money', until: null })
      // It would wait for what waits for it.
      this.#batches.sendNow()
    }
    while (!this.#isStopping && !purse.has(worst) && purse.hasSetAside) await this.#changes.next()
    if (this.#isStopping) return false
    if (!purse.has(worst)) {
      this.#stop({ kind: 'budget_exceeded', spentNanoUsd: purse.spent, maxSpendUsd })
      return false
    }
    purse.setAside(worst)
    return true
  }

  /** Nothing more is begun; what has been sent is waited for. */
  #stop(marker: Marker): void {
    this.#marker = marker
    for (const sending of [...this.#sendings]) if (sending.isStanding) sending.leave()
    this.#changes.tell()
  }

  /** Whether it is a long window that those in line wait for. */
  #lookAtLine(resource: string | null): void {
    if (this.#options.longWindows !== 'stop' || resource === null) return
    if (this.#isLooking || this.#isStopping) return
    this.#isLooking = true
    const looking = this.#look(resource).then((gate) => {
      const window = gate && longWindowOf(gate, this.#now)
      if (window && !this.#isStopping) this.#stop({ kind: 'quota_exhausted', ...window })
    })
    this.#dispatcher.follow(
      looking.finally(() => {
        this.#isLooking = false
      }),
    )
  }

  /** Null where nothing can be seen at present: it is looked at again soon. */
  async #look(resource: string): Promise<ResourceSnapshot | null> {
    try {
      return await this.#dispatcher.store.look(resource)
    } catch (error) {
      if (error instanceof StoreUnreachable) return null
      throw error
    }
  }

  async #keepPace(): Promise<void> {
    const { count } = this.#options
    const { means, resource } = this.#ceiling
    if (!means || resource === null || count === null) return
    const gate = await this.#look(resource)
    const left = count - this.#intake.count + 1
    const until = gate ? this.#sentAt + paceMs(gate, means, left) : this.#now
    if (until <= this.#now) return
    this.#tell({ kind: 'held', by: 'pace', until })
    await this.#sleepUntil(until)
  }

  #measure({ request }: Task, resource: string, latencyMs: number, usage: Usage): void {
    const group = resource.slice(resource.lastIndexOf('/') + 1)
    const inputTokens = request.provider.countedInput(group, usage)
    const answer = { latencyMs, inputTokens, outputTokens: usage.outputTokens }
    this.#dispatcher.follow(this.#ceiling.record(resource, answer))
  }

  /** A listener that throws ends the job: it is called in the midst of other work, which goes on. */
  #tell(event: FleetEvent): void {
    try {
      this.#options.onEvent(event)
    } catch (error) {
      this.breakOff(error)
    }
  }

  get #hasRoom(): boolean {
    return this.#sendings.size < this.#ceiling.choice.chosen
  }

  /** What nobody has read yet takes room as well, and so does what waits to be sent again. */
  get #hasRoomForNew(): boolean {
    const { chosen } = this.#ceiling.choice
    const active = this.#open - this.#retrying
    return active + this.#results.size < chosen && this.#retrying < chosen
  }

  async #sleepUntil(at: EpochMs): Promise<void> {
    const timer = this.#dispatcher.clock.schedule(at, () => this.#changes.tell())
    await this.#changes.until(() => this.#isStopping || this.#now >= at)
    timer.cancel()
  }
}
