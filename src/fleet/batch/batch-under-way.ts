// One batch from its creation to its last result. Owns: its next step, and when that is due. Must not know:
// other batches, or where payloads come from.
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { Prices } from '../../ledger/prices.ts'
import type { Failed } from '../payload.ts'
import { type BatchApi, type BatchDocument, type Later, noAnswer, type Reply } from './batch-api.ts'
import {
  type BatchEvent,
  type BatchJournal,
  BatchOutOfReach,
  type PendingBatch,
} from './batch-record.ts'
import {
  type BatchResult,
  lost,
  readResultLine,
  resultOf,
  type Sent,
  unbilled,
} from './batch-result.ts'
import { type Draft, type Place, type Places, placesOf } from './draft.ts'
import { linesOf } from './lines.ts'

export interface BatchParts {
  readonly api: BatchApi
  readonly clock: Clock
  readonly random: () => number
  readonly prices: Pick<Prices, 'priceOf'>
  readonly journal: BatchJournal
  readonly signal: AbortSignal | undefined
  /** The ids of all batches that this job knows: they are nobody else's. */
  readonly known: Set<string>
  tell(event: BatchEvent): void
}

/** A tenth of the batch's age, within bounds: a look that comes late costs a tenth of the time at most. */
const LOOKS_PER_AGE = 10
const SOONEST_LOOK_MS = 10_000
const LATEST_LOOK_MS = 300_000

/** After a failure, doubled with each in a row. */
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 300_000

/** In a row, of a batch that does not exist yet: about an hour. A full queue does not count. */
const MOST_FAILURES = 15

/** How far the provider's clock may be behind ours. */
const CLOCKS_APART_MS = 120_000

export class BatchUnderWay {
  readonly #parts: BatchParts
  readonly #places: Places
  readonly #size: number
  /** Null once the batch exists, and where it is not known any more. */
  #body: Buffer | null
  #batchId: string | null
  #sentAt: EpochMs | null
  /** Whether a batch may exist that nobody has been told of. */
  #isUncertain: boolean
  readonly #done = new Set<string>()
  #attempts = 0
  /** In a row, whatever the reason. */
  #delays = 0
  /** In a row, of those that were no lack of room. */
  #failures = 0
  #nextAt: EpochMs
  #isOver = false

  constructor(origin: Draft | PendingBatch, parts: BatchParts) {
    this.#parts = parts
    this.#nextAt = parts.clock.now()
    if ('body' in origin) {
      this.#places = origin.places
      this.#size = origin.places.size
      this.#body = origin.body
      this.#batchId = null
      this.#sentAt = null
      this.#isUncertain = false
    } else {
      this.#places = placesOf(origin.payloads)
      this.#size = origin.size
      this.#body = null
      this.#batchId = origin.batchId
      this.#sentAt = origin.sentAt
      this.#isUncertain = origin.batchId === null
      this.#attempts = 1
      if (origin.batchId !== null) parts.known.add(origin.batchId)
    }
  }

  /** Null until it is known to exist. */
  get batchId(): string | null {
    return this.#batchId
  }

  /** When the next step is due. */
  get nextAt(): EpochMs {
    return this.#nextAt
  }

