// The files that a job writes: answers, failures and a journal. Owns: which they are, and what an earlier
// run has left in them. Must not know: how anything is sent.
import { realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import type { PendingBatch } from '../batch/batch-record.ts'
import type { Input } from './input.ts'
import { KeptLines } from './kept-lines.ts'
import { PendingBatches } from './pending-batches.ts'
import { JobError, reasonOf } from './problem.ts'
import {
  headerOf,
  type JournalEntry,
  journalEntryIn,
  journalLine,
  recordIn,
  writtenAnswer,
  writtenFailure,
} from './records.ts'
import { Standing } from './standing.ts'

export interface JobPaths {
  readonly output: string
  readonly failures: string
  readonly journal: string
  readonly lock: string
}

/** Beside the output `answers.jsonl`: `answers.failures.jsonl`, `answers.jsonl.journal` and a lock. */
export function pathsOf(output: string): JobPaths {
  return {
    output,
    failures: `${output.replace(/\.jsonl$/, '')}.failures.jsonl`,
    journal: `${output}.journal`,
    lock: `${output}.lock`,
  }
}

/** @throws JobError when answers would be written over the prompts, or to nowhere */
export async function checkPlaces(input: string, paths: JobPaths): Promise<void> {
  const folder = path.dirname(paths.output)
  await realpath(folder).catch((error: unknown) => {
    throw new JobError('run', [`${paths.output}: cannot be written: ${reasonOf(error)}`], error)
  })
  for (const written of Object.values(paths))
    if (await isSame(input, written))
      throw new JobError('input', [`${written}: is the input too: name another output`])
}

async function isSame(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([a, b].map((file) => stat(file).catch(() => null)))
  return one?.ino === other?.ino && one?.dev === other?.dev && one !== null && one !== undefined
}

/** A failure that an earlier run has written. */
interface FailureLeft {
  readonly line: number
  readonly run: number
  readonly costNanoUsd: number
}

export class JobFiles {
  readonly paths: JobPaths
  readonly standing: Standing
  readonly output: KeptLines
  readonly failures: KeptLines
  readonly journal: KeptLines
  /** Of the run that has opened them, from 1. */
  readonly run: number
  /** Batches whose results earlier runs have not taken, or not all of them. */
  readonly pending: readonly PendingBatch[]
  readonly #failuresLeft: readonly FailureLeft[]

  private constructor(
    files: Pick<
      JobFiles,
      'paths' | 'standing' | 'output' | 'failures' | 'journal' | 'run' | 'pending'
    >,
    failuresLeft: readonly FailureLeft[],
  ) {
    this.paths = files.paths
    this.standing = files.standing
    this.output = files.output
    this.failures = files.failures
    this.journal = files.journal
    this.run = files.run
    this.pending = files.pending
    this.#failuresLeft = failuresLeft
  }

  /**
   * Opens the files of this input's job, or makes them.
   *
   * @throws JobError when they are another job's, and when they cannot be read or written
   */
  static async open(paths: JobPaths, input: Input): Promise<JobFiles> {
    const standing = new Standing(input.count, input.lineCount)
    const past = new Past(paths, input, standing)
    const opened: KeptLines[] = []
    const open = async (file: string, onLine: (bytes: Buffer, number: number) => void) => {
      const lines = await KeptLines.open(file, onLine)
      opened.push(lines)
      return lines
    }
    try {
      const journal = await open(paths.journal, (bytes, at) => past.journal(bytes, at))
      if (past.isNew) {
        await refuseStrangers(paths)
        await journal.write(journalLine(headerOf(input.path, input.mark)))
        await journal.sync()
      }
      const output = await open(paths.output, (bytes, at) => past.answer(bytes, at))
      const failures = await open(paths.failures, (bytes, at) => past.failure(bytes, at))
      const run = past.runs + 1
      const pending = past.batches.all
      return new JobFiles(
        { paths, standing, output, failures, journal, run, pending },
        past.failures,
      )
    } catch (error) {
      for (const lines of opened) await lines.close()
      throw error
    }
  }

  /** Has the failures of earlier runs run again. Their cost stays written down, in the journal. */
  async reopenFailed(): Promise<void> {
    if (this.#failuresLeft.length === 0) return
    for (const { line, run, costNanoUsd } of this.#failuresLeft) {
      await this.journal.write(
        journalLine({ kind: 'retried', line, run, cost_nano_usd: costNanoUsd }),
      )
      this.standing.reopen(line)
    }
    // Whoever dies between these two finds failures that the journal says are not any more.
    await this.journal.sync()
    await this.failures.clear()
  }
}

/** No output that is not this job's is touched. */
async function refuseStrangers({ output, failures, journal }: JobPaths): Promise<void> {
  for (const file of [output, failures]) {
    const size = await stat(file).then(
      (found) => found.size,
      () => 0,
    )
    if (size > 0)
      throw new JobError('input', [
        `${file}: is there already, and ${journal} is not: name another output, or remove it`,
      ])
  }
}

/** Reads what earlier runs have written, line by line. */
class Past {
  isNew = true
  runs = 0
  readonly failures: FailureLeft[] = []
  readonly batches = new PendingBatches()
  readonly #paths: JobPaths
  readonly #input: Input
  readonly #standing: Standing
  /** Failures that were taken up again: their lines may still stand in the file. */
  readonly #retried = new Set<string>()

  constructor(paths: JobPaths, input: Input, standing: Standing) {
    this.#paths = paths
    this.#input = input
    this.#standing = standing
  }

  journal(bytes: Buffer, at: number): void {
    const entry = journalEntryIn(bytes)
    if (!entry || (at === 1) !== (entry.kind === 'job')) throw strange(this.#paths.journal, at)
    this.#follow(entry)
  }

  answer(bytes: Buffer, at: number): void {
    const answer = recordIn(writtenAnswer, bytes)
    const line = answer && this.#input.lineOf(answer.id)
    if (!answer || !line || !this.#standing.isOpen(line)) throw strange(this.#paths.output, at)
    const { cost_usd: costNanoUsd, tokens } = answer
    this.#standing.answer(line, { costNanoUsd, tokens })
  }

  failure(bytes: Buffer, at: number): void {
    const failure = recordIn(writtenFailure, bytes)
    if (!failure) throw strange(this.#paths.failures, at)
    const { line, run, cost_usd: costNanoUsd } = failure
    if (this.#retried.has(`${line}/${run}`)) return
    if (!this.#standing.isOpen(line)) throw strange(this.#paths.failures, at)
    this.#standing.fail(line, { costNanoUsd, tokens: null })
    this.failures.push({ line, run, costNanoUsd: costNanoUsd ?? 0 })
  }

  #follow(entry: JournalEntry): void {
    switch (entry.kind) {
      case 'job':
        this.#checkInput(entry)
        this.isNew = false
        break
      case 'run':
        this.runs = entry.run
        break
      case 'started': {
        const line = this.#input.lineOf(entry.id)
        if (line !== undefined) this.#standing.start(line, entry.worst_nano_usd)
        break
      }
      case 'unsent': {
        const line = this.#input.lineOf(entry.id)
        if (line !== undefined) this.#standing.unsend(line)
        break
      }
      case 'retried':
        this.#retried.add(`${entry.line}/${entry.run}`)
        this.#standing.retried(entry.line, entry.cost_nano_usd)
        break
      case 'batch':
        for (const { id, worst_nano_usd: worst } of entry.payloads) {
          const line = this.#input.lineOf(id)
          if (line !== undefined) this.#standing.start(line, worst)
        }
        this.batches.follow(entry)
        break
      default:
        this.batches.follow(entry)
    }
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

const strange = (file: string, line: number): JobError =>
  new JobError('input', [
    `${file}:${line}: is not of this job: put the file back as it was, or name another output`,
  ])
