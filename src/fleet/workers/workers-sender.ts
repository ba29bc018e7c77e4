// Has a job's prompts sent by workers on other machines. Owns: how many are with them, the job's money while
// they are, and what becomes of a prompt whose worker is gone. Must not know: files, or how workers send.
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { FleetEvent } from '../events.ts'
import type { PromptSender } from '../job/job.ts'
import { failedUnsent } from '../outcome.ts'
import type { Answered, BudgetExceeded, Failed, FleetResult, Payload } from '../payload.ts'
import type { Purse } from '../purse.ts'
import { type Entry, entryId, namesOf } from './entry.ts'
import type { PromptQueue } from './prompt-queue.ts'

export interface WorkersSenderOptions {
  readonly queue: Pick<PromptQueue, 'put' | 'look' | 'read' | 'remove' | 'withdraw' | 'close'>
  readonly clock: Clock
  readonly purse: Purse
  readonly maxSpendUsd: number
  /** The most that are with workers or wait for one; Infinity: as many as workers take, and some more. */
  readonly maxInFlight: number
  /** The most that a prompt can cost, in nano-dollars; null where that is not known. */
  readonly worstOf: (params: Payload['params']) => number | null
  /** What names the job, once it has begun. */
  readonly jobKey: () => Promise<string>
  /** How many answers of the job are on the disk, those of earlier runs among them. */
  readonly answersKept: () => number
  /** Whether each of its prompts has an outcome on the disk. */
  readonly isFinished: () => boolean
  /** Aborted when nothing new is to be sent. */
  readonly stop: AbortSignal
  readonly onEvent: (event: FleetEvent) => void
}

/** A prompt that is with a worker, or waits for one. */
interface Task {
  readonly payload: Payload
  readonly index: number
  readonly entryId: string
  readonly worstNanoUsd: number | null
  readonly takenAt: EpochMs
  /** How many workers were lost with it. */
  losses: number
  isBegun: boolean
}

type Outcome = NonNullable<Entry['outcome']>

/** How often the queue is looked at. */
const LOOK_EVERY_MS = 200
/** So many wait for a worker, so that none of them waits for a prompt. */
const AHEAD = 32
/** A prompt that so many workers were lost with may be why. */
const MOST_LOSSES = 3
/** For taking away what is on the disk, at the end. What stays is taken away by the next run. */
const CLOSE_WITHIN_MS = 2000

export class WorkersSender implements PromptSender {
  readonly #options: WorkersSenderOptions
  readonly #tasks = new Map<string, Task>()
  #results: (Answered | Failed)[] = []
  /** Taken, while there is no money set free for it. */
  #held: Payload | null = null
  #count = 0
  #jobKey = ''
  #isFed = false
  #marker: BudgetExceeded | null = null
  /** Entries that were handed over, and how many answers have to be on the disk before they may go. */
  readonly #handedOver: { readonly entryId: string; readonly answers: number }[] = []
  #answers: number

  constructor(options: WorkersSenderOptions) {
    this.#options = options
    this.#answers = options.answersKept()
  }

