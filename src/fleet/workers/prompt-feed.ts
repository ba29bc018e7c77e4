// Puts a job's prompts into the queue. Owns: which go next, how many wait for a worker, and that money is set aside for
// each before. Must not know: what becomes of them there.
import type { Clock } from '../../core/clock.ts'
import { failedUnsent } from '../outcome.ts'
import type { BudgetExceeded, Failed, Payload } from '../payload.ts'
import type { PriceTag } from '../price-tag.ts'
import type { Purse } from '../purse.ts'
import type { SpendingJournal } from '../spending-journal.ts'
import { notUnderCap } from '../under-cap.ts'
import type { PromptQueue, PutEntry } from './prompt-queue.ts'
import type { Known, PromptTask } from './prompt-task.ts'
import type { PromptTasks } from './prompt-tasks.ts'
import type { Settlement } from './settlement.ts'

export interface FeedTerms {
  readonly queue: PromptQueue
  readonly clock: Clock
  readonly purse: Purse
  readonly maxSpendUsd: number
  /** The most that are with workers or wait for one; Infinity: as many as workers take, and some more. */
  readonly maxInFlight: number
  /** The most that a prompt can cost, in nano-dollars; null where that is not known. */
  readonly tagOf: (params: Payload['params']) => PriceTag
}

export interface PromptFeedOptions extends FeedTerms {
  readonly source: AsyncIterator<Payload>
  readonly tasks: PromptTasks
  readonly settlement: Settlement
  readonly spending: Required<SpendingJournal>
  /** Aborted when nothing is to be put there any more, also by a note that could not be written. */
  readonly stop: AbortSignal
  /** For an entry: another one each time. */
  readonly newName: () => string
}

/** So many wait for a worker at first, so that none of them waits for a prompt; more where none is left. */
const LEAST_AHEAD = 32
const MOST_AHEAD = 512
/** But no more than this, and at least one. */
const AHEAD_BYTES = 64 * 1024 * 1024

export class PromptFeed {
  readonly #options: PromptFeedOptions
  #unsendable: Failed[] = []
  /** Taken, while there is no money set free for it. */
  #held: Payload | null = null
  #ahead = LEAST_AHEAD
  #isOver = false
  #marker: BudgetExceeded | null = null

  constructor(options: PromptFeedOptions) {
    this.#options = options
  }

  /** Whether nothing new is put there any more: the source has no more, or there is no money for it. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Where there is no money for the next prompt, for good. */
  get marker(): BudgetExceeded | null {
    return this.#marker
  }

  /** What is to be sent again goes first, then what is new. The journal knows of each before a worker can. */
  async fill(): Promise<void> {
    const { queue, stop } = this.#options
    const tasks: PromptTask[] = []
    const entries: PutEntry[] = []
    for await (const { task, known } of this.#next()) {
      tasks.push(task)
      entries.push(this.#entryOf(task, known))
      await this.#note(task, known)
      if (stop.aborted) break
    }
    if (!stop.aborted) await queue.put(entries)
    else for (const task of tasks) this.#takeBack(task)
  }

  /** What no worker has begun is not sent. */
  async withdraw(): Promise<void> {
    const { queue, tasks } = this.#options
    const waiting = tasks.inQueue.filter(({ task }) => !task.isBegun)
    const isWithdrawn = await queue.withdraw(waiting.map(({ name }) => name))
    for (const [at, { task }] of waiting.entries()) if (isWithdrawn[at]) this.#takeBack(task)
  }

  /** None was left for the next worker. @param inQueue how many were there */
  ranOut(inQueue: number): void {
    if (inQueue >= this.#ahead) this.#ahead = Math.min(this.#ahead * 2, MOST_AHEAD)
  }

  /** Those that cannot be sent, and were not told of yet. */
  takeUnsendable(): Failed[] {
    const results = this.#unsendable
    this.#unsendable = []
    return results
  }

  /** Money is set aside for each. */
  async *#next(): AsyncGenerator<{ task: PromptTask; known: Known }, void, undefined> {
    const { clock, source, tasks } = this.#options
    for (const task of tasks) {
      const { known } = task
      if (task.entryName !== null || task.dueAt > clock.now()) continue
      if (!known) throw new Error(`nothing is known of the prompt ${task.id}`)
      if (known.problem) {
        tasks.delete(task)
        this.#unsendable.push(task.failed(known.problem, clock.now()))
        continue
      }
      if (!this.#setAside(known)) break
      yield { task, known }
    }
    while (!this.#isOver && this.#hasRoom) {
      this.#held ??= await nextOf(source)
      if (!this.#held) this.#isOver = true
      else {
        const known = this.#knownOf(this.#held)
        if (known && !this.#setAside(known)) break
        const { id } = this.#held
        this.#held = null
        if (known) yield { task: tasks.begin(id, clock.now()), known }
      }
    }
  }

  get #hasRoom(): boolean {
    const { tasks, maxInFlight } = this.#options
    let [waiting, bytes] = [0, 0]
    for (const { entryName: name, isBegun, known } of tasks) {
      if (name === null || isBegun) continue
      waiting++
      bytes += known?.bytes ?? 0
    }
    const isAhead = waiting >= this.#ahead || bytes >= AHEAD_BYTES
    return !isAhead && tasks.size < maxInFlight
  }

  /** Null where it is not to be put into the queue: it is there, or cannot be. */
  #knownOf(payload: Payload): Known | null {
    const { tagOf, purse, tasks } = this.#options
    const { id, params } = payload
    const tag = tagOf(params)
    const { worstNanoUsd } = tag
    const why = purse.isBounded ? notUnderCap(tag, params.model) : null
    const problem = why && { status: null, ...why, isRetryable: false }
    const known = { payload, worstNanoUsd, problem, bytes: JSON.stringify(params).length }
    const inherited = tasks.inherited(id)
    if (inherited) {
      inherited.known = known
      return null
    }
    if (!why) return known
    const place = { id, index: tasks.nextIndex() }
    this.#unsendable.push(failedUnsent(place, why.type, why.message))
    return null
  }

  /** False where there is no money for it: for now, or for good. */
  #setAside({ worstNanoUsd }: Known): boolean {
    const { purse, maxSpendUsd } = this.#options
    const worst = worstNanoUsd ?? 0
    if (purse.has(worst)) {
      purse.setAside(worst)
      return true
    }
    if (purse.hasSetAside) return false
    this.#marker ??= { kind: 'budget_exceeded', spentNanoUsd: purse.spent, maxSpendUsd }
    this.#isOver = true
    return false
  }

  #entryOf(task: PromptTask, known: Known): PutEntry {
    const { payload, worstNanoUsd, bytes } = known
    const name = this.#options.newName()
    task.known = known
    task.entryName = name
    task.riskNanoUsd = worstNanoUsd
    task.isBegun = false
    return { name, id: payload.id, entry: { params: payload.params }, bytes }
  }

  /** Once, before it is sent for the first time by this run. */
  async #note(task: PromptTask, { worstNanoUsd }: Known): Promise<void> {
    const { spending } = this.#options
    if (!task.isNoted) await spending.sending({ id: task.id, worstNanoUsd })
    task.isNoted = true
  }

  /** It is not in the queue, and no worker can have it. */
  #takeBack(task: PromptTask): void {
    this.#options.settlement.giveBack(task)
    task.entryName = null
  }
}

async function nextOf(source: AsyncIterator<Payload>): Promise<Payload | null> {
  const { done, value } = await source.next()
  return done ? null : value
}
