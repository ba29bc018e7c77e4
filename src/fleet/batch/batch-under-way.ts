// One batch from its creation to its last result. Owns: what its next step is, and which of the provider's batches
// it is. Must not know: other batches, or where payloads come from.
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { Prices } from '../../ledger/prices.ts'
import type { Failed } from '../payload.ts'
import { type BatchApi, type Later, later, type Reply, requestsIn } from './batch-api.ts'
import type { BatchBooks } from './batch-books.ts'
import {
  type BatchEvent,
  type BatchJournal,
  BatchOutOfReach,
  type PendingBatch,
} from './batch-record.ts'
import {
  alone,
  type BatchResult,
  GONE,
  lost,
  NO_RESULT,
  NOT_SUBMITTED,
  OVERDUE,
  readResultLine,
  resultOf,
  type Sent,
  type Settled,
  unbilled,
} from './batch-result.ts'
import { type Draft, type Place, requestName } from './draft.ts'
import { Pace } from './pace.ts'
import { Unanswered } from './unanswered.ts'

export interface BatchParts {
  readonly api: BatchApi
  readonly clock: Clock
  readonly random: () => number
  readonly prices: Pick<Prices, 'priceOf'>
  readonly journal: BatchJournal
  /** Null: nothing is written down. */
  readonly books: BatchBooks | null
  readonly signal: AbortSignal | undefined
  /** The ids of all batches that are known to be one of this job's. */
  readonly known: Set<string>
  /** The ids of batches that one of this job's may have been. */
  readonly seen: Set<string>
  tell(event: BatchEvent): void
}

type Stage =
  | { readonly kind: 'unsent'; readonly body: Buffer }
  /** Whether it was created is not known. The body is null where a former run had it, or it is not tried again. */
  | { readonly kind: 'in_doubt'; readonly body: Buffer | null }
  /** This may be it, or else one of the others: names of requests will tell, once it has ended. */
  | { readonly kind: 'found'; readonly batchId: string; readonly others: readonly string[] }
  | { readonly kind: 'exists'; readonly batchId: string }
  | { readonly kind: 'over' }

/** The provider ends a batch within a day, or lets it expire. */
const LONGEST_LIFE_MS = 172_800_000

/** The provider has results for 29 days. */
const RESULTS_KEPT_MS = 2_505_600_000

/** How far the provider's clock may be behind ours. */
const CLOCKS_APART_MS = 3_600_000

/** A batch that is not among all of them so long after it was tried was not created. */
const LISTED_WITHIN_MS = 15_000

/** So many results are in memory while what they cost is written down. */
const BOOKED_TOGETHER = 64

export class BatchUnderWay {
  readonly #parts: BatchParts
  readonly #name: string
  readonly #payloads: readonly Place[]
  readonly #unanswered: Unanswered
  readonly #size: number
  readonly #begunAt: EpochMs
  readonly #pace: Pace
  /** Ids of batches that were there before this one was first tried. */
  readonly #older: ReadonlySet<string>
  #stage: Stage
  #sentAt: EpochMs
  #attempts: number
  /** What was in the way last. */
  #trouble: Failed['error'] | null = null

  constructor(origin: Draft | PendingBatch, parts: BatchParts) {
    this.#parts = parts
    this.#pace = new Pace(parts)
    this.#name = origin.name
    this.#payloads = origin.payloads
    this.#unanswered = new Unanswered(origin.name, origin.payloads)
    if ('body' in origin) {
      this.#size = origin.payloads.length
      this.#sentAt = parts.clock.now()
      this.#attempts = 0
      this.#older = new Set(parts.seen)
      this.#stage = { kind: 'unsent', body: origin.body }
    } else {
      const { batchId } = origin
      this.#size = origin.size
      this.#sentAt = origin.sentAt
      this.#attempts = 1
      this.#older = new Set()
      if (batchId !== null) parts.known.add(batchId)
      this.#stage =
        batchId === null ? { kind: 'in_doubt', body: null } : { kind: 'exists', batchId }
    }
    this.#begunAt = this.#sentAt
  }

  /** Whether no batch is found yet that it may be. */
  get isUnsent(): boolean {
    return this.#stage.kind === 'unsent' || this.#stage.kind === 'in_doubt'
  }

  /** When the next step is due. */
  get nextAt(): EpochMs {
    return this.#pace.nextAt
  }

