// The batches that a journal tells of. Owns: which of them are pending, and how they are written down. Must not
// know: files, or what becomes of a batch.
import type { PendingBatch } from '../batch/batch-record.ts'
import type { Place } from '../batch/draft.ts'
import { type JournalEntry, journalLine } from './records.ts'

type BatchEntry = Extract<JournalEntry, { kind: 'batch' | 'batch_created' | 'batch_ended' }>

/** One is sent after the other: the moment tells them apart. */
export class PendingBatches {
  readonly #bySentAt = new Map<number, PendingBatch>()

  get all(): readonly PendingBatch[] {
    return [...this.#bySentAt.values()]
  }

  follow(entry: BatchEntry): void {
    const { sent_at: sentAt } = entry
    if (entry.kind === 'batch_ended') {
      this.#bySentAt.delete(sentAt)
    } else if (entry.kind === 'batch') {
      const payloads = entry.payloads.map(placeOf)
      this.#bySentAt.set(sentAt, { batchId: null, payloads, size: entry.size, sentAt })
    } else {
      const batch = this.#bySentAt.get(sentAt)
      if (batch) this.#bySentAt.set(sentAt, { ...batch, batchId: entry.batch_id })
    }
  }
}

type Written = Extract<BatchEntry, { kind: 'batch' }>['payloads'][number]

function placeOf({ id, index, worst_nano_usd: worst }: Written): Place {
  return worst === null ? { id, index } : { id, index, worstNanoUsd: worst }
}

/** A line of the journal: it is about to be created. */
export function batchLine({ payloads, size, sentAt }: PendingBatch): string {
  const written = payloads.map(({ id, index, worstNanoUsd }) => ({
    id,
    index,
    worst_nano_usd: worstNanoUsd ?? null,
  }))
  return journalLine({ kind: 'batch', sent_at: sentAt, size, payloads: written })
}
