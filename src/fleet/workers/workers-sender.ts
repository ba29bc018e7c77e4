// Has a job's prompts sent by workers on other machines. Owns: which prompts are with them, and when one is put
// there, again or for the first time. Must not know: files, how workers send, or what an outcome means.
import { randomUUID } from 'node:crypto'
import type { PromptSender } from '../job/job.ts'
import { failedUnsent } from '../outcome.ts'
import type { BudgetExceeded, FleetResult, Payload } from '../payload.ts'
import type { PriceTag } from '../price-tag.ts'
import type { SpendingJournal } from '../spending-journal.ts'
import { notUnderCap } from '../under-cap.ts'
import { entryName, namesOf } from './entry.ts'
import type { JobOwner } from './job-owner.ts'
import type { PromptQueue, PutEntry } from './prompt-queue.ts'
import { type Known, PromptTask } from './prompt-task.ts'
import { Settlement, type SettlementOptions } from './settlement.ts'
import { orAborted, pause, within } from './waiting.ts'

export interface WorkersSenderOptions extends Omit<SettlementOptions, 'spending'> {
  readonly queue: PromptQueue
  readonly maxSpendUsd: number
  /** The most that are with workers or wait for one; Infinity: as many as workers take, and some more. */
  readonly maxInFlight: number
  /** The most that a prompt can cost, in nano-dollars; null where that is not known. */
  readonly tagOf: (params: Payload['params']) => PriceTag
  /** What names the job, once it has begun. */
  readonly jobKey: () => Promise<string>
  /** Machine and file of the job: only one run can be there at a time. */
  readonly place: string
  /** Whether the prompt of that id has no outcome on the disk. */
  readonly isOpen: (id: string) => boolean
  /** Whether each of its prompts has an outcome on the disk. */
  readonly isFinished: () => boolean
}

/** How often the queue is looked at. */
const LOOK_EVERY_MS = 200
/** So many wait for a worker at first, so that none of them waits for a prompt; more where none is left. */
const LEAST_AHEAD = 32
const MOST_AHEAD = 512
/** But no more than this, and at least one. */
const AHEAD_BYTES = 64 * 1024 * 1024
/** For taking away what is on the disk, at the end. What stays is taken away by the next run. */
const CLOSE_WITHIN_MS = 2000

export class WorkersSender implements PromptSender {
  readonly #options: WorkersSenderOptions
  /** A word of this run's own. */
  readonly #run = randomUUID().slice(0, 8)
  readonly #tasks = new Set<PromptTask>()
  /** What earlier runs have left in the queue, by id: as many as were there. */
  readonly #inherited = new Map<string, PromptTask>()
  /** Entries whose outcome was handed over. They go once it is on the disk. */
  #handedOver: { readonly name: string; readonly id: string }[] = []
  #unsendable: FleetResult[] = []
  /** Taken, while there is no money set free for it. */
  #held: Payload | null = null
  #count = 0
  #puts = 0
  #ahead = LEAST_AHEAD
  #jobKey = ''
  #owner: JobOwner | null = null
  #isFed = false
  #marker: BudgetExceeded | null = null

  constructor(options: WorkersSenderOptions) {
    this.#options = options
  }

