// What is still to be written. Owns: gathering operations into commits, one commit at a time, and
// keeping what could not be written until it can. Must not know: what operations mean to budgets.
//
// Operations that come while a commit is under way are committed together next: the busier it is, the
// more share one write to the disk. What somebody waits for is written at once; what nobody waits for
// may linger for a moment, so that fewer commits carry more.
import type { Clock, Timer } from '../core/clock.ts'
import type { LedgerBackend, LedgerOperation, LedgerResult } from './backend.ts'
import { LedgerUnavailable } from './ledger.ts'
import type { LedgerEvents } from './ledger-events.ts'

const MOST_PER_COMMIT = 512
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5000

interface Entry {
  operation: LedgerOperation
  readonly resolve: (result: LedgerResult) => void
  readonly reject: (error: Error) => void
  /** It was in a commit that failed: whether it was written is not known. */
  wasTried: boolean
  /** Nobody waits for its answer any more, so that it must not be written. */
  isWithdrawn: boolean
}

export interface CommitQueueSettings {
  readonly clock: Clock
  readonly patienceMs: number
  readonly mostPending: number
  /** How long what nobody waits for may wait for company. */
  readonly lingerMs: number
  readonly events: Pick<LedgerEvents, 'unavailable' | 'returned' | 'failed'>
}

export class CommitQueue {
  readonly #backend: Pick<LedgerBackend, 'commit'>
  readonly #settings: CommitQueueSettings
  #waiting: Entry[] = []
  #underWay: readonly Entry[] = []
  #withdrawn = 0
  /** So many are committed one by one, for one of them may be what cannot be written. */
  #singly = 0
  #pauseMs = 0
  /** Somebody waits for so many of those that are to be written. */
  #urgent = 0
  #hurry: () => void = () => {}
  #isRunning = false
  #isClosed = false
  #isAbandoned = false
  #whenIdle: (() => void) | null = null
  #pause: { readonly timer: Timer; readonly end: () => void } | null = null
  /** Null while it can be written, as far as is known. */
  #trouble: { readonly since: number; readonly error: LedgerUnavailable } | null = null

  constructor(backend: Pick<LedgerBackend, 'commit'>, settings: CommitQueueSettings) {
    this.#backend = backend
    this.#settings = settings
  }

  get isAvailable(): boolean {
    return this.#trouble === null
  }

  get pending(): number {
    return this.#waiting.length + this.#underWay.length - this.#withdrawn
  }

