// Has a job's prompts sent by workers on other machines. Owns: who has the job, and the way of each prompt's outcome out
// of the queue. Must not know: files, how workers send, what is put there next, or what an outcome means.
import { randomUUID } from 'node:crypto'
import type { PromptSender } from '../job/job.ts'
import type { FleetResult, Payload } from '../payload.ts'
import type { SpendingJournal } from '../spending-journal.ts'
import { entryName, namesOf } from './entry.ts'
import type { JobOwner } from './job-owner.ts'
import { type FeedTerms, PromptFeed } from './prompt-feed.ts'
import { PromptTasks } from './prompt-tasks.ts'
import { Settlement, type SettlementOptions } from './settlement.ts'
import { orAborted, pause, within } from './waiting.ts'

export interface WorkersSenderOptions extends FeedTerms, Omit<SettlementOptions, 'spending'> {
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
/** For taking away what is on the disk, at the end. What stays is taken away by the next run. */
const CLOSE_WITHIN_MS = 2000

export class WorkersSender implements PromptSender {
  readonly #options: WorkersSenderOptions
  /** A word of this run's own. */
  readonly #run = randomUUID().slice(0, 8)
  readonly #tasks = new PromptTasks()
  /** Entries whose outcome was handed over. They go once it is on the disk. */
  #handedOver: { readonly name: string; readonly id: string }[] = []
  #puts = 0
  #jobKey = ''
  #owner: JobOwner | null = null

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
    const feed = new PromptFeed({
      ...this.#options,
      source,
      tasks: this.#tasks,
      settlement,
      spending,
      stop,
      newName: () => entryName(this.#jobKey, this.#run, this.#puts++),
    })
    const unlessAborted = <T>(work: Promise<T>): Promise<T> => orAborted(signal, work)
    try {
      if (!(await unlessAborted(this.#own(stop)))) return
      await unlessAborted(this.#inherit())
      for (;;) {
        await unlessAborted(this.#owner?.keep() ?? Promise.resolve())
        // First: what an earlier run has paid for may be there.
        yield* this.#collect(settlement, feed, signal)
        if (stop.aborted) await unlessAborted(feed.withdraw())
        else await unlessAborted(feed.fill())
        if (stop.aborted || feed.marker) yield* this.#leaveOpen(settlement)
        yield* feed.takeUnsendable()
        await unlessAborted(this.#sweep())
        const isIdle = this.#tasks.size === 0
        if (isIdle && (feed.isOver || stop.aborted)) break
        await unlessAborted(pause(clock, LOOK_EVERY_MS))
      }
      if (feed.marker) yield feed.marker
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
    this.#tasks.forgetInherited()
    const handedOver = new Set(this.#handedOver.map(({ name }) => name))
    for (const { name, id } of await queue.find(namesOf(this.#jobKey))) {
      if (handedOver.has(name)) continue
      if (id === null || !isOpen(id) || this.#tasks.inherited(id)) {
        useless.push(name)
        continue
      }
      this.#tasks.inherit(id, name, clock.now())
    }
    await queue.remove(useless)
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

  async *#collect(
    settlement: Settlement,
    feed: PromptFeed,
    signal: AbortSignal,
  ): AsyncGenerator<FleetResult> {
    const { queue } = this.#options
    const { inQueue } = this.#tasks
    const sights = await orAborted(signal, queue.look(inQueue.map(({ name }) => name)))
    const over = inQueue.flatMap(({ task, name }, at) => {
      const sight = sights[at] ?? 'missing'
      task.isBegun ||= sight !== 'waiting' && sight !== 'missing'
      return sight === 'waiting' || sight === 'begun' ? [] : [{ task, name, sight }]
    })
    if (!sights.includes('waiting')) feed.ranOut(inQueue.length)
    const done: string[] = []
    const entries = queue.read(over.map(({ name }) => name))
    for (const { task, name, sight } of over) {
      const { value } = await orAborted(signal, entries.next())
      const outcome = value?.outcome ?? null
      // Nobody but a worker that lives keeps it from being removed.
      if (!outcome && sight === 'orphaned' && !(await this.#isRemoved(name, signal))) continue
      const isForgotten = !task.known && outcome?.kind !== 'answered'
      const result = isForgotten ? null : await orAborted(signal, settlement.settle(task, outcome))
      if (isForgotten) this.#tasks.forget(task)
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
