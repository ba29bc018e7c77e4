// What earlier runs of a job have left in its files. Owns: reading them, line by line, and refusing what is not
// this job's. Must not know: how anything is written.
import type { LinesForm } from './found-lines.ts'
import { History } from './history.ts'
import type { Input } from './input.ts'
import type { JobPaths } from './job-paths.ts'
import { foreign, JobError } from './problem.ts'
import {
  BEGINNINGS,
  type JournalEntry,
  journalEntryIn,
  recordIn,
  writtenAnswer,
  writtenFailure,
} from './records.ts'
import { Standing } from './standing.ts'

/** A failure that an earlier run has written. */
export interface FailureLeft {
  readonly line: number
  /** Null where it is not known. */
  readonly costNanoUsd: number | null
}

export class Past {
  readonly history: History
  /** Whether there is no journal, or nothing in it. */
  isNew = true
  readonly failures: FailureLeft[] = []
  /** Whether what stands in the file of failures is told no more: whoever took it up died before it was gone. */
  hasRetried = false
  readonly #paths: JobPaths
  readonly #input: Input

  constructor(paths: JobPaths, input: Input) {
    this.#paths = paths
    this.#input = input
    const standing = new Standing(input.count, input.lineCount)
    this.history = new History(standing, (id) => input.lineOf(id))
  }

  /** To be read first. */
  get journalForm(): LinesForm {
    const beginning = (line: number): string => (line === 1 ? BEGINNINGS.journal : BEGINNINGS.entry)
    return { path: this.#paths.journal, beginning, onLine: (...line) => this.#entry(...line) }
  }

  get answersForm(): LinesForm {
    const beginning = (): string => BEGINNINGS.outcome
    return { path: this.#paths.output, beginning, onLine: (...line) => this.#answer(...line) }
  }

  get failuresForm(): LinesForm {
    const beginning = (): string => BEGINNINGS.outcome
    return { path: this.#paths.failures, beginning, onLine: (...line) => this.#failure(...line) }
  }

  #entry(bytes: Buffer, at: number): void {
    const entry = journalEntryIn(bytes)
    const isPlaced = (at === 1) === (entry?.kind === 'job')
    if (!entry || !isPlaced || idsIn(entry).some((id) => this.#input.lineOf(id) === undefined))
      throw foreign(this.#paths.journal, at)
    if (entry.kind === 'job') this.#checkInput(entry)
    this.isNew = false
    this.history.follow(entry)
  }

  #answer(bytes: Buffer, at: number): void {
    const { standing } = this.history
    const answer = recordIn(writtenAnswer, bytes)
    const line = answer && this.#input.lineOf(answer.id)
    if (!answer || !line || !standing.isOpen(line)) throw foreign(this.#paths.output, at)
    const { cost_usd: costNanoUsd, tokens } = answer
    standing.answer(line, { costNanoUsd, tokens })
  }

  #failure(bytes: Buffer, at: number): void {
    const { standing, retriedBy } = this.history
    const failure = recordIn(writtenFailure, bytes)
    if (!failure || !this.#isOf(failure)) throw foreign(this.#paths.failures, at)
    const { line, run, cost_usd: costNanoUsd } = failure
    const isRetried = run < retriedBy
    // All of a file were taken up, or none.
    const isOdd = isRetried ? this.failures.length > 0 : this.hasRetried || !standing.isOpen(line)
    if (isOdd) throw foreign(this.#paths.failures, at)
    this.hasRetried = isRetried
    if (isRetried) return
    standing.fail(line, { costNanoUsd, tokens: null })
    this.failures.push({ line, costNanoUsd })
  }

  /** A bad line has no id of its own. */
  #isOf({ id, line }: { readonly id: string; readonly line: number }): boolean {
    return this.#input.isBad(line) || this.#input.lineOf(id) === line
  }

  #checkInput({ input }: Extract<JournalEntry, { kind: 'job' }>): void {
    const { mark, path: name } = this.#input
    if (input.sha256 === mark.sha256 && input.bytes === mark.bytes) return
    throw new JobError('input', [
      `${name}: is not what ${this.#paths.output} was begun with (${input.path}, ${input.bytes} bytes): ` +
        'put it back as it was, or name another output',
    ])
  }
}

function idsIn(entry: JournalEntry): readonly string[] {
  if ('id' in entry) return [entry.id]
  return entry.kind === 'batch' ? entry.payloads.map(({ id }) => id) : []
}
