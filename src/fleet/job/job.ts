// A job of many prompts in a file, whose answers are kept in another. Owns: that each prompt has one
// outcome in the end, whatever ends a run, and why a run has ended. Must not know: how prompts are sent, or
// how anything is shown.
import type { Clock } from '../../core/clock.ts'
import { BatchOutOfReach, type FleetBatches } from '../batch/batch-record.ts'
import type {
  Answered,
  BudgetExceeded,
  Failed,
  FleetResult,
  MessageParams,
  Payload,
  QuotaExhausted,
} from '../payload.ts'
import { GroupedLines } from './grouped-lines.ts'
import { Input } from './input.ts'
import { JobBatches } from './job-batches.ts'
import { checkPlaces, JobFiles, pathsOf } from './job-files.ts'
import type { KeptLines } from './kept-lines.ts'
import { JobLock } from './lock.ts'
import { JobError, reasonOf } from './problem.ts'
import { answerLine, badLine, failureLine, journalLine } from './records.ts'
import { isShutOut } from './shut-out.ts'
import type { Standing } from './standing.ts'

/** What sends the prompts. */
export interface PromptSender {
  dispatch(
    payloads: AsyncIterable<Payload>,
    options: {
      readonly signal: AbortSignal
      readonly count: number
      readonly batches: FleetBatches
    },
  ): AsyncIterable<FleetResult>
}

export interface JobOptions {
  readonly inputPath: string
  readonly outputPath: string
  readonly clock: Clock
  /** Whether lines that are no prompts become failures, rather than keep the job from being run. */
  readonly skipsBad: boolean
  /** Whether what has failed in earlier runs is run again. */
  readonly retriesFailed: boolean
  /** The most that a prompt can cost, in nano-dollars; null where that is not known. */
  readonly worstOf: (params: MessageParams) => number | null
  /** What the run was told, for whoever reads the journal. */
  readonly about: Readonly<Record<string, unknown>>
}

export interface RunOptions {
  /** Aborted when nothing new is to be sent. What is under way is waited for. */
  readonly stop: AbortSignal
  /** Aborted when nothing is to be waited for any more. */
  readonly abort: AbortSignal
}

export type RunEnd =
  /** Every prompt has an outcome; some may have failed. */
  | { readonly kind: 'finished' }
  | { readonly kind: 'stopped' }
  | BudgetExceeded
  | QuotaExhausted
  /** The provider takes nothing more from this key. */
  | { readonly kind: 'shut_out'; readonly status: number | null; readonly message: string }
  /** The files can't be read or written any more. */
  | { readonly kind: 'broken'; readonly problems: readonly string[] }

/** A prompt that was to be sent again when money or a long window was used up, of which the run's end tells. */
const STOPPED = 'stopped'

/** Of a batch that a killed run was about to create. */
const NOT_SUBMITTED = 'batch_not_submitted'

export class Job implements AsyncDisposable {
  readonly standing: Standing
  /** Prompts with an outcome before this run. */
  readonly doneBefore: number
  /** Prompts that earlier runs may have sent without keeping an answer, and the most that this has cost. */
  readonly lost: { readonly prompts: number; readonly costNanoUsd: number }
  readonly #options: JobOptions
  readonly #input: Input
  readonly #files: JobFiles
  readonly #lock: JobLock
  readonly #answers: GroupedLines
  readonly #failures: GroupedLines
  /** Ids of prompts that were taken to be sent, and have no outcome. As many as the sender takes at once. */
  readonly #underWay = new Set<string>()
  readonly #batches: JobBatches
  /** Prompts that came back from a batch without an answer or a bill: they are sent once more. */
  #unbatched = 0
  /** Whether any of them was really sent: then they go alone. */
  #wasBatchInVain = false
  /** What has ended the run before its prompts did. */
  #end: RunEnd | null = null
  #isClosed = false