  /**
   * Something that may be refused. @throws LedgerUnavailable when it is not written in `patienceMs`:
   * then it never is. For its sake nothing is begun whose end there would be no room to keep.
   */
  request(operation: LedgerOperation & { readonly kind: 'reserve' }): Promise<LedgerResult> {
    if (this.#isClosed) return Promise.reject(new LedgerUnavailable('the ledger is closed'))
    if (this.pending >= this.#settings.mostPending)
      return Promise.reject(new LedgerUnavailable(this.#explain('too much is still to be written')))
    const { promise, resolve, reject } = Promise.withResolvers<LedgerResult>()
    const { clock, patienceMs } = this.#settings
    const timer = clock.schedule(clock.now() + patienceMs, () => this.#withdraw(entry, reject))
    const entry = entryOf(
      operation,
      (result) => {
        timer.cancel()
        resolve(result)
      },
      (error) => {
        timer.cancel()
        reject(error)
      },
    )
    if (operation.reservation.budgets.length > 0) {
      this.#urgent++
      const isAnswered = (): void => void this.#urgent--
      promise.then(isAnswered, isAnswered)
    }
    this.#add(entry)
    return promise
  }

  /** Something that has happened: kept until it is written, however long that takes. */
  tell(operation: LedgerOperation): Promise<LedgerResult> {
    const { promise, resolve, reject } = Promise.withResolvers<LedgerResult>()
    // Its failure is told by `events.failed`: not everybody who tells waits to hear of it.
    promise.catch(() => {})
    const entry = entryOf(operation, resolve, reject)
    if (this.#isClosed) this.#fail(entry, new LedgerUnavailable('the ledger is closed'))
    else this.#add(entry)
    return promise
  }

  /** Takes no more, and writes what there is as far as the time allows; what is left over rejects. */
  async close(withinMs: number): Promise<void> {
    this.#isClosed = true
    this.#pauseMs = 0
    this.#hurry()
    this.#resume()
    if (this.#isRunning) await this.#idleWithin(withinMs)
    this.#isAbandoned = true
    this.#resume()
    this.#failLeftOver()
  }

  #failLeftOver(): void {
    const left = this.#waiting.filter(({ isWithdrawn }) => !isWithdrawn)
    this.#waiting = []
    this.#withdrawn = 0
    for (const entry of left)
      this.#fail(entry, new LedgerUnavailable(this.#explain('closed before this was written')))
  }

  #idleWithin(withinMs: number): Promise<void> {
    const { clock } = this.#settings
    return new Promise((resolve) => {
      const timer = clock.schedule(clock.now() + withinMs, resolve)
      this.#whenIdle = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  #add(entry: Entry): void {
    this.#waiting.push(entry)
    if (this.#isUrgent) this.#hurry()
    void this.#run()
  }

  #withdraw(entry: Entry, reject: (error: Error) => void): void {
    entry.isWithdrawn = true
    this.#withdrawn++
    const why = this.#explain(`not written within ${this.#settings.patienceMs} ms`)
    reject(new LedgerUnavailable(why, this.#trouble?.error))
  }

  #explain(what: string): string {
    return this.#trouble ? `${what}: ${this.#trouble.error.message}` : `the ledger: ${what}`
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    // What is told in one turn of the event loop is written together.
    await null
    if (this.#mayLinger) await this.#linger()
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      await this.#commit(batch)
      if (this.#isAbandoned) this.#failLeftOver()
      else if (this.#pauseMs > 0) await this.#wait()
      else if (this.#mayLinger) await this.#linger()
    }
    this.#isRunning = false
    this.#whenIdle?.()
  }

  /** Until somebody waits, enough has come together, or the moment is over. */
  async #linger(): Promise<void> {
    const { clock, lingerMs } = this.#settings
    await new Promise<void>((resolve) => {
      const timer = clock.schedule(clock.now() + lingerMs, resolve)
      this.#hurry = () => {
        timer.cancel()
        resolve()
      }
    })
    this.#hurry = () => {}
  }

  get #mayLinger(): boolean {
    const isQuiet = this.#waiting.length > 0 && !this.#isUrgent && !this.#isClosed
    return isQuiet && this.#settings.lingerMs > 0
  }

  get #isUrgent(): boolean {
    return this.#urgent > 0 || this.#waiting.length >= MOST_PER_COMMIT
  }

  /** The oldest that are to be written. Called while no commit is under way. */
  #take(): readonly Entry[] {
    if (this.#withdrawn > 0) this.#dropWithdrawn()
    if (this.#singly === 0) return this.#waiting.splice(0, MOST_PER_COMMIT)
    this.#singly--
    return this.#waiting.splice(0, 1)
  }

  #dropWithdrawn(): void {
    this.#waiting = this.#waiting.flatMap((entry) => {
      if (!entry.isWithdrawn) return [entry]
      return entry.wasTried ? releaseOf(entry) : []
    })
    this.#withdrawn = 0
  }

  async #commit(batch: readonly Entry[]): Promise<void> {
    this.#underWay = batch
    try {
      const results = await this.#backend.commit(batch.map(({ operation }) => operation))
      this.#written(batch, results)
    } catch (error) {
      if (error instanceof LedgerUnavailable) this.#keep(batch, error)
      else this.#refused(batch, error)
    } finally {
      this.#underWay = []
    }
  }

  #written(batch: readonly Entry[], results: readonly LedgerResult[]): void {
    this.#underWay = []
    const releases = batch.filter(({ isWithdrawn }) => isWithdrawn).flatMap(releaseOf)
    this.#withdrawn -= releases.length
    this.#waiting.unshift(...releases)
    this.#available()
    for (const [index, entry] of batch.entries()) {
      const result = results[index]
      if (result === undefined) entry.reject(new Error('the ledger answered too little'))
      else entry.resolve(result)
    }
  }

  /** One of them cannot be written, ever. Nothing was: each alone, it holds up none of the others. */
  #refused(batch: readonly Entry[], error: unknown): void {
    this.#available()
    const [only, ...others] = batch
    if (!only || others.length > 0) {
      this.#singly = batch.length
      this.#waiting.unshift(...batch)
      return
    }
    if (only.isWithdrawn) this.#withdrawn--
    this.#fail(only, error instanceof Error ? error : new Error(String(error)))
  }

  #keep(batch: readonly Entry[], error: LedgerUnavailable): void {
    for (const entry of batch) entry.wasTried = true
    this.#waiting.unshift(...batch)
    this.#pauseMs = Math.min(Math.max(this.#pauseMs * 2, FIRST_PAUSE_MS), LONGEST_PAUSE_MS)
    if (this.#trouble) return
    this.#trouble = { since: this.#settings.clock.now(), error }
    this.#settings.events.unavailable(error.message)
  }

  #available(): void {
    this.#pauseMs = 0
    if (!this.#trouble) return
    const { since } = this.#trouble
    this.#trouble = null
    this.#settings.events.returned(this.#settings.clock.now() - since, this.pending)
  }

  #fail(entry: Entry, error: Error): void {
    entry.reject(error)
    this.#settings.events.failed(error)
  }

  #wait(): Promise<void> {
    const { clock } = this.#settings
    return new Promise((resolve) => {
      const end = (): void => {
        this.#pause = null
        resolve()
      }
      this.#pause = { timer: clock.schedule(clock.now() + this.#pauseMs, end), end }
    })
  }

  #resume(): void {
    this.#pause?.timer.cancel()
    this.#pause?.end()
  }
}

function entryOf(
  operation: LedgerOperation,
  resolve: Entry['resolve'],
  reject: Entry['reject'],
): Entry {
  return { operation, resolve, reject, wasTried: false, isWithdrawn: false }
}

/** Takes back a reservation that may have been written, for a caller who has been told that it is not. */
function releaseOf({ operation }: Entry): Entry[] {
  if (operation.kind !== 'reserve') return []
  const release = { kind: 'release', id: operation.reservation.call.id } as const
  return [
    entryOf(
      release,
      () => {},
      () => {},
    ),
  ]
}
