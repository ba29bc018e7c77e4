// Those payloads of one job that go as batches. Owns: which those are, what waits for the next batch, and when
// the journal may forget one. Must not know: money, or payloads that are sent one by one.
import type { EpochMs, Timer } from '../core/clock.ts'
import type { Limit } from '../core/limit.ts'
import { bindsMoney } from '../dispatch/call-accounts.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import { ANONYMOUS, type Subject } from '../policy/subject.ts'
import { BatchBooks } from './batch/batch-books.ts'
import type { BatchEvent, BatchJournal, FleetBatches, PendingBatch } from './batch/batch-record.ts'
import { batchResults } from './batch/batch-route.ts'
import { chooseRoute } from './batch/choose-route.ts'
import { type PlacedPayload, SEND_NOW } from './batch/draft.ts'
import { batchCall } from './batch-call.ts'
import type { Changes } from './changes.ts'
import { DirectForecast } from './direct-forecast.ts'
import type { MessageRequest, RequestTerms } from './message-request.ts'
import type { Answered, Failed, FleetResult } from './payload.ts'

export interface RunBatchesOptions {
  readonly dispatcher: Dispatcher
  readonly terms: RequestTerms
  /** How long answers may take, for payloads that say nothing of it; null: they cannot wait. */
  readonly withinMs: number | null
  /** What is configured for a resource. */
  readonly limitsOf: (resource: string) => readonly Limit[]
  readonly batches: FleetBatches | null
  readonly changes: Changes
  /** Whether results are wanted in the order in which payloads were put. */
  readonly inOrder: boolean
  /** The next one comes when all are read that can be. */
  readonly onResult: (result: Answered | Failed, from: BatchOrigin) => void
  readonly isRead: () => boolean
  /** So much was set aside for what is not waited for any more. `isSent`: it may cost as much. */
  readonly onLeft: (worstNanoUsd: number, isSent: boolean) => void
  readonly onEvent: (event: BatchEvent) => void
  readonly failed: (error: unknown) => void
}

/** A payload that is to be sent in one way or the other. */
export interface ForRoute {
  readonly request: MessageRequest
  readonly limitGroup: string
  /** From now on; null: as all of the job. */
  readonly withinMs: number | null
  /** Payloads that are in no batch and have no answer, this one among them. */
  readonly left: number
}

export interface BatchOrigin {
  /** So much was set aside for it. */
  readonly worstNanoUsd: number
  /** Whether a former run has left it: its index is one of that run. */
  readonly isOfFormerRun: boolean
}

/** A payload that waits for others to fill its batch with goes without them after that. */
const FILLED_WITHIN_MS = 60_000

/** Who keeps no journal loses its batches with the program. */
const NO_JOURNAL: BatchJournal = {
  async submitting() {},
  async submitted() {},
  async ended() {},
}

export class RunBatches {
  readonly #options: RunBatchesOptions
  readonly #startedAt: EpochMs
  readonly #left = new AbortController()
  readonly #directForecast: DirectForecast
  /** On its way into a batch. */
  #next: PlacedPayload | null = null
  /** Whether what was put is not to wait for more. */
  #isDue = false
  #fillTimer: Timer | null = null
  #isClosed = false
  #isRunning = false
  /** Payloads without a result, and what is set aside for them: before their batch is created, and after. */
  #open = 0
  #unsentNanoUsd = 0
  #sentNanoUsd = 0
  /** Ids of what former runs have left, without a result. */
  readonly #former: Set<string>
  /** Results that whoever asked for them has not done with. */
  readonly #unread = new Set<FleetResult>()
  /** All results of these have come. */
  #ended: PendingBatch[] = []

  constructor(options: RunBatchesOptions) {
    this.#options = options
    this.#startedAt = options.dispatcher.clock.now()
    const { batches } = options
    this.#directForecast = new DirectForecast(options)
    const former = (batches?.pending ?? []).flatMap(({ payloads }) => payloads)
    this.#former = new Set(former.map(({ id }) => id))
    this.#open = former.length
    this.#sentNanoUsd = worstOfPending(batches)
    if (batches?.pending?.length) this.#start()
  }

  /** Whether nothing of it is under way. */
  get isOver(): boolean {
    return !this.#isRunning
  }