  /** Nothing is left to be done. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Does the next step, and gives what results it brings. @throws BatchOutOfReach */
  async *step(): AsyncGenerator<BatchResult> {
    if (this.#batchId !== null) yield* this.#look(this.#batchId)
    else if (this.#isUncertain) yield* this.#search()
    else if (this.#body) yield* this.#create(this.#body)
  }

  async *#create(body: Buffer): AsyncGenerator<BatchResult> {
    const { api, clock, journal } = this.#parts
    if (this.#sentAt === null) {
      this.#sentAt = clock.now()
      await journal.submitting(this.#entry())
    }
    this.#attempts++
    const reply = await api.create(body)
    if (reply.kind === 'done') return this.#exists(reply.value.id)
    if (reply.kind === 'refused')
      return yield* this.#endAll((place) => this.#failed(reply.error, place))
    this.#isUncertain = reply.isUncertain
    this.#delay(reply)
    if (this.#failures <= MOST_FAILURES) return
    yield* this.#endAll((place) =>
      reply.isUncertain ? this.#lost(reply.error, place) : this.#failed(reply.error, place),
    )
  }

  /** Looks whether the batch was created although nobody said so. @throws BatchOutOfReach */
  async *#search(): AsyncGenerator<BatchResult> {
    const { api, known, signal } = this.#parts
    const since = (this.#sentAt ?? 0) - CLOCKS_APART_MS
    const reply = await api.createdSince(since, signal)
    if (reply.kind === 'later') {
      this.#delay(reply)
      if (this.#failures > MOST_FAILURES)
        yield* this.#endAll((place) => this.#lost(reply.error, place))
      return
    }
    if (reply.kind === 'refused') throw new BatchOutOfReach(null, reply.error)
    const found = reply.value.findLast(
      ({ id, request_counts: counts }) => !known.has(id) && totalOf(counts) === this.#size,
    )
    this.#isUncertain = false
    if (found) return this.#exists(found.id)
    if (!this.#body) yield* this.#endAll((place) => this.#failed(NOT_SUBMITTED, place))
  }

  async *#look(batchId: string): AsyncGenerator<BatchResult> {
    const { api, clock, random, signal } = this.#parts
    const reply = this.#readable(batchId, await api.look(batchId, signal))
    if (!reply) return
    if (reply === 'gone') return yield* this.#endAll((place) => this.#lost(GONE, place))
    if (reply.processing_status !== 'ended') {
      this.#succeeded()
      const now = clock.now()
      const ageMs = now - (this.#sentAt ?? now)
      const pauseMs = Math.min(Math.max(ageMs / LOOKS_PER_AGE, SOONEST_LOOK_MS), LATEST_LOOK_MS)
      this.#nextAt = now + pauseMs * (1 + random() / 5)
      return
    }
    const results = this.#readable(batchId, await api.results(batchId, signal))
    if (!results) return
    if (results === 'gone') return yield* this.#endAll((place) => this.#lost(GONE, place))
    try {
      yield* this.#read(results)
    } catch (cause) {
      signal?.throwIfAborted()
      return this.#delay(noAnswer(cause))
    }
    yield* this.#endAll((place) => this.#lost(NO_RESULT, place))
    this.#parts.tell({
      kind: 'batch_ended',
      batchId,
      counts: reply.request_counts,
      tookMs: clock.now() - (this.#sentAt ?? clock.now()),
    })
  }

  /** What was told, `gone` where there is no such batch any more, or null: later. @throws BatchOutOfReach */
  #readable<T>(batchId: string, reply: Reply<T>): T | 'gone' | null {
    if (reply.kind === 'done') return reply.value
    if (reply.kind === 'later') {
      this.#delay(reply)
      return null
    }
    if (reply.error.status === 404) return 'gone'
    throw new BatchOutOfReach(batchId, reply.error)
  }

  /** Each result once, however often the reading broke off. */
  async *#read(body: AsyncIterable<Uint8Array>): AsyncGenerator<BatchResult> {
    const { clock, prices } = this.#parts
    for await (const text of linesOf(body)) {
      const line = readResultLine(text)
      const place = line && this.#places.get(line.custom_id)
      if (!line || !place || this.#done.has(line.custom_id)) continue
      this.#done.add(line.custom_id)
      this.#succeeded()
      yield resultOf(line, place, this.#sent(), { prices, now: clock.now() })
    }
  }

  async #exists(batchId: string): Promise<void> {
    const { clock, journal, known, tell } = this.#parts
    known.add(batchId)
    this.#batchId = batchId
    this.#body = null
    this.#succeeded()
    this.#nextAt = clock.now() + SOONEST_LOOK_MS
    await journal.submitted({ ...this.#entry(), batchId })
    tell({ kind: 'batch_submitted', batchId, payloads: this.#size })
  }

  /** Every payload that has no result yet gets this one. */
  async *#endAll(result: (place: Place) => BatchResult): AsyncGenerator<BatchResult> {
    for (const [customId, place] of this.#places) {
      if (this.#done.has(customId)) continue
      this.#done.add(customId)
      yield result(place)
    }
    this.#isOver = true
    this.#body = null
    await this.#parts.journal.ended(this.#entry())
  }

  #delay(later: Later): void {
    const { clock, random, tell } = this.#parts
    this.#delays++
    if (!later.isRateLimited) this.#failures++
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (this.#delays - 1), LONGEST_PAUSE_MS)
    const askedMs = later.retryAfterMs ?? 0
    this.#nextAt = clock.now() + Math.max(pauseMs, askedMs) * (1 + random() / 5)
    const { error } = later
    tell({ kind: 'batch_delayed', batchId: this.#batchId, error, retryAt: this.#nextAt })
  }

  #succeeded(): void {
    this.#delays = 0
    this.#failures = 0
  }

  #failed(error: Failed['error'], place: Place): BatchResult {
    return unbilled(error, place, this.#sent(), this.#parts.clock.now())
  }

  #lost(error: Failed['error'], place: Place): BatchResult {
    return lost(error, place, this.#sent(), this.#parts.clock.now())
  }

  #sent(): Sent {
    const sentAt = this.#sentAt ?? this.#parts.clock.now()
    return { batchId: this.#batchId, sentAt, attempts: this.#attempts }
  }

  #entry(): PendingBatch {
    return {
      batchId: this.#batchId,
      payloads: [...this.#places.values()],
      size: this.#size,
      sentAt: this.#sentAt ?? this.#parts.clock.now(),
    }
  }
}

const totalOf = (counts: BatchDocument['request_counts']): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0)

const NOT_SUBMITTED: Failed['error'] = {
  status: null,
  type: 'batch_not_submitted',
  message: 'The program ended before this request was sent in a batch.',
  isRetryable: true,
}

const GONE: Failed['error'] = {
  status: 404,
  type: 'batch_gone',
  message: 'The provider does not know this batch any more, or not with this key.',
  isRetryable: true,
}

const NO_RESULT: Failed['error'] = {
  status: null,
  type: 'batch_without_result',
  message: 'The batch has ended without a result for this request.',
  isRetryable: true,
}
