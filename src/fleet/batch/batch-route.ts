// Payloads as batches: half the price, limits of their own, answers within hours. Owns: which batches are under
// way, and whose step is next. Must not know: HTTP, or whether a job should go this way.
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { Prices } from '../../ledger/prices.ts'
import { BatchApi, type Call } from './batch-api.ts'
import type { BatchBooks } from './batch-books.ts'
import type { BatchEvent, BatchJournal, PendingBatch } from './batch-record.ts'
import type { BatchResult } from './batch-result.ts'
import { BatchUnderWay } from './batch-under-way.ts'
import { type BatchSize, type DraftSource, draftsOf, USUAL_SIZE } from './draft.ts'
import { Filling } from './filling.ts'

export interface BatchRouteOptions {
  readonly call: Call
  readonly clock: Clock
  /** From 0 up to 1: names batches, and spreads the looks of jobs that began together. */
  readonly random: () => number
  readonly prices: Pick<Prices, 'priceOf'>
  readonly journal: BatchJournal
  /** Where what it costs is written down. @default nowhere */
  readonly books?: BatchBooks | null
  /** What a former run has left: its results come with those of this one. */
  readonly pending?: readonly PendingBatch[]
  /** Ends the iteration with its reason. Batches go on at the provider, and stay pending. */
  readonly signal?: AbortSignal
  /**
   * Whether batches end in the order in which they were filled: one that has ended before another stays with the
   * provider until then, so that the results of no more than one are kept in memory. @default false
   */
  readonly inOrder?: boolean
  readonly size?: Partial<BatchSize>
  readonly onEvent?: (event: BatchEvent) => void
}

/** With the usual size they fill the smallest queue that the provider has. */
const MOST_UNDER_WAY = 20

/** Between two steps of any batches, so that many cost no more calls than few. */
const STEPS_APART_MS = 3_000

/**
 * One result for each payload, pending ones included, in the order in which batches end. Batches are sent when
 * they are full, when the source says so, or when it is at its end. A source that keeps one waiting has to end
 * when the signal is aborted.
 *
 * @throws BatchOutOfReach, the signal's reason, and what source and journal throw: nothing is lost then, since the
 *   journal has what is pending
 */
export async function* batchResults(
  payloads: DraftSource,
  options: BatchRouteOptions,
): AsyncGenerator<BatchResult> {
  const { clock, random, signal, size, books = null, pending = [], inOrder = false } = options
  const parts = {
    ...options,
    books,
    signal,
    api: new BatchApi(options.call),
    known: new Set<string>(),
    seen: new Set<string>(),
    tell: (event: BatchEvent): void => options.onEvent?.(event),
  }
  const underWay = new Set(pending.map((batch) => new BatchUnderWay(batch, parts)))
  const filling = new Filling(draftsOf(payloads, { size: { ...USUAL_SIZE, ...size }, random }))
  let steppedAt: EpochMs = Number.NEGATIVE_INFINITY
  let isBroken = false
  try {
    for (;;) {
      signal?.throwIfAborted()
      if (hasRoom(underWay)) filling.begin()
      const draft = filling.take()
      if (draft) underWay.add(new BatchUnderWay(draft, parts))
      const batch = earliest(inOrder ? inTurn(underWay) : underWay)
      if (!batch && filling.isDrained) return
      const dueAt = batch && Math.max(batch.nextAt, steppedAt + STEPS_APART_MS)
      if (!batch || dueAt === null || dueAt > clock.now()) {
        await until({ clock, at: dueAt, signal, filling })
        continue
      }
      steppedAt = clock.now()
      yield* batch.step()
      if (batch.isOver) underWay.delete(batch)
    }
  } catch (error) {
    isBroken = signal?.aborted !== true
    throw error
  } finally {
    // A source may wait for longer than whoever is to be told.
    if (isBroken) filling.leave()
    else await filling.end()
  }
}

/** One is sent after the other, so that at most one is in memory. */
function hasRoom(underWay: ReadonlySet<BatchUnderWay>): boolean {
  return underWay.size < MOST_UNDER_WAY && ![...underWay].some(({ isUnsent }) => isUnsent)
}

/** The first one, and those that are yet to be created. */
function* inTurn(underWay: Iterable<BatchUnderWay>): Generator<BatchUnderWay> {
  let isFirst = true
  for (const batch of underWay) {
    if (isFirst || batch.isUnsent) yield batch
    isFirst = false
  }
}

function earliest(underWay: Iterable<BatchUnderWay>): BatchUnderWay | null {
  let first: BatchUnderWay | null = null
  for (const batch of underWay) if (!first || batch.nextAt < first.nextAt) first = batch
  return first
}

interface Occasion {
  readonly clock: Clock
  /** Null: nothing is due. */
  readonly at: EpochMs | null
  readonly signal: AbortSignal | undefined
  readonly filling: Filling
}

/** Resolves at an instant, when a batch is filled, or once the signal is aborted. */
async function until({ clock, at, signal, filling }: Occasion): Promise<void> {
  if (signal?.aborted) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const end = (): void => resolve()
  const timer = at === null ? null : clock.schedule(at, end)
  signal?.addEventListener('abort', end)
  filling.onFilled = end
  await promise
  timer?.cancel()
  signal?.removeEventListener('abort', end)
}
