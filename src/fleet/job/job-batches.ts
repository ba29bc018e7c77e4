// The batches of a job that is run. Owns: which of its lines are in one, and what the journal is told of them.
// Must not know: results, or how a batch is brought to its end.
import type { BatchJournal, FleetBatches, PendingBatch } from '../batch/batch-record.ts'
import type { Place } from '../batch/draft.ts'
import type { Journal } from './journal.ts'
import { batchEntry } from './pending-batches.ts'
import type { Standing } from './standing.ts'

export interface JobBatchesOptions {
  readonly journal: Journal
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
  /** Those of them whose batch the provider may have. */
  readonly #sent = new Set<number>()
  /** Lines that were pending when these were handed over: an outcome counts only a moment after it has come. */
  #former: ReadonlySet<number> = new Set()
  /** Names of batches that wait for the provider to have room: all of them is written down. */
  readonly #refused = new Set<string>()
  #pending: readonly PendingBatch[]

  constructor(options: JobBatchesOptions) {
    this.#options = options
    this.#pending = options.pending.map((batch) => ({
      ...batch,
      payloads: batch.payloads.filter(({ id }) => this.#isOpen(id)),
    }))
    for (const batch of this.#pending)
      for (const line of this.#linesOf(batch)) {
        this.#lines.add(line)
        this.#sent.add(line)
      }
  }

  get size(): number {
    return this.#lines.size
  }

  /** How many of them are in a batch that the provider may have. */
  get sent(): number {
    return this.#sent.size
  }

  /** Whether it is not to be sent now. */
  has(line: number): boolean {
    return this.#lines.has(line) || this.#former.has(line)
  }

  /** It has an outcome, or is open again. */
  delete(line: number): void {
    this.#lines.delete(line)
    this.#sent.delete(line)
  }

  /** For whoever sends the prompts. What was pending is handed over once, and all outcomes are kept before. */
  handOver(): FleetBatches {
    const pending = this.#pending
    this.#pending = []
    const ids = pending.flatMap(({ payloads }) => payloads.map(({ id }) => id))
    this.#former = new Set(ids.map((id) => this.#lineOf(id)))
    return { journal: this.#journal(), pending }
  }

  #journal(): BatchJournal & { joined(place: Place): Promise<void> } {
    const { journal, kept, onJoined } = this.#options
    return {
      joined: async ({ id }) => {
        this.#lines.add(this.#lineOf(id))
        onJoined(id)
      },
      submitting: async (batch) => {
        const { name, sentAt } = batch
        const isKnown = this.#refused.delete(name)
        const again = { kind: 'batch_again', name, sent_at: sentAt } as const
        await journal.keep(isKnown ? again : batchEntry(batch))
        for (const line of this.#linesOf(batch)) this.#sent.add(line)
      },
      refused: async (batch) => {
        const { name } = batch
        this.#refused.add(name)
        for (const line of this.#linesOf(batch)) this.#sent.delete(line)
        await journal.note({ kind: 'batch_refused', name })
      },
      submitted: ({ name, batchId }) =>
        journal.keep({ kind: 'batch_created', name, batch_id: batchId }),
      ended: async ({ name }) => {
        this.#refused.delete(name)
        if (await kept()) await journal.keep({ kind: 'batch_ended', name })
      },
    }
  }

  #linesOf({ payloads }: PendingBatch): readonly number[] {
    return payloads.map(({ id }) => this.#lineOf(id))
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
