// The batches of all organizations, from their creation to their results. Owns: their states, the timer of
// each, how many results are kept. Must not know: HTTP, or what an answer says.
import type { Clock, EpochMs, Timer } from '../core/clock.ts'
import {
  type Answering,
  type BatchedRequest,
  type BatchOutcome,
  type BatchResult,
  processRequest,
} from './batch-request.ts'
import type { Account } from './emulated-provider.ts'

/** What is under way when a batch is cancelled is brought to its end. */
const CANCEL_MS = 1000

/** Of all batches together. The oldest batch is forgotten beyond that, as the provider does in time. */
const MOST_RESULTS = 500_000

export interface Batch {
  readonly id: string
  readonly account: Account
  readonly size: number
  readonly createdAt: EpochMs
  readonly expiresAt: EpochMs
  readonly cancelledAt: EpochMs | null
  readonly endedAt: EpochMs | null
  /** In no order. Empty until it has ended. */
  readonly results: readonly BatchResult[]
}

interface LiveBatch extends Batch {
  /** When all of it is processed, if nothing comes in between. */
  readonly processedAt: EpochMs
  requests: readonly BatchedRequest[]
  cancelledAt: EpochMs | null
  endedAt: EpochMs | null
  endsAt: EpochMs
  results: readonly BatchResult[]
  timer: Timer | null
}

interface BatchesParts extends Answering {
  readonly clock: Clock
}

export class Batches {
  readonly #parts: BatchesParts
  /** By id, oldest first. */
  readonly #batches = new Map<string, LiveBatch>()

  constructor(parts: BatchesParts) {
    this.#parts = parts
  }

  create(account: Account, requests: readonly BatchedRequest[]): Batch {
    const { settings, clock } = this.#parts
    const createdAt = clock.now()
    const processedAt = createdAt + settings.batchMs / settings.timeScale
    const expiresAt = createdAt + settings.batchExpiryMs / settings.timeScale
    const isStuck = requests.some(({ fault }) => fault === 'batch-expiry')
    const batch: LiveBatch = {
      id: `msgbatch_01${this.#parts.newId()}`,
      account,
      size: requests.length,
      createdAt,
      processedAt,
      expiresAt,
      requests,
      cancelledAt: null,
      endedAt: null,
      endsAt: isStuck ? expiresAt : Math.min(processedAt, expiresAt),
      results: [],
      timer: null,
    }
    this.#batches.set(batch.id, batch)
    this.#forgetOldest()
    this.#arm(batch)
    return batch
  }

  /** An organization's, newest first. */
  allOf({ organization }: Account): Batch[] {
    return this.#liveOf(organization).reverse()
  }

  find({ organization }: Account, id: string): Batch | null {
    const batch = this.#batches.get(id)
    return batch?.account.organization === organization ? batch : null
  }

  /** How many of an organization's requests are in batches that have not ended. */
  queued({ organization }: Account): number {
    return this.#liveOf(organization)
      .filter(({ endedAt }) => endedAt === null)
      .reduce((sum, { size }) => sum + size, 0)
  }

  /** What has been processed by now stays; the rest is not processed. Harmless a second time. */
  cancel({ id }: Batch): void {
    const batch = this.#batches.get(id)
    if (!batch || batch.endedAt !== null || batch.cancelledAt !== null) return
    const { clock, settings } = this.#parts
    batch.cancelledAt = clock.now()
    batch.endsAt = Math.min(batch.endsAt, clock.now() + CANCEL_MS / settings.timeScale)
    this.#arm(batch)
  }

  delete({ id }: Batch): void {
    this.#batches.get(id)?.timer?.cancel()
    this.#batches.delete(id)
  }

  /** Nothing is processed any more. */
  close(): void {
    for (const { timer } of this.#batches.values()) timer?.cancel()
    this.#batches.clear()
  }

  #liveOf(organization: string): LiveBatch[] {
    const all = [...this.#batches.values()]
    return all.filter(({ account }) => account.organization === organization)
  }

  #arm(batch: LiveBatch): void {
    batch.timer?.cancel()
    batch.timer = this.#parts.clock.schedule(batch.endsAt, () => this.#end(batch))
  }

  #end(batch: LiveBatch): void {
    const processed = this.#processedOf(batch)
    const results = batch.requests.map((request, index) => {
      const isProcessed = index < processed && request.fault !== 'batch-expiry'
      const outcome: BatchOutcome = isProcessed
        ? processRequest(request, batch.account, this.#parts)
        : { type: batch.cancelledAt === null ? 'expired' : 'canceled' }
      return { customId: request.customId, outcome }
    })
    shuffle(results, this.#parts.random)
    batch.results = results
    batch.requests = []
    batch.timer = null
    batch.endedAt = this.#parts.clock.now()
  }

  /** How many have had their turn: they come one after the other. */
  #processedOf({ size, createdAt, processedAt, cancelledAt }: LiveBatch): number {
    const until = cancelledAt ?? this.#parts.clock.now()
    if (until >= processedAt) return size
    return Math.floor((size * (until - createdAt)) / (processedAt - createdAt))
  }

  #forgetOldest(): void {
    let kept = 0
    for (const { size } of this.#batches.values()) kept += size
    for (const batch of this.#batches.values()) {
      if (kept <= MOST_RESULTS) return
      if (batch.endedAt === null) continue
      kept -= batch.size
      this.#batches.delete(batch.id)
    }
  }
}

function shuffle<T>(items: T[], random: () => number): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const [a, b] = [items[last], items[other]]
    if (a === undefined || b === undefined) return
    items[last] = b
    items[other] = a
  }
}
