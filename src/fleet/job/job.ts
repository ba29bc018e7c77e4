// A job of many prompts in a file, whose answers are kept in another. Owns: that each prompt has one outcome in
// the end, whatever ends a run: a job is taken up where its files say it is. Must not know: how prompts are
// sent, or how anything is shown.
import { Input } from './input.ts'
import { type JobFiles, openJobFiles } from './job-files.ts'
import { type JobPaths, placesFor } from './job-paths.ts'
import {
  JobRun,
  type JobRunOptions,
  type PromptSender,
  type RunEnd,
  type RunSignals,
} from './job-run.ts'
import { JobLock } from './lock.ts'
import type { Pause } from './reruns.ts'
import type { Standing } from './standing.ts'

export type { PromptSender, RunEnd } from './job-run.ts'

export interface JobOptions extends JobRunOptions {
  readonly inputPath: string
  readonly outputPath: string
  /** Whether lines that are no prompts become failures, rather than keep the job from being run. */
  readonly skipsBad: boolean
  /** Whether what has failed in earlier runs is run again. */
  readonly retriesFailed: boolean
}

interface Opened {
  readonly paths: JobPaths
  readonly input: Input
  readonly files: JobFiles
  readonly lock: JobLock
}

export class Job implements AsyncDisposable {
  readonly paths: JobPaths
  readonly standing: Standing
  /** Prompts with an outcome before this run. */
  readonly doneBefore: number
  /** Open prompts that earlier runs may have sent, and the most that all that was lost so has ever cost. */
  readonly lost: { readonly prompts: number; readonly costNanoUsd: number }
  readonly #input: Input
  readonly #lock: JobLock
  readonly #run: JobRun

  private constructor(options: JobOptions, { paths, input, files, lock }: Opened) {
    const { standing } = files.history
    this.paths = paths
    this.standing = standing
    this.doneBefore = standing.total - standing.open
    this.lost = { prompts: standing.lost, costNanoUsd: standing.lostNanoUsd }
    this.#input = input
    this.#lock = lock
    this.#run = new JobRun(options, input, files)
  }

  /**
   * Looks at all of the input, and takes up the job where earlier runs of it have ended.
   *
   * @throws JobError for its bad lines, for files that are not its own, and while another run has them; nothing
   *   is left behind then
   */
  static async open(options: JobOptions): Promise<Job> {
    const { inputPath, outputPath, skipsBad, retriesFailed } = options
    const input = await Input.open(inputPath, { skipsBad })
    let lock: JobLock | null = null
    try {
      const paths = await placesFor(outputPath, inputPath)
      lock = JobLock.take(paths.lock, outputPath)
      const files = await openJobFiles(paths, input, { retriesFailed })
      return new Job(options, { paths, input, files, lock })
    } catch (error) {
      lock?.undo()
      await input[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Prompts that are being sent or wait for it. */
  get underWay(): number {
    return this.#run.underWay
  }

  /** Those of them that are in a batch, or wait for one. */
  get inBatches(): number {
    return this.#run.inBatches
  }

  /** And those of these whose batch the provider may have. */
  get inSentBatches(): number {
    return this.#run.inSentBatches
  }

  /** While nothing is sent, since nothing got through for the prompts that are left. */
  get pause(): Pause | null {
    return this.#run.pause
  }

  /** Whether the prompt of that id has no outcome on the disk. False where there is none. */
  isOpen(id: string): boolean {
    const line = this.#input.lineOf(id)
    return line !== undefined && this.standing.isOpen(line)
  }

  /** Nano-dollars that all runs have spent, without what is under way: what was lost counts at the most. */
  get spentNanoUsd(): number {
    return this.standing.spentNanoUsd + this.standing.lostNanoUsd
  }

  /** Sends what is open. Only once. */
  run(sender: PromptSender, signals: RunSignals): Promise<RunEnd> {
    return this.#run.run(sender, signals)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run.close()
    await this.#input[Symbol.asyncDispose]()
    this.#lock[Symbol.dispose]()
  }
}
