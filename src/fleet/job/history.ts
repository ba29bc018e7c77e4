// What a job's journal tells. Owns: what each entry means for how far the job is, the same when it is written as
// when it is read again. Must not know: files.
import { PendingBatches } from './pending-batches.ts'
import type { JournalEntry } from './records.ts'
import type { Standing } from './standing.ts'

export class History {
  readonly standing: Standing
  /** The number of the last run. */
  runs = 0
  /** Failures of earlier runs than this one are open again, although they may still stand in their file. */
  retriedBy = 0
  readonly batches = new PendingBatches()
  readonly #lineOf: (id: string) => number | undefined

  /** @param lineOf undefined where no line of the input has the id */
  constructor(standing: Standing, lineOf: (id: string) => number | undefined) {
    this.standing = standing
    this.#lineOf = lineOf
  }

  follow(entry: JournalEntry): void {
    const { standing } = this
    switch (entry.kind) {
      case 'job':
        break
      case 'run':
        this.runs = entry.run
        break
      case 'started':
        standing.begin(this.#line(entry), entry.worst_nano_usd)
        break
      case 'attempt_failed':
        standing.failAttempt(this.#line(entry), entry.cost_nano_usd)
        break
      case 'unsent':
        standing.leave(this.#line(entry), entry.cost_nano_usd)
        break
      case 'lost':
        for (const { line, cost_nano_usd: cost } of entry.lines) standing.lose(line, cost)
        break
      case 'retried':
        this.retriedBy = entry.run
        for (const { line, cost_nano_usd: cost } of entry.failures) standing.leave(line, cost)
        break
      default:
        // What is in a batch is pending until it has an outcome, and never lost.
        if (entry.kind === 'batch')
          for (const place of entry.payloads) standing.leave(this.#line(place), 0)
        this.batches.follow(entry)
    }
  }

  #line({ id }: { readonly id: string }): number {
    const line = this.#lineOf(id)
    if (line === undefined) throw new Error(`no line has the id ${JSON.stringify(id)}`)
    return line
  }
}