  private constructor(options: JobOptions, input: Input, files: JobFiles, lock: JobLock) {
    this.#options = options
    this.#input = input
    this.#files = files
    this.#lock = lock
    this.standing = files.standing
    this.doneBefore = this.standing.total - this.standing.open
    this.#answers = this.#grouped(files.output)
    this.#failures = this.#grouped(files.failures)
    this.#batches = new JobBatches({
      journal: files.journal,
      pending: files.pending,
      standing: files.standing,
      lineOf: (id) => input.lineOf(id),
      onJoined: (id) => this.#underWay.delete(id),
      kept: async () => (await this.#answers.flush()) && (await this.#failures.flush()),
    })
    this.lost = this.standing.lost()
  }

  /**
   * Looks at all of the input, and takes up the job where earlier runs of it have ended.
   *
   * @throws JobError for its bad lines, for files that are not its own, and while another run has them
   */
  static async open(options: JobOptions): Promise<Job> {
    const { inputPath, outputPath, skipsBad, retriesFailed } = options
    const paths = pathsOf(outputPath)
    const input = await Input.open(inputPath, { skipsBad })
    let lock: JobLock | null = null
    try {
      await checkPlaces(inputPath, paths)
      lock = JobLock.take(paths.lock, outputPath)
      const files = await JobFiles.open(paths, input)
      if (retriesFailed) await files.reopenFailed()
      return new Job(options, input, files, lock)
    } catch (error) {
      lock?.[Symbol.dispose]()
      await input[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Prompts that are being sent or wait for it. */
  get underWay(): number {
    return this.#underWay.size + this.inBatches
  }

  /** Those of them that are in a batch, or wait for one. */
  get inBatches(): number {
    return this.#batches.size
  }

  /** Spent by outcomes, and at most by what was lost. Nano-dollars. */
  get spentNanoUsd(): number {
    return this.standing.spentNanoUsd + this.lost.costNanoUsd
  }

  /** Runs what is open, and closes the files. Only once. */
  async run(sender: PromptSender, options: RunOptions): Promise<RunEnd> {
    const { standing } = this
    try {
      if (standing.open > 0 && (await this.#noteRun())) await this.#dispatch(sender, options, true)
      const { stop, abort } = options
      while (this.#unbatched > 0 && !this.#end && !stop.aborted && !abort.aborted) {
        this.#unbatched = 0
        await this.#dispatch(sender, options, !this.#wasBatchInVain)
      }
    } finally {
      await this.#closeFiles()
    }
    if (this.#end) return this.#end
    if (standing.open === 0) return { kind: 'finished' }
    if (options.stop.aborted || options.abort.aborted) return { kind: 'stopped' }
    const left = `${standing.open} prompts were left without an outcome: run the same command again`
    return { kind: 'broken', problems: [left] }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closeFiles()
    await this.#input[Symbol.asyncDispose]()
    this.#lock[Symbol.dispose]()
  }

  #noteRun(): Promise<boolean> {
    const { clock, about } = this.#options
    const { run } = this.#files
    const at = new Date(clock.now()).toISOString()
    return this.#noted(journalLine({ kind: 'run', run, at, options: about }))
  }

  async #dispatch(sender: PromptSender, options: RunOptions, canWait: boolean): Promise<void> {
    const { stop, abort } = options
    const payloads = this.#payloads(stop, canWait)
    try {
      for await (const result of sender.dispatch(payloads, {
        signal: abort,
        count: this.standing.open - this.inBatches,
        batches: this.#batches.handOver(stop),
      }))
        await this.#take(result, abort)
      if (!abort.aborted) await this.#noteUnsent()
    } catch (error) {
      // Whoever wanted no more results has got none.
      if (abort.aborted && error === abort.reason) return
      if (error instanceof BatchOutOfReach) {
        const { status, message } = error
        this.#end ??= { kind: 'shut_out', status, message }
      } else if (error instanceof JobError) this.#break(error)
      else throw error
    }
  }

  /** What was taken and has no outcome was not sent, or has cost nothing. */
  async #noteUnsent(): Promise<void> {
    for (const id of this.#underWay)
      if (!(await this.#noted(journalLine({ kind: 'unsent', id })))) return
  }

  /** The open prompts, each noted before it is handed over. Never throws: what goes wrong ends the run. */
  async *#payloads(stop: AbortSignal, canWait: boolean): AsyncGenerator<Payload> {
    const { standing } = this
    const isWanted = (line: number): boolean => standing.isOpen(line) && !this.#batches.has(line)
    const lines = this.#input.read(isWanted)
    try {
      for await (const read of lines) {
        if (stop.aborted || this.#end) return
        const { line } = read
        if (read.kind === 'bad') {
          this.#failures.append(badLine(read.id, read.why, this.#place(line)), () =>
            standing.fail(line, { costNanoUsd: 0, tokens: null }),
          )
          await this.#failures.room()
          continue
        }
        const { id, params } = read.payload
        const worst = this.#options.worstOf(params)
        const note = journalLine({ kind: 'started', id, worst_nano_usd: worst })
        if (!(await this.#noted(note))) return
        this.#underWay.add(id)
        yield canWait ? read.payload : { ...read.payload, withinMs: 0 }
      }
    } catch (error) {
      this.#break(error)
    }
  }

  async #take(result: FleetResult, abort: AbortSignal): Promise<void> {
    switch (result.kind) {
      case 'answered':
        await this.#keep(this.#answers, result, answerLine(result))
        break
      case 'failed':
        if (!this.#isLeftOpen(result, abort))
          await this.#keep(this.#failures, result, failureLine(result, this.#placeOf(result)))
        else if (result.via === 'batch') await this.#takeOut(result)
        // Some of it may have to be paid: for the journal it stays begun.
        else if (result.costNanoUsd !== 0) this.#underWay.delete(result.id)
        break
      default:
        this.#end ??= result
    }
  }

  /** What has cost something, or may have, stays begun for the journal. */
  async #takeOut(result: Failed): Promise<void> {
    this.#batches.delete(this.#placeOf(result).line)
    if (result.costNanoUsd === 0) await this.#noted(journalLine({ kind: 'unsent', id: result.id }))
  }

  /** It may count only once it is on the disk. */
  async #keep(file: GroupedLines, result: Answered | Failed, text: string): Promise<void> {
    const { standing } = this
    const { line } = this.#placeOf(result)
    if (!standing.isOpen(line)) throw new Error(`line ${line} was answered twice`)
    this.#underWay.delete(result.id)
    this.#batches.delete(line)
    file.append(text, () => {
      if (result.kind === 'answered') standing.answer(line, result)
      else standing.fail(line, result)
    })
    await file.room()
  }

  /** Whether a failure says nothing of its prompt, which is to be run another time. */
  #isLeftOpen({ error, via, costNanoUsd }: Failed, abort: AbortSignal): boolean {
    if (abort.aborted || error.type === STOPPED) return true
    if (via === 'batch' && error.isRetryable && costNanoUsd === 0) {
      this.#unbatched++
      this.#wasBatchInVain ||= error.type !== NOT_SUBMITTED
      return true
    }
    if (!isShutOut(error)) return false
    this.#end ??= { kind: 'shut_out', status: error.status, message: error.message }
    return true
  }

  #placeOf({ id }: Answered | Failed): { line: number; run: number } {
    const line = this.#input.lineOf(id)
    if (line === undefined) throw new Error(`nobody has sent the prompt ${JSON.stringify(id)}`)
    return this.#place(line)
  }

  #place(line: number): { line: number; run: number } {
    return { line, run: this.#files.run }
  }

  /** Writes to the journal; false where that has failed, which ends the run. */
  async #noted(text: string): Promise<boolean> {
    try {
      await this.#files.journal.write(text)
      return true
    } catch (error) {
      this.#break(error)
      return false
    }
  }

  #grouped(lines: KeptLines): GroupedLines {
    const failed = (error: unknown): void => this.#break(error)
    return new GroupedLines({ lines, clock: this.#options.clock, failed })
  }

  /** Nothing new is sent; what is under way is waited for, and written if that can be done in the end. */
  #break(error: unknown): void {
    if (this.#end?.kind === 'broken') return
    const problems = error instanceof JobError ? error.problems : [reasonOf(error)]
    this.#end = { kind: 'broken', problems }
  }

  async #closeFiles(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const [lines, what] of [
      [this.#answers, 'answers'],
      [this.#failures, 'failures'],
    ] as const) {
      try {
        await lines.close()
      } catch (error) {
        this.#break(error)
      }
      if (lines.waiting > 0) this.#lose(lines.waiting, what)
    }
    await this.#files.journal.close()
  }

  #lose(count: number, what: string): void {
    const problems = this.#end?.kind === 'broken' ? this.#end.problems : []
    const left = `${count} ${what} could not be kept: these prompts will be sent again`
    this.#end = { kind: 'broken', problems: [...problems, left] }
  }
}
