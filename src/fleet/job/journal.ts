// What a job writes down before it does it. Owns: that what is written is what counts. Must not know: what is
// done, or when it is written.
import type { History } from './history.ts'
import type { KeptLines } from './kept-lines.ts'
import { journalLine } from './records.ts'

type Entry = Parameters<typeof journalLine>[0]

export class Journal {
  readonly #lines: KeptLines
  readonly #history: History

  constructor(lines: KeptLines, history: History) {
    this.#lines = lines
    this.#history = history
  }

  /** @throws JobError when it cannot be written */
  async note(entry: Entry): Promise<void> {
    await this.#lines.write(journalLine(entry))
    this.#history.follow(entry)
  }

  /** The same, and a power cut does not undo it. */
  async keep(entry: Entry): Promise<void> {
    await this.note(entry)
    await this.#lines.sync()
  }

  close(): Promise<void> {
    return this.#lines.close()
  }
}
