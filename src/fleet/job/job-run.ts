// One run of a job. Owns: what is sent, what becomes of each result, and why the run has ended. Must not know: how
// prompts are sent, where files are, or how anything is shown.
import type { Clock } from '../../core/clock.ts'
import { BatchOutOfReach, type FleetBatches } from '../batch/batch-record.ts'
import { NOT_SENT_AGAIN } from '../outcome.ts'
import type { BudgetExceeded, Failed, FleetResult, Payload, QuotaExhausted } from '../payload.ts'
import type { SpendingJournal } from '../spending-journal.ts'
import { isShutOut } from './failure-kinds.ts'
import { FirstFailures } from './first-failures.ts'
import type { Input } from './input.ts'
import { JobBatches } from './job-batches.ts'
import type { JobFiles } from './job-files.ts'
import type { Journal } from './journal.ts'
import { Outcomes } from './outcomes.ts'
import { JobError, reasonOf } from './problem.ts'
import { type Pause, Reruns } from './reruns.ts'
import type { Loss, Standing } from './standing.ts'

/** What sends the prompts. */
export interface PromptSender {
  dispatch(
    payloads: AsyncIterable<Payload>,
    options: {
      readonly signal: AbortSignal
      readonly stop: AbortSignal
      readonly count: number
      readonly batches: FleetBatches
      /** Told of each prompt that goes alone, and of none that goes in a batch. */
      readonly spending: Required<SpendingJournal>
    },
  ): AsyncIterable<FleetResult>
}

export interface JobRunOptions {
  readonly clock: Clock
  /** What the run was told, for whoever reads the journal. */
  readonly about: Readonly<Record<string, unknown>>
}

export interface RunSignals {
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
  /** A batch of the job's is there, and cannot be read with this key: it stays pending. */
  | {
      readonly kind: 'batch_out_of_reach'
      readonly status: number | null
      readonly message: string
    }
  /** The first prompts have all failed for one reason: so would the others. */
  | { readonly kind: 'alike'; readonly prompts: number; readonly error: Failed['error'] }
  /** The files can't be read or written any more. */
  | { readonly kind: 'broken'; readonly problems: readonly string[] }

export class JobRun {
  readonly #options: JobRunOptions
  readonly #input: Input
  readonly #standing: Standing
  readonly #number: number
  readonly #journal: Journal
  readonly #losses: readonly Loss[]
  readonly #outcomes: Outcomes
  readonly #batches: JobBatches
  /** Ids of prompts that were taken to be sent, and have no outcome. As many as the sender takes at once. */
  readonly #underWay = new Set<string>()
  readonly #reruns: Reruns
  readonly #firstFailures = new FirstFailures()
  /** What has ended the run before its prompts did. */
  #end: RunEnd | null = null
  /** Aborted with that. */
  readonly #ended = new AbortController()
  #isClosed = false

