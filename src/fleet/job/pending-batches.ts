// The batches that a journal tells of. Owns: which of them are pending, and how they are written down. Must not
// know: files, or what becomes of a batch.
import type { PendingBatch } from '../batch/batch-record.ts'
import type { Place } from '../batch/draft.ts'
import type { JournalEntry } from './records.ts'

type BatchEntry = Extract<JournalEntry, { kind: `batch${string}` }>

export class PendingBatches {
  readonly #byName = new Map<string, PendingBatch>()
  /** The provider had no room for these: they do not exist, unless they are tried once more. */
  readonly #refused = new Map<string, PendingBatch>()

  get all(): readonly PendingBatch[] {
    return [...this.#byName.values()]
  }

  follow(entry: BatchEntry): void {
    const { name } = entry
    const batch = this.#byName.get(name) ?? this.#refused.get(name)
    if (entry.kind === 'batch') {
      const { size, sent_at: sentAt } = entry
      const payloads = entry.payloads.map(placeOf)
      this.#byName.set(name, { name, batchId: null, payloads, size, sentAt })
      return
    }
    this.#byName.delete(name)
    this.#refused.delete(name)
    if (!batch) return
    if (entry.kind === 'batch_refused') this.#refused.set(name, batch)
    if (entry.kind === 'batch_again') this.#byName.set(name, { ...batch, sentAt: entry.sent_at })
    if (entry.kind === 'batch_created')
      this.#byName.set(name, { ...batch, batchId: entry.batch_id })
  }
}

type Written = Extract<BatchEntry, { kind: 'batch' }>['payloads'][number]

function placeOf(written: Written): Place {
  const { id, index, worst_nano_usd: worst, price_percent: pricePercent } = written
  const place = pricePercent === undefined ? { id, index } : { id, index, pricePercent }
  return worst === null ? place : { ...place, worstNanoUsd: worst }
}

/** What is noted of one before it is created. */
export function batchEntry({ name, payloads, size, sentAt }: PendingBatch): JournalEntry {
  const written = payloads.map(({ id, index, worstNanoUsd, pricePercent }) => ({
    id,
    index,
    worst_nano_usd: worstNanoUsd ?? null,
    price_percent: pricePercent,
  }))
  return { kind: 'batch', name, sent_at: sentAt, size, payloads: written }
}