  /** Nothing is left to be done. */
  get isOver(): boolean {
    return this.#stage.kind === 'over'
  }

  /** Does the next step, and gives what results it brings. @throws BatchOutOfReach */
  async *step(): AsyncGenerator<BatchResult> {
    const stage = this.#stage
    if (stage.kind === 'unsent') yield* this.#create(stage.body)
    else if (stage.kind === 'in_doubt') yield* this.#search(stage.body)
    else if (stage.kind !== 'over') yield* this.#look(stage.batchId)
  }

  async *#create(body: Buffer): AsyncGenerator<BatchResult> {
    const { api, clock, journal } = this.#parts
    this.#sentAt = clock.now()
    await journal.submitting(this.#entry())
    this.#attempts++
    const reply = await api.create(body)
    if (reply.kind === 'done') return this.#exists(reply.value.id)
    if (reply.kind === 'refused') return yield* this.#failAll(alone(reply.error))
    this.#delay(reply)
    if (reply.isUncertain) {
      this.#stage = { kind: 'in_doubt', body }
      this.#sentAt = clock.now()
    } else if (this.#pace.isGivenUp) yield* this.#failAll(reply.error)
    else await journal.refused?.(this.#entry())
  }

  /** Looks whether the batch was created although nobody said so. @throws BatchOutOfReach */
  async *#search(body: Buffer | null): AsyncGenerator<BatchResult> {
    const { api, clock, known, seen, signal } = this.#parts
    const reply = await api.createdSince(this.#sentAt - CLOCKS_APART_MS, signal)
    if (reply.kind === 'refused') throw new BatchOutOfReach(null, reply.error)
    if (reply.kind === 'later') {
      this.#delay(reply)
      // It may exist, so it is looked for until somebody knows; it is not tried again after so long.
      if (this.#pace.isGivenUp) this.#stage = { kind: 'in_doubt', body: null }
      return
    }
    const candidates = reply.value
      .filter((batch) => requestsIn(batch) === this.#size)
      .map(({ id }) => id)
      .filter((id) => !known.has(id) && !this.#older.has(id))
    for (const id of candidates) seen.add(id)
    const listedAt = this.#sentAt + LISTED_WITHIN_MS
    if (candidates.length === 0 && clock.now() < listedAt) return this.#pace.waitUntil(listedAt)
    yield* this.#tryOut(candidates.reverse(), body)
  }

  /** Goes on with the first that it may be, or knows that there is none. */
  async *#tryOut([batchId, ...others]: readonly string[], body: Buffer | null) {
    if (batchId !== undefined) this.#stage = { kind: 'found', batchId, others }
    else if (body && !this.#pace.isGivenUp) this.#stage = { kind: 'unsent', body }
    else return yield* this.#failAll(body && this.#trouble ? alone(this.#trouble) : NOT_SUBMITTED)
    this.#pace.goOn()
  }

  async *#look(batchId: string): AsyncGenerator<BatchResult> {
    const { api, clock, signal, tell } = this.#parts
    const batch = this.#readable(batchId, await api.look(batchId, signal))
    if (batch === null) return
    if (batch === 'gone') return yield* this.#miss(batchId)
    if (batch.processing_status !== 'ended') return yield* this.#lookLater()
    const results = this.#readable(batchId, await api.results(batchId, signal))
    if (results === null) return
    if (results === 'gone') return yield* this.#miss(batchId)
    if (!(yield* this.#read(results))) return
    if (this.#unanswered.size > 0 && !this.#isDenied(NO_RESULT)) return
    yield* this.#loseAll(NO_RESULT)
    const { request_counts: counts } = batch
    tell({ kind: 'batch_ended', batchId, counts, tookMs: clock.now() - this.#sentAt })
  }

  async *#lookLater(): AsyncGenerator<BatchResult> {
    const stage = this.#stage
    const ageMs = this.#parts.clock.now() - this.#sentAt
    if (ageMs <= LONGEST_LIFE_MS) return this.#pace.lookLater(ageMs)
    if (stage.kind === 'found') yield* this.#tryOut(stage.others, null)
    else yield* this.#loseAll(OVERDUE)
  }

  /** It is not there. @throws BatchOutOfReach as long as another key may still get its results */
  async *#miss(batchId: string): AsyncGenerator<BatchResult> {
    const stage = this.#stage
    const ageMs = this.#parts.clock.now() - this.#sentAt
    if (stage.kind === 'found') return yield* this.#tryOut(stage.others, null)
    if (ageMs <= RESULTS_KEPT_MS) throw new BatchOutOfReach(batchId, GONE)
    yield* this.#loseAll(GONE)
  }

  /** What was told, `gone` where there is no such batch any more, or null: later. @throws BatchOutOfReach */
  #readable<T>(batchId: string, reply: Reply<T>): T | 'gone' | null {
    if (reply.kind === 'done') return reply.value
    if (reply.kind === 'later') {
      this.#delay(reply)
      return null
    }
    if (reply.error.status !== 404) throw new BatchOutOfReach(batchId, reply.error)
    return this.#isDenied(reply.error) ? 'gone' : null
  }

  /** Whether it is to be believed. Where it is not, it is asked for again. */
  #isDenied(error: Failed['error']): boolean {
    if (this.#pace.isDenied()) return true
    this.#delay(later(error))
    return false
  }

  /** Each result once, however often the reading broke off. Returns whether all has been read, of this batch. */
  async *#read(lines: AsyncIterable<string | Later>): AsyncGenerator<BatchResult, boolean> {
    const { clock, prices, signal } = this.#parts
    let read: Settled[] = []
    for await (const text of lines) {
      if (typeof text !== 'string') {
        signal?.throwIfAborted()
        yield* this.#give(read)
        this.#delay(text)
        return false
      }
      const line = readResultLine(text)
      if (!line) continue
      const stage = this.#stage
      if (stage.kind === 'found') {
        if (!this.#unanswered.isOfBatch(line.custom_id)) {
          yield* this.#tryOut(stage.others, null)
          return false
        }
        await this.#exists(stage.batchId)
      }
      const place = this.#unanswered.take(line.custom_id)
      if (!place) continue
      this.#pace.succeed()
      read.push(resultOf(line, place, this.#sent(), { prices, now: clock.now() }))
      if (read.length < BOOKED_TOGETHER) continue
      yield* this.#give(read)
      read = []
    }
    yield* this.#give(read)
    return true
  }

  /** Whoever has a result may keep it, and not ask for it again: what it costs is written down before. */
  async *#give(settled: readonly Settled[]): AsyncGenerator<BatchResult> {
    const charges = settled.flatMap(({ result, charge }) =>
      charge ? [{ ...charge, name: requestName(this.#name, result) }] : [],
    )
    if (charges.length > 0) await this.#parts.books?.write(charges)
    for (const { result } of settled) yield result
  }

  async #exists(batchId: string): Promise<void> {
    const { journal, known, tell } = this.#parts
    known.add(batchId)
    this.#stage = { kind: 'exists', batchId }
    this.#pace.lookLater(0)
    await journal.submitted({ ...this.#entry(), batchId })
    tell({ kind: 'batch_submitted', batchId, payloads: this.#size })
  }

  /** What was not processed is not billed. */
  #failAll(error: Failed['error']): AsyncGenerator<BatchResult> {
    return this.#endAll((place) => unbilled(error, place, this.#sent(), this.#parts.clock.now()))
  }

  /** Nobody knows what it has cost. */
  #loseAll(error: Failed['error']): AsyncGenerator<BatchResult> {
    return this.#endAll((place) => lost(error, place, this.#sent(), this.#parts.clock.now()))
  }

  /** Every payload that has no result yet gets this one. */
  async *#endAll(settle: (place: Place) => Settled): AsyncGenerator<BatchResult> {
    yield* this.#give([...this.#unanswered.takeAll()].map(settle))
    await this.#parts.journal.ended(this.#entry())
    this.#stage = { kind: 'over' }
  }

  #delay(reply: Later): void {
    this.#pace.delay(reply)
    const { error } = reply
    this.#trouble = error
    this.#parts.tell({ kind: 'batch_delayed', batchId: this.#batchId, error, retryAt: this.nextAt })
  }

  get #batchId(): string | null {
    return 'batchId' in this.#stage ? this.#stage.batchId : null
  }

  #sent(): Sent {
    return { batchId: this.#batchId, sentAt: this.#begunAt, attempts: this.#attempts }
  }

  #entry(): PendingBatch {
    const batchId = this.#stage.kind === 'exists' ? this.#stage.batchId : null
    const [name, payloads, size] = [this.#name, this.#payloads, this.#size]
    return { name, batchId, payloads, size, sentAt: this.#sentAt }
  }
}