  /** Whether there are prompts, and no worker has begun one. */
  get waitsForWorkers(): boolean {
    const tasks = [...this.#tasks.values()]
    return tasks.length > 0 && tasks.every(({ isBegun }) => !isBegun)
  }

  /** @throws the signal's reason when it is aborted: workers go on with what they have begun */
  async *dispatch(
    payloads: AsyncIterable<Payload>,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<FleetResult, void, undefined> {
    const { jobKey, stop } = this.#options
    const source = payloads[Symbol.asyncIterator]()
    this.#jobKey = await jobKey()
    try {
      for (;;) {
        await orAborted(signal, this.#feed(source))
        if (stop.aborted) await orAborted(signal, this.#withdraw())
        await orAborted(signal, this.#collect())
        yield* this.#handOver()
        await orAborted(signal, this.#sweep())
        if (this.#isFed && this.#tasks.size === 0) break
        await this.#pause(LOOK_EVERY_MS, signal)
      }
      if (this.#marker) yield this.#marker
    } finally {
      await source.return?.()
    }
  }

  /** Once the job's files are closed. */
  async close(): Promise<void> {
    const enough = new AbortController()
    await Promise.race([this.#clear(), this.#pause(CLOSE_WITHIN_MS, enough.signal)])
    enough.abort()
    this.#options.queue.close()
  }

  async #feed(source: AsyncIterator<Payload>): Promise<void> {
    while (!this.#isFed && this.#hasRoom) {
      this.#held ??= await nextOf(source)
      if (!this.#held || this.#options.stop.aborted) this.#isFed = true
      else if (!(await this.#put(this.#held))) return
      else this.#held = null
    }
  }

  get #hasRoom(): boolean {
    let waiting = 0
    for (const { isBegun } of this.#tasks.values()) if (!isBegun) waiting++
    return waiting < AHEAD && this.#tasks.size < this.#options.maxInFlight
  }

  /** False where there is no money for it: for now, or for good. */
  async #put(payload: Payload): Promise<boolean> {
    const { queue, purse, worstOf, maxSpendUsd, clock } = this.#options
    const { id, params } = payload
    const worstNanoUsd = worstOf(params)
    if (worstNanoUsd === null && purse.isBounded) {
      const why = `The price of ${params.model} is not known, and maxSpendUsd bounds this job: put its price under prices in the configuration.`
      this.#results.push(failedUnsent({ id, index: this.#count++ }, 'price_unknown', why))
      return true
    }
    const worst = worstNanoUsd ?? 0
    if (!purse.has(worst)) {
      if (purse.hasSetAside) return false
      this.#marker = { kind: 'budget_exceeded', spentNanoUsd: purse.spent, maxSpendUsd }
      this.#isFed = true
      return false
    }
    purse.setAside(worst)
    const name = entryId(this.#jobKey, payload)
    const index = this.#count++
    const takenAt = clock.now()
    const known = { payload, index, entryId: name, worstNanoUsd, takenAt }
    this.#tasks.set(name, { ...known, losses: 0, isBegun: false })
    // An earlier run may have put it there, and a worker may have answered it since.
    await queue.put(name, { losses: 0, params })
    return true
  }

  /** What no worker has begun is not sent. What was lost has cost something, and gets an outcome. */
  async #withdraw(): Promise<void> {
    const { queue, purse } = this.#options
    for (const task of [...this.#tasks.values()]) {
      if (task.isBegun || task.losses > 0 || !(await queue.withdraw(task.entryId))) continue
      purse.giveBack(task.worstNanoUsd ?? 0)
      this.#tasks.delete(task.entryId)
    }
  }

  async #collect(): Promise<void> {
    const { queue } = this.#options
    if (this.#tasks.size === 0) return
    const { waiting, active, ended } = await queue.look()
    let lost = 0
    for (const task of [...this.#tasks.values()]) {
      const { entryId: name } = task
      const hasEnded = ended.has(name)
      task.isBegun ||= hasEnded || active.has(name)
      if (!hasEnded && (waiting.has(name) || active.has(name))) continue
      const entry = await queue.read(name)
      // Between two of the looks at it.
      if (!hasEnded && entry) continue
      if (entry) this.#payForLosses(task, entry.losses)
      if (entry?.outcome) this.#finish(task, entry.outcome)
      else {
        lost++
        await this.#lose(task)
      }
    }
    if (lost > 0) this.#warn(lost)
  }

  #finish(task: Task, outcome: Outcome): void {
    const { purse } = this.#options
    purse.giveBack(task.worstNanoUsd ?? 0)
    purse.spend(outcome.costNanoUsd ?? 0)
    const attempts = outcome.attempts + task.losses
    this.#end(task, { ...outcome, attempts, ...this.#costOf(task, outcome.costNanoUsd) })
  }

  /** Its worker is gone, and may have sent it. */
  async #lose(task: Task): Promise<void> {
    const { queue, purse } = this.#options
    this.#payForLosses(task, task.losses + 1)
    const worst = task.worstNanoUsd ?? 0
    purse.giveBack(worst)
    if (task.losses < MOST_LOSSES && purse.has(worst)) {
      purse.setAside(worst)
      task.isBegun = false
      await queue.remove(task.entryId)
      await queue.put(task.entryId, { losses: task.losses, params: task.payload.params })
      return
    }
    const message = `${task.losses} workers were lost while they had this prompt.`
    const error = { status: null, type: 'worker_lost', message, isRetryable: true }
    const nothing = { tokens: null, attempts: task.losses, latencyMs: 0 }
    this.#end(task, { kind: 'failed', error, ...nothing, ...this.#costOf(task, 0) })
  }

  #payForLosses(task: Task, losses: number): void {
    const { purse } = this.#options
    purse.spend(Math.max(0, losses - task.losses) * (task.worstNanoUsd ?? 0))
    task.losses = Math.max(task.losses, losses)
  }

  /** Of all its attempts: what was lost counts as the most that it can have cost. */
  #costOf({ losses, worstNanoUsd }: Task, last: number | null) {
    const isUnknown = last === null || (losses > 0 && worstNanoUsd === null)
    const costNanoUsd = isUnknown ? null : last + losses * (worstNanoUsd ?? 0)
    return { costNanoUsd, costUsd: costNanoUsd === null ? null : costNanoUsd / 1e9 }
  }

  #end(task: Task, outcome: Outcome & { readonly costUsd: number | null }): void {
    const { payload, index, takenAt, entryId: name } = task
    const latencyMs = this.#options.clock.now() - takenAt
    this.#results.push({ ...outcome, id: payload.id, index, latencyMs })
    this.#tasks.delete(name)
    if (outcome.kind === 'answered') this.#answers++
    this.#handedOver.push({ entryId: name, answers: this.#answers })
  }

  *#handOver(): Generator<FleetResult> {
    const results = this.#results
    this.#results = []
    yield* results
  }

  /** Takes away what is on the disk by now. */
  async #sweep(): Promise<void> {
    const { queue, answersKept } = this.#options
    for (let next = this.#handedOver[0]; next; next = this.#handedOver[0]) {
      if (answersKept() < next.answers) return
      await queue.remove(next.entryId)
      this.#handedOver.shift()
    }
  }

  /** Takes away all that is on the disk: of a job that is finished, what killed runs have left as well. */
  async #clear(): Promise<void> {
    const { queue, isFinished } = this.#options
    await this.#sweep()
    if (!isFinished() || this.#jobKey === '') return
    const { ended } = await queue.look()
    for (const name of ended) if (name.startsWith(namesOf(this.#jobKey))) await queue.remove(name)
  }

  #warn(lost: number): void {
    const prompts = lost === 1 ? '1 prompt was' : `${lost} prompts were`
    const sentence = `${prompts} with a worker that is gone: counted at the most that this can have cost`
    this.#options.onEvent({ kind: 'warned', sentence })
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const over = Promise.withResolvers<void>()
    const timer = clock.schedule(clock.now() + ms, over.resolve)
    await orAborted(signal, over.promise).finally(() => timer.cancel())
  }
}

async function nextOf(source: AsyncIterator<Payload>): Promise<Payload | null> {
  const { done, value } = await source.next()
  return done ? null : value
}

/** Rejects with the signal's reason as soon as it is aborted, whatever becomes of the work. */
async function orAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