  /**
   * Whether a payload goes as part of a batch, where that is known to cost less. A budget that binds is kept one by
   * one: what a batch will have cost cannot be set aside there.
   */
  async takes({ request, limitGroup, withinMs, left }: ForRoute): Promise<boolean> {
    const { dispatcher, withinMs: usual } = this.#options
    const now = dispatcher.clock.now()
    const ofJob = usual === null ? null : this.#startedAt + usual - now
    const leftMs = withinMs ?? ofJob
    if (leftMs === null || bindsMoney(this.#subject)) return false
    const directMs = await this.#directForecast.directMs(request, limitGroup, left + this.#open)
    return chooseRoute({ leftMs, directMs }) === 'batch'
  }

  /** Hands over one for which money was set aside. Resolves when there is room for the next. */
  async put(payload: PlacedPayload): Promise<void> {
    const { batches, changes, dispatcher, onLeft } = this.#options
    const { signal } = this.#left
    const worst = payload.worstNanoUsd ?? 0
    await changes.until(() => this.#next === null || this.#isClosed || signal.aborted)
    if (!signal.aborted && !this.#isClosed) await batches?.journal.joined?.(payload)
    if (signal.aborted || this.#isClosed) return onLeft(worst, false)
    this.#next = payload
    this.#open++
    this.#unsentNanoUsd += worst
    const { clock } = dispatcher
    this.#fillTimer ??= clock.schedule(clock.now() + FILLED_WITHIN_MS, () => this.sendNow())
    this.#start()
    changes.tell()
  }

  /** What was put waits for no more. */
  sendNow(): void {
    this.#fillTimer?.cancel()
    this.#fillTimer = null
    if (this.#unsentNanoUsd === 0) return
    this.#isDue = true
    this.#options.changes.tell()
  }

  /** Nothing more is put. */
  close(): void {
    this.#isClosed = true
    this.#fillTimer?.cancel()
    this.#options.changes.tell()
  }

  /** Batches go on at the provider, and stay pending; what is in none yet is not sent. */
  leave(): void {
    if (this.#left.signal.aborted) return
    const { changes, onLeft } = this.#options
    this.#left.abort()
    this.#fillTimer?.cancel()
    onLeft(this.#unsentNanoUsd, false)
    onLeft(this.#sentNanoUsd, true)
    changes.tell()
  }

  /** Whoever asked for results has done with this one. */
  async read(result: FleetResult): Promise<void> {
    this.#unread.delete(result)
    await this.#forget()
  }

  #start(): void {
    if (this.#isRunning || this.#left.signal.aborted) return
    this.#isRunning = true
    const { changes, failed } = this.#options
    this.#work()
      .catch((error: unknown) => {
        if (error !== this.#left.signal.reason) failed(error)
      })
      .finally(() => {
        this.#isRunning = false
        changes.tell()
      })
  }

  async #work(): Promise<void> {
    const { dispatcher, terms, batches, inOrder, changes } = this.#options
    const { onEvent, onResult, isRead } = this.#options
    const { clock, random, rules } = dispatcher
    const { signal } = this.#left
    const call = batchCall(dispatcher, terms)
    const { pending = [] } = batches ?? {}
    for await (const result of batchResults(this.#source(), {
      call,
      clock,
      random,
      prices: rules.prices,
      journal: this.#journal(),
      books: this.#books(),
      pending,
      inOrder,
      signal,
      onEvent,
    })) {
      if (signal.aborted) return
      const { worstNanoUsd = 0, ...told } = result
      this.#open--
      this.#sentNanoUsd -= worstNanoUsd
      this.#unread.add(told)
      onResult(told, { worstNanoUsd, isOfFormerRun: this.#former.delete(told.id) })
      await changes.until(() => isRead() || signal.aborted)
    }
  }

  get #subject(): Subject {
    return this.#options.dispatcher.rules.subjects.of(ANONYMOUS)
  }

  #books(): BatchBooks | null {
    const { dispatcher } = this.#options
    const { ledger, clock } = dispatcher
    const { signal } = this.#left
    const subject = () => this.#subject
    return ledger && new BatchBooks({ ledger, clock, subject, signal })
  }

  async *#source(): AsyncGenerator<PlacedPayload | typeof SEND_NOW> {
    const { changes } = this.#options
    while (!this.#left.signal.aborted) {
      const next = this.#next
      if (next) {
        this.#next = null
        changes.tell()
        yield next
      } else if (this.#isDue) {
        this.#isDue = false
        yield SEND_NOW
      } else if (this.#isClosed) return
      else await changes.next()
    }
  }

  #journal(): BatchJournal {
    const journal = this.#options.batches?.journal ?? NO_JOURNAL
    return {
      submitting: async (batch) => {
        const worst = worstOf(batch)
        this.#unsentNanoUsd -= worst
        this.#sentNanoUsd += worst
        await journal.submitting(batch)
      },
      refused: async (batch) => {
        const worst = worstOf(batch)
        this.#sentNanoUsd -= worst
        this.#unsentNanoUsd += worst
        await journal.refused?.(batch)
      },
      submitted: (batch) => journal.submitted(batch),
      ended: async (batch) => {
        this.#ended.push(batch)
        await this.#forget()
      },
    }
  }

  /** The journal hears of an end once nobody has a result in hand that might be lost. */
  async #forget(): Promise<void> {
    if (this.#unread.size > 0) return
    const ended = this.#ended
    this.#ended = []
    for (const batch of ended) await this.#options.batches?.journal.ended(batch)
  }
}

const worstOf = ({ payloads }: PendingBatch): number =>
  payloads.reduce((sum, { worstNanoUsd = 0 }) => sum + worstNanoUsd, 0)

/** What has to be set aside for batches of earlier runs, in nano-dollars. */
export const worstOfPending = (batches: FleetBatches | null): number =>
  (batches?.pending ?? []).reduce((sum, batch) => sum + worstOf(batch), 0)
