// Those payloads of one job that go as batches. Owns: which those are, what waits for the next batch, and when
// the journal may forget one. Must not know: money, or payloads that are sent one by one.
import type { EpochMs, Timer } from '../core/clock.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import { BatchLane } from './batch/batch-lane.ts'
import type { BatchEvent, BatchJournal, FleetBatches, PendingBatch } from './batch/batch-record.ts'
import { BATCH_TYPICAL_MS, chooseLane } from './batch/choose-lane.ts'
import { type PlacedPayload, SEND_NOW } from './batch/draft.ts'
import { batchCall } from './batch-call.ts'
import type { Changes } from './changes.ts'
import type { RequestTerms } from './message-request.ts'
import type { Answered, Failed, FleetResult } from './payload.ts'

export interface RunBatchesOptions {
  readonly dispatcher: Dispatcher
  readonly terms: RequestTerms
  /** How long answers may take, for payloads that say nothing of it; null: they cannot wait. */
  readonly withinMs: number | null
  /** How many payloads there are; null where nobody says. */
  readonly count: number | null
  readonly batches: FleetBatches | null
  readonly changes: Changes
  /** The next one comes when all are read that can be. */
  readonly onResult: (result: Answered | Failed, worstNanoUsd: number) => void
  readonly isRead: () => boolean
  /** So much was set aside for what is not waited for any more. `isSent`: it may cost as much. */
  readonly onLeft: (worstNanoUsd: number, isSent: boolean) => void
  readonly onEvent: (event: BatchEvent) => void
  readonly failed: (error: unknown) => void
}

/** Answers a second that the smallest quota of the provider brings at least: fifty a minute. */
const LEAST_DIRECT_RATE = 50 / 60

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
  readonly #onLeave = (): void => this.leave()
  /** On its way to the lane. */
  #next: PlacedPayload | null = null
  /** Whether what the lane has is not to wait for more. */
  #isDue = false
  #fillTimer: Timer | null = null
  #isClosed = false
  #isRunning = false
  /** Payloads without a result, and what is set aside for them: before their batch is created, and after. */
  #open = 0
  #unsentNanoUsd = 0
  #sentNanoUsd = 0
  /** Results that whoever asked for them has not done with. */
  readonly #unread = new Set<FleetResult>()
  /** All results of these have come. */
  #ended: PendingBatch[] = []

  constructor(options: RunBatchesOptions) {
    this.#options = options
    this.#startedAt = options.dispatcher.clock.now()
    const { batches } = options
    for (const { payloads } of batches?.pending ?? []) this.#open += payloads.length
    this.#sentNanoUsd = worstOfPending(batches)
    if (batches?.leave?.aborted) this.leave()
    batches?.leave?.addEventListener('abort', this.#onLeave)
    if (batches?.pending?.length) this.#start()
  }

  /** Whether nothing of it is under way. */
  get isOver(): boolean {
    return !this.#isRunning
  }

  /** Whether a payload goes as part of a batch, where that is known to cost less. */
  takes(withinMs: number | null, now: EpochMs): boolean {
    const { withinMs: usual, count } = this.#options
    const own = withinMs === null ? null : now + withinMs
    const deadlineAt = own ?? (usual === null ? null : this.#startedAt + usual)
    if (deadlineAt === null) return false
    const { lane } = chooseLane({
      deadlineAt,
      now,
      batchTypicalMs: BATCH_TYPICAL_MS,
      directRate: LEAST_DIRECT_RATE,
      queueLength: Math.max(count ?? 0, this.#open + 1),
      priceKnown: true,
    })
    return lane === 'batch'
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
    const { batches, changes, onLeft } = this.#options
    batches?.leave?.removeEventListener('abort', this.#onLeave)
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
    const { dispatcher, terms, batches, changes, onEvent, onResult, isRead } = this.#options
    const { clock, random, rules } = dispatcher
    const { signal } = this.#left
    const call = batchCall(dispatcher, terms)
    const lane = new BatchLane({ call, clock, random, prices: rules.prices, onEvent })
    const { pending = [] } = batches ?? {}
    for await (const result of lane.dispatch(this.#source(), {
      journal: this.#journal(),
      pending,
      signal,
    })) {
      if (signal.aborted) return
      const { worstNanoUsd = 0, ...told } = result
      this.#open--
      this.#sentNanoUsd -= worstNanoUsd
      this.#unread.add(told)
      onResult(told, worstNanoUsd)
      await changes.until(() => isRead() || signal.aborted)
    }
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