  /** Whether there are prompts, and no worker has begun one. */
  get waitsForWorkers(): boolean {
    const tasks = [...this.#tasks]
    return tasks.length > 0 && tasks.every(({ isBegun }) => !isBegun)
  }

  /**
   * @throws JobError while another run has the job; the signal's reason when it is aborted: workers go on with what
   *   they have begun
   */
  async *dispatch(
    payloads: AsyncIterable<Payload>,
    options: { signal: AbortSignal; stop: AbortSignal; spending: Required<SpendingJournal> },
  ): AsyncGenerator<FleetResult, void, undefined> {
    const { signal, stop, spending } = options
    const { clock, purse, onEvent, random } = this.#options
    const settlement = new Settlement({ clock, purse, onEvent, random, spending })
    const source = payloads[Symbol.asyncIterator]()
    const unlessAborted = <T>(work: Promise<T>): Promise<T> => orAborted(signal, work)
    try {
      this.#held = null
      this.#isFed = false
      this.#marker = null
      if (!(await unlessAborted(this.#own(stop)))) return
      await unlessAborted(this.#inherit())
      for (;;) {
        await unlessAborted(this.#owner?.keep() ?? Promise.resolve())
        // First: what an earlier run has paid for may be there.
        yield* this.#collect(settlement, signal)
        if (stop.aborted) await unlessAborted(this.#withdraw(settlement))
        else await unlessAborted(this.#fill(source, spending))
        if (stop.aborted || this.#marker) yield* this.#leaveOpen(settlement)
        yield* this.#handOverUnsendable()
        await unlessAborted(this.#sweep())
        const isIdle = this.#tasks.size === 0
        if (isIdle && (this.#isFed || stop.aborted)) break
        await unlessAborted(pause(clock, LOOK_EVERY_MS))
      }
      if (this.#marker) yield this.#marker
    } finally {
      await source.return?.()
    }
  }

  /** Once the job's files are closed. */
  async close(): Promise<void> {
    const { clock, queue } = this.#options
    await within(clock, CLOSE_WITHIN_MS, this.#clear())
    queue.close()
  }

  /** False where it was stopped before. @throws JobError while another run has it */
  async #own(stop: AbortSignal): Promise<boolean> {
    const { queue, place, jobKey, onEvent } = this.#options
    this.#jobKey = await jobKey()
    const owner = queue.owner(this.#jobKey, this.#run, place)
    const onWait = (holder: string): void => {
      const sentence = `${holder} has this job, or had it a moment ago: it is waited for`
      onEvent({ kind: 'warned', sentence })
    }
    if (await owner.take(stop, onWait)) this.#owner = owner
    return this.#owner !== null
  }

  /** What is in the queue needs no more money: an earlier run has counted it. */
  async #inherit(): Promise<void> {
    const { queue, clock, isOpen } = this.#options
    const useless: string[] = []
    this.#inherited.clear()
    const handedOver = new Set(this.#handedOver.map(({ name }) => name))
    for (const { name, id } of await queue.find(namesOf(this.#jobKey))) {
      if (handedOver.has(name)) continue
      if (id === null || !isOpen(id) || this.#inherited.has(id)) {
        useless.push(name)
        continue
      }
      const task = new PromptTask({ id, index: this.#count++, takenAt: clock.now() })
      task.entryName = name
      this.#inherited.set(id, task)
      this.#tasks.add(task)
    }
    await queue.remove(useless)
  }

  /** What is to be sent again goes first, then what is new. */
  async #fill(source: AsyncIterator<Payload>, spending: Required<SpendingJournal>): Promise<void> {
    const { clock, queue } = this.#options
    const entries: PutEntry[] = []
    for (const task of this.#tasks) {
      if (task.entryName !== null || task.dueAt > clock.now()) continue
      if (!task.known) throw new Error(`nothing is known of the prompt ${task.id}`)
      if (!this.#setAside(task.known)) break
      await this.#note(task, task.known, spending)
      entries.push(this.#entryOf(task, task.known))
    }
    while (!this.#isFed && this.#hasRoom) {
      this.#held ??= await nextOf(source)
      if (!this.#held) this.#isFed = true
      else {
        const known = this.#knownOf(this.#held)
        if (known && !this.#setAside(known)) break
        if (known) {
          const task = this.#begin(known)
          await this.#note(task, known, spending)
          entries.push(this.#entryOf(task, known))
        }
        this.#held = null
      }
    }
    await queue.put(entries)
  }

  get #hasRoom(): boolean {
    let [waiting, bytes] = [0, 0]
    for (const { entryName: name, isBegun, known } of this.#tasks) {
      if (name === null || isBegun) continue
      waiting++
      bytes += known?.bytes ?? 0
    }
    const isAhead = waiting >= this.#ahead || bytes >= AHEAD_BYTES
    return !isAhead && this.#tasks.size < this.#options.maxInFlight
  }

  /** Null where it is not to be put into the queue: it is there, or cannot be. */
  #knownOf(payload: Payload): Known | null {
    const { tagOf, purse } = this.#options
    const { id, params } = payload
    const tag = tagOf(params)
    const { worstNanoUsd } = tag
    const known = { payload, worstNanoUsd, bytes: JSON.stringify(params).length }
    const inherited = this.#inherited.get(id)
    if (inherited) {
      inherited.known = known
      return null
    }
    const problem = purse.isBounded ? notUnderCap(tag, params.model) : null
    if (!problem) return known
    const place = { id, index: this.#count++ }
    this.#unsendable.push(failedUnsent(place, problem.type, problem.message))
    return null
  }

  /** Once, before it is sent for the first time by this run. */
  async #note(
    task: PromptTask,
    { worstNanoUsd }: Known,
    spending: Required<SpendingJournal>,
  ): Promise<void> {
    if (!task.isNoted) await spending.sending({ id: task.id, worstNanoUsd })
    task.isNoted = true
  }

  #begin({ payload: { id } }: Known): PromptTask {
    const { clock } = this.#options
    const task = new PromptTask({ id, index: this.#count++, takenAt: clock.now() })
    this.#tasks.add(task)
    return task
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
    this.#isFed = true
    return false
  }

  #entryOf(task: PromptTask, known: Known): PutEntry {
    const { payload, worstNanoUsd } = known
    const name = entryName(this.#jobKey, this.#run, this.#puts++)
    task.known = known
    task.entryName = name
    task.riskNanoUsd = worstNanoUsd
    task.isBegun = false
    return { name, id: payload.id, entry: { params: payload.params }, bytes: known.bytes }
  }

  *#handOverUnsendable(): Generator<FleetResult> {
    const results = this.#unsendable
    this.#unsendable = []
    yield* results
  }

  /** What no worker has begun is not sent. */
  async #withdraw(settlement: Settlement): Promise<void> {
    const waiting = this.#inQueue().filter(({ task }) => !task.isBegun)
    const isWithdrawn = await this.#options.queue.withdraw(waiting.map(({ name }) => name))
    for (const [at, { task }] of waiting.entries()) {
      if (!isWithdrawn[at]) continue
      settlement.giveBack(task)
      task.entryName = null
    }
  }

  /** Those that are not in the queue are not sent again: nothing is, or there is no money for it. */
  *#leaveOpen(settlement: Settlement): Generator<FleetResult> {
    for (const task of this.#tasks) {
      if (task.entryName !== null) continue
      this.#tasks.delete(task)
      const result = settlement.leftOpen(task)
      if (result) yield result
    }
  }

  async *#collect(settlement: Settlement, signal: AbortSignal): AsyncGenerator<FleetResult> {
    const { queue } = this.#options
    const inQueue = this.#inQueue()
    const sights = await orAborted(signal, queue.look(inQueue.map(({ name }) => name)))
    const over = inQueue.flatMap(({ task, name }, at) => {
      const sight = sights[at] ?? 'missing'
      task.isBegun ||= sight !== 'waiting' && sight !== 'missing'
      return sight === 'waiting' || sight === 'begun' ? [] : [{ task, name, sight }]
    })
    // None was left for the next worker.
    if (!sights.includes('waiting') && inQueue.length >= this.#ahead)
      this.#ahead = Math.min(this.#ahead * 2, MOST_AHEAD)
    const done: string[] = []
    const entries = queue.read(over.map(({ name }) => name))
    for (const { task, name, sight } of over) {
      const { value } = await orAborted(signal, entries.next())
      const outcome = value?.outcome ?? null
      // Nobody but a worker that lives keeps it from being removed.
      if (!outcome && sight === 'orphaned' && !(await this.#isRemoved(name, signal))) continue
      const isForgotten = !task.known && outcome?.kind !== 'answered'
      const result = isForgotten ? null : await orAborted(signal, settlement.settle(task, outcome))
      if (isForgotten) this.#forget(task)
      if (result) {
        this.#tasks.delete(task)
        this.#handedOver.push({ name, id: task.id })
        yield result
      } else done.push(name)
      task.entryName = null
    }
    settlement.tellLosses()
    await orAborted(signal, queue.remove(done))
  }

  #inQueue(): { readonly task: PromptTask; readonly name: string }[] {
    return [...this.#tasks].flatMap((task) => {
      const { entryName: name } = task
      return name === null ? [] : [{ task, name }]
    })
  }

  /** What an earlier run has put there has failed: the source will come to it. */
  #forget(task: PromptTask): void {
    this.#inherited.delete(task.id)
    this.#tasks.delete(task)
  }

  async #isRemoved(name: string, signal: AbortSignal): Promise<boolean> {
    const [isRemoved] = await orAborted(signal, this.#options.queue.remove([name]))
    return isRemoved === true
  }

  /** Takes away what is on the disk. */
  async #sweep(): Promise<void> {
    const { queue, isOpen } = this.#options
    const kept = this.#handedOver.filter(({ id }) => !isOpen(id))
    if (kept.length === 0) return
    this.#handedOver = this.#handedOver.filter(({ id }) => isOpen(id))
    await queue.remove(kept.map(({ name }) => name))
  }

  /** Takes away all that is on the disk: of a job that is finished, what killed runs have left as well. */
  async #clear(): Promise<void> {
    const { queue, isFinished } = this.#options
    if (!this.#owner) return
    await this.#sweep()
    if (isFinished()) {
      const left = await queue.find(namesOf(this.#jobKey))
      await queue.remove(left.map(({ name }) => name))
    }
    await this.#owner.release()
  }
}

async function nextOf(source: AsyncIterator<Payload>): Promise<Payload | null> {
  const { done, value } = await source.next()
  return done ? null : value
}