  constructor(options: JobRunOptions, input: Input, files: JobFiles) {
    const { history, journal, run, losses } = files
    this.#options = options
    this.#input = input
    this.#standing = history.standing
    this.#number = run
    this.#journal = journal
    this.#losses = losses
    const failed = (error: unknown): void => this.#break(error)
    this.#reruns = new Reruns(options.clock)
    this.#outcomes = new Outcomes({ files, clock: options.clock, failed })
    this.#batches = new JobBatches({
      journal,
      pending: history.batches.all,
      standing: history.standing,
      lineOf: (id) => input.lineOf(id),
      onJoined: (id) => this.#underWay.delete(id),
      kept: () => this.#outcomes.flush(),
    })
  }

  /** Prompts that are being sent or wait for it. */
  get underWay(): number {
    return this.#underWay.size + this.inBatches
  }

  /** Those of them that are in a batch, or wait for one. */
  get inBatches(): number {
    return this.#batches.size
  }

  /** And those of these whose batch the provider may have. */
  get inSentBatches(): number {
    return this.#batches.sent
  }

  /** While nothing is sent, since nothing got through for the prompts that are left. */
  get pause(): Pause | null {
    return this.#reruns.pause
  }

  /** Sends what is open, and closes the files. Only once. */
  async run(sender: PromptSender, { stop, abort }: RunSignals): Promise<RunEnd> {
    const standing = this.#standing
    const signals = { stop: AbortSignal.any([stop, abort, this.#ended.signal]), abort }
    try {
      let isGoingOn = standing.open > 0 && (await this.#noteRun())
      while (isGoingOn) {
        await this.#dispatch(sender, signals)
        isGoingOn = await this.#reruns.due(signals.stop)
      }
    } finally {
      await this.close()
      standing.loseBegun()
    }
    if (this.#end) return this.#end
    if (standing.open === 0) return { kind: 'finished' }
    if (signals.stop.aborted) return { kind: 'stopped' }
    const left = `${standing.open} prompts were left without an outcome: run the same command again`
    return { kind: 'broken', problems: [left] }
  }

  /** Writes what is left, and closes the files. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    const unkept = await this.#outcomes.close()
    await this.#journal.close().catch((error: unknown) => this.#break(error))
    if (unkept.length === 0) return
    const problems = this.#end?.kind === 'broken' ? this.#end.problems : []
    this.#end = { kind: 'broken', problems: [...problems, ...unkept] }
  }

  async #dispatch(sender: PromptSender, { stop, abort }: RunSignals): Promise<void> {
    try {
      for await (const result of sender.dispatch(this.#payloads(stop), {
        signal: abort,
        stop,
        count: this.#standing.open - this.inBatches,
        batches: this.#batches.handOver(),
        spending: {
          sending: (prompt) => this.#noteSending(prompt),
          failedAttempt: (attempt) => this.#noteFailedAttempt(attempt),
        },
      }))
        await this.#take(result, abort)
      if (!abort.aborted) await this.#noteUnsent()
    } catch (error) {
      // Whoever wanted no more results has got none.
      if (abort.aborted && error === abort.reason) return
      if (error instanceof BatchOutOfReach) {
        const { status, message } = error
        this.#finish({ kind: 'batch_out_of_reach', status, message })
        // What was under way has ended before this was told.
        await this.#noteUnsent()
      } else if (error instanceof JobError) this.#break(error)
      else throw error
    }
  }

  /** The open prompts. Never throws: what goes wrong ends the run. */
  async *#payloads(stop: AbortSignal): AsyncGenerator<Payload> {
    const { mayWait } = this.#reruns
    const isWanted = (line: number): boolean =>
      !this.#outcomes.has(line) && !this.#batches.has(line)
    try {
      for await (const read of this.#input.read(isWanted)) {
        if (stop.aborted) return
        if (read.kind === 'bad') {
          await this.#outcomes.keepBad(read.line, read.id, read.why)
          continue
        }
        this.#underWay.add(read.payload.id)
        yield mayWait ? read.payload : { ...read.payload, withinMs: 0 }
      }
    } catch (error) {
      this.#break(error)
    }
  }

  async #take(result: FleetResult, abort: AbortSignal): Promise<void> {
    if (result.kind !== 'answered' && result.kind !== 'failed') return this.#finish(result)
    const line = this.#lineOf(result)
    if (result.kind === 'failed' && this.#isLeftOpen(result, abort)) {
      if (!abort.aborted) await this.#leave(result)
    } else {
      const alike = this.#firstFailures.take(result)
      if (alike) this.#finish({ kind: 'alike', ...alike })
      await this.#outcomes.keep(line, result)
    }
    this.#underWay.delete(result.id)
    this.#batches.delete(line)
  }

  /** Whether a failure says nothing of its prompt, which is to be run another time. */
  #isLeftOpen(result: Failed, abort: AbortSignal): boolean {
    const { error } = result
    // Nothing was sent any more when it was to be sent again: the run's end tells why.
    if (abort.aborted || error.type === NOT_SENT_AGAIN.type) return true
    if (isShutOut(error)) {
      this.#finish({ kind: 'shut_out', status: error.status, message: error.message })
      return true
    }
    return this.#reruns.claims(result)
  }

  /** What a prompt has cost that stays open. Where that is not known it counts as lost. */
  async #leave({ id, via, costNanoUsd }: Failed): Promise<void> {
    if (costNanoUsd === null || (via === 'batch' && costNanoUsd === 0)) return
    await this.#noted({ kind: 'unsent', id, cost_nano_usd: costNanoUsd })
  }

  #lineOf({ id }: Pick<Payload, 'id'>): number {
    const line = this.#input.lineOf(id)
    if (line === undefined) throw new Error(`nobody has sent the prompt ${JSON.stringify(id)}`)
    return line
  }

  async #noteRun(): Promise<boolean> {
    const { clock, about } = this.#options
    const at = new Date(clock.now()).toISOString()
    if (!(await this.#noted({ kind: 'run', run: this.#number, at, options: about }))) return false
    if (this.#losses.length === 0) return true
    // Nothing that becomes of these prompts from now on says what was lost of them.
    const lines = this.#losses.map(({ line, costNanoUsd: cost }) => ({ line, cost_nano_usd: cost }))
    return await this.#noted({ kind: 'lost', lines })
  }

  /** Where it cannot be written it is not sent: the run has ended then. */
  async #noteSending({ id, worstNanoUsd }: PromptSent): Promise<void> {
    await this.#noted({ kind: 'started', id, worst_nano_usd: worstNanoUsd })
  }

  /** Where it cannot be written nothing is sent again. */
  async #noteFailedAttempt({ id, costNanoUsd }: FailedAttempt): Promise<void> {
    await this.#noted({ kind: 'attempt_failed', id, cost_nano_usd: costNanoUsd })
  }

  /** What was about to be sent and has no result was not. */
  async #noteUnsent(): Promise<void> {
    for (const id of this.#underWay) {
      if (!this.#standing.isBegun(this.#lineOf({ id }))) continue
      if (!(await this.#noted({ kind: 'unsent', id, cost_nano_usd: 0 }))) return
    }
  }

  /** Writes to the journal; false where that has failed, which ends the run. */
  async #noted(entry: Parameters<Journal['note']>[0]): Promise<boolean> {
    try {
      await this.#journal.note(entry)
      return true
    } catch (error) {
      this.#break(error)
      return false
    }
  }

  /** What is wrong with a file ends the run, and is told before anything else that has ended it. */
  #break(error: unknown): void {
    if (this.#end?.kind === 'broken') return
    const problems = error instanceof JobError ? error.problems : [reasonOf(error)]
    this.#end = null
    this.#finish({ kind: 'broken', problems })
  }

  /** Nothing new is sent; what is under way is waited for, and written if that can be done in the end. */
  #finish(end: RunEnd): void {
    this.#end ??= end
    this.#ended.abort()
  }
}

type PromptSent = Parameters<Required<SpendingJournal>['sending']>[0]
type FailedAttempt = Parameters<SpendingJournal['failedAttempt']>[0]
