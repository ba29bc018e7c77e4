// What an outcome means for its prompt: that is over, or is sent again, and is paid for. Owns: the job's money while
// prompts are with workers, and how often one is sent. Must not know: the queue.
import type { Clock } from '../../core/clock.ts'
import type { FleetEvent } from '../events.ts'
import { notSentAgain } from '../outcome.ts'
import type { Answered, Failed } from '../payload.ts'
import type { Purse } from '../purse.ts'
import { pauseMs, RetryBudget } from '../retry-budget.ts'
import type { SpendingJournal } from '../spending-journal.ts'
import type { Outcome } from './entry.ts'
import type { PromptTask } from './prompt-task.ts'

export interface SettlementOptions {
  readonly clock: Clock
  readonly random: () => number
  readonly purse: Purse
  readonly spending: SpendingJournal
  readonly onEvent: (event: FleetEvent) => void
}

const RETRIES_PER_PROMPT = 3
/** Of all workers together. */
const RETRIES_PER_MINUTE = 20
/** A prompt that so many workers were lost with may be why. */
const MOST_LOSSES = 3

const LOST_WITH_WORKER: Failed['error'] = {
  status: null,
  type: 'worker_lost',
  message: 'Its worker is gone.',
  isRetryable: true,
}

export class Settlement {
  readonly #options: SettlementOptions
  readonly #retryBudget = new RetryBudget(RETRIES_PER_MINUTE)
  #lost = 0
  /** What a worker has last said of why it takes no more. */
  #lastWhy: string | null = null

  constructor(options: SettlementOptions) {
    this.#options = options
  }

  /**
   * Pays for what has become of an entry.
   *
   * @param outcome null where its worker is gone
   * @returns null where the prompt is to be sent again, from `dueAt` on
   */
  async settle(task: PromptTask, outcome: Outcome | null): Promise<Answered | Failed | null> {
    const { clock } = this.#options
    if (!outcome) return this.#lose(task)
    this.giveBack(task)
    if (outcome.kind === 'returned') {
      this.#tellReturned(outcome.why)
      task.dueAt = clock.now()
      return null
    }
    // Its worker may not know the price.
    const cost = outcome.costNanoUsd ?? task.known?.worstNanoUsd ?? null
    this.#pay(task, outcome.attempts, cost)
    if (outcome.kind === 'answered') return task.answered(outcome, clock.now())
    return this.#fail(task, outcome, cost)
  }

  /** What was set aside is free again. */
  giveBack(task: PromptTask): void {
    this.#options.purse.giveBack(task.riskNanoUsd ?? 0)
    task.riskNanoUsd = 0
  }

  /** It is not sent again. Null where it never was. */
  leftOpen(task: PromptTask): Failed | null {
    const { clock } = this.#options
    return task.wasSent ? task.failed(notSentAgain(task.lastError), clock.now()) : null
  }

  /** Says how many were lost since this was asked last. */
  tellLosses(): void {
    if (this.#lost === 0) return
    const prompts = this.#lost === 1 ? '1 prompt was' : `${this.#lost} prompts were`
    this.#lost = 0
    const sentence = `${prompts} with a worker that is gone: counted at the most that this can have cost`
    this.#options.onEvent({ kind: 'warned', sentence })
  }

  async #fail(
    task: PromptTask,
    { error, retryAfterMs }: Extract<Outcome, { kind: 'failed' }>,
    costNanoUsd: number | null,
  ): Promise<Failed | null> {
    const { clock, random, onEvent } = this.#options
    const isAgain = error.isRetryable && task.retries < RETRIES_PER_PROMPT
    const wishedAt = clock.now() + pauseMs(task.retries, retryAfterMs, random())
    const retryAt = isAgain ? this.#retryBudget.take(wishedAt) : null
    onEvent({ kind: 'attempt_failed', id: task.id, error, costNanoUsd, retryAt })
    if (retryAt === null) return task.failed(error, clock.now())
    task.retries++
    task.lastError = error
    task.dueAt = retryAt
    await this.#writeDown(task, costNanoUsd)
    return null
  }

  /** Its worker is gone, or Redis has lost it: it may have been sent. */
  async #lose(task: PromptTask): Promise<Failed | null> {
    const { clock } = this.#options
    const cost = task.riskNanoUsd
    this.giveBack(task)
    this.#pay(task, 1, cost)
    this.#lost++
    // Of what was not seen to be begun no worker died.
    if (task.isBegun) task.losses++
    if (task.losses >= MOST_LOSSES) {
      const message = `${task.losses} workers were lost while they had this prompt.`
      // The prompt may be why: it is not for this run to try it once more.
      const error = { status: null, type: 'worker_lost', message, isRetryable: false }
      return task.failed(error, clock.now())
    }
    task.lastError = LOST_WITH_WORKER
    task.dueAt = clock.now()
    await this.#writeDown(task, cost)
    return null
  }

  #pay(task: PromptTask, attempts: number, costNanoUsd: number | null): void {
    task.count(attempts, costNanoUsd)
    this.#options.purse.spend(costNanoUsd ?? 0)
  }

  /** So that no kill makes the job forget it. */
  async #writeDown({ id }: PromptTask, costNanoUsd: number | null): Promise<void> {
    if (costNanoUsd) await this.#options.spending.failedAttempt({ id, costNanoUsd })
  }

  /** All prompts of a worker come back with the same. */
  #tellReturned(why: string | null): void {
    if (why === null || why === this.#lastWhy) return
    this.#lastWhy = why
    const sentence = `a worker has stopped, since the provider refuses its key: ${why}`
    this.#options.onEvent({ kind: 'warned', sentence })
  }
}
