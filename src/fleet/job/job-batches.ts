// The batches of a job that is run. Owns: which of its lines are in one, and what the journal is told of them.
// Must not know: results, or how a batch is brought to its end.
import type { BatchJournal, FleetBatches, PendingBatch } from '../batch/batch-record.ts'
import type { Place } from '../batch/draft.ts'
import type { KeptLines } from './kept-lines.ts'
import { batchLine } from './pending-batches.ts'
import { journalLine } from './records.ts'
import type { Standing } from './standing.ts'

export interface JobBatchesOptions {
  readonly journal: KeptLines
  readonly pending: readonly PendingBatch[]
  readonly standing: Standing
  readonly lineOf: (id: string) => number | undefined
  readonly onJoined: (id: string) => void
  /** Resolves when all outcomes are on the disk: false where that cannot be. */
  readonly kept: () => Promise<boolean>
}

export class JobBatches {
  readonly #options: JobBatchesOptions
  /** Lines that are in a batch, or wait for one, and have no outcome. */
  readonly #lines = new Set<number>()
  #pending: readonly PendingBatch[]

  /** What is pending counts as begun no longer: it is not lost. */
  constructor(options: JobBatchesOptions) {
    const { pending, standing } = options
    this.#options = options
    this.#pending = pending.map((batch) => ({
      ...batch,
      payloads: batch.payloads.filter(({ id }) => this.#isOpen(id)),
    }))
    for (const { payloads } of this.#pending)
      for (const { id } of payloads) {
        const line = this.#lineOf(id)
        this.#lines.add(line)
        standing.unsend(line)
      }
  }

  get size(): number {
    return this.#lines.size
  }

  has(line: number): boolean {
    return this.#lines.has(line)
  }

  /** It has an outcome, or is open again. */
  delete(line: number): void {
    this.#lines.delete(line)
  }

  /** For whoever sends the prompts. What was pending is handed over once. */
  handOver(leave: AbortSignal): FleetBatches {
    const pending = this.#pending
    this.#pending = []
    return { journal: this.#journal(), pending, leave }
  }

  #journal(): BatchJournal & { joined(place: Place): Promise<void> } {
    const { journal, kept, onJoined } = this.#options
    const write = async (text: string): Promise<void> => {
      await journal.write(text)
      await journal.sync()
    }
    return {
      joined: async ({ id }) => {
        // Until its batch is sent nothing can be lost.
        await journal.write(journalLine({ kind: 'unsent', id }))
        this.#lines.add(this.#lineOf(id))
        onJoined(id)
      },
      submitting: (batch) => write(batchLine(batch)),
      submitted: ({ sentAt, batchId }) =>
        write(journalLine({ kind: 'batch_created', sent_at: sentAt, batch_id: batchId })),
      ended: async ({ sentAt }) => {
        if (await kept()) await write(journalLine({ kind: 'batch_ended', sent_at: sentAt }))
      },
    }
  }

  #isOpen(id: string): boolean {
    return this.#options.standing.isOpen(this.#lineOf(id))
  }

  #lineOf(id: string): number {
    const line = this.#options.lineOf(id)
    if (line === undefined) throw new Error(`no line has the id ${JSON.stringify(id)}`)
    return line
  }
}
