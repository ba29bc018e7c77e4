// Takes prompts off the queue, has them sent, and puts their outcomes there. Owns: that a prompt is this worker's for
// as long as it lives, and that a paid answer gets into the queue. Must not know: limits, or which job a prompt is of.
import type { Job, Worker } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import type { Clock } from '../../core/clock.ts'
import type { RedisStoreAddress } from '../../policy/store-address.ts'
import { isShutOut } from '../job/failure-kinds.ts'
import { connectTo } from './connection.ts'
import type { Courier } from './courier.ts'
import { type Entry, entryIn, type Outcome } from './entry.ts'
import { KEPT_FOR_MS, queueAt } from './prompt-queue.ts'
import { pause, within } from './waiting.ts'

export interface PromptWorkerOptions {
  readonly address: RedisStoreAddress
  readonly clock: Clock
  readonly courier: Courier
  /** Hears what is wrong with Redis, again and again while it lasts. */
  readonly failed: (error: unknown) => void
}

/** A prompt whose worker says nothing for so long is lost; a sign of life is given in half that time. */
const LOCK_MS = 15_000
/** For handing back what is broken off. What is not handed back is found to be lost. */
const HAND_BACK_WITHIN_MS = 2000
const TRY_AGAIN_MS = 500
/** What is left of entries that have expired while they waited. */
const KEPT = { age: KEPT_FOR_MS / 1000 }
/** What BullMQ says where there is no such entry any more. */
const NO_SUCH_ENTRY = -1

export class PromptWorker {
  answered = 0
  failed = 0
  readonly #options: PromptWorkerOptions
  readonly #worker: Worker
  readonly #client: Redis | Cluster
  readonly #abort = new AbortController()
  #leaving: Promise<void> | null = null
  #shutOut: string | null = null

  private constructor(
    options: PromptWorkerOptions,
    client: Redis | Cluster,
    { Worker }: typeof import('bullmq'),
  ) {
    const { address, courier, failed } = options
    const { name, prefix } = queueAt(address)
    this.#options = options
    this.#client = client
    this.#worker = new Worker(name, (job: Job) => this.#carry(job), {
      connection: client,
      prefix,
      autorun: false,
      concurrency: courier.atOnce,
      lockDuration: LOCK_MS,
      // The run looks for what is lost: it knows the job's money.
      skipStalledCheck: true,
      removeOnComplete: KEPT,
      removeOnFail: KEPT,
      skipVersionCheck: true,
    })
    this.#worker.on('error', failed)
  }

  static async open(options: PromptWorkerOptions): Promise<PromptWorker> {
    const bullmq = await import('bullmq')
    const client = await connectTo(options.address)
    client.on('error', options.failed)
    return new PromptWorker(options, client, bullmq)
  }

  takeAtOnce(count: number): void {
    this.#worker.concurrency = count
  }

  /**
   * Works until it is stopped, and what it has begun has its outcome.
   *
   * @param stop aborted when nothing new is to be taken
   * @param abort aborted when nothing is to be waited for: what is under way is lost
   * @returns why the provider takes nothing more from this worker's key, where that is what has stopped it
   */
  async run({ stop, abort }: { stop: AbortSignal; abort: AbortSignal }): Promise<string | null> {
    const onStop = (): void => this.#leave()
    const onAbort = (): void => this.#breakOff()
    stop.addEventListener('abort', onStop)
    abort.addEventListener('abort', onAbort)
    try {
      if (stop.aborted) this.#leave()
      else await Promise.race([this.#worker.run(), this.#aborted()])
      await Promise.race([this.#leaving, this.#aborted()])
      if (abort.aborted)
        await within(this.#options.clock, HAND_BACK_WITHIN_MS, this.#leaving ?? Promise.resolve())
    } finally {
      stop.removeEventListener('abort', onStop)
      abort.removeEventListener('abort', onAbort)
      this.#client.disconnect()
    }
    return this.#shutOut
  }

  /** Takes nothing new. */
  #leave(): void {
    this.#options.courier.stop()
    // Resolves when what was begun has been handed back.
    this.#leaving ??= this.#worker.close()
  }

  #breakOff(): void {
    this.#leave()
    this.#options.courier.abort()
    this.#abort.abort()
  }

  async #aborted(): Promise<void> {
    const { signal } = this.#abort
    if (signal.aborted) return
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve, { once: true })
    })
  }

  /** From its taking up to when its outcome is in the queue. */
  async #carry(job: Job): Promise<void> {
    const { params } = entryIn(job.data)
    if (!params) throw new Error('there is no prompt in it')
    const sent = await this.#options.courier.send(params)
    if (!sent) throw new Error('its worker was stopped')
    const outcome = this.#unlessShutOut(sent)
    // From here on it is not the prompt that can fail.
    if (await this.#keep(job, { outcome })) this.#count(outcome)
  }

  /** What the provider does not take from this key it may take from another worker's. */
  #unlessShutOut(outcome: Outcome): Outcome {
    if (outcome.kind !== 'failed' || !isShutOut(outcome.error)) return outcome
    const why = outcome.error.message
    this.#shutOut ??= why
    this.#leave()
    return { kind: 'returned', why }
  }

  /** False where nobody waits for it any more: its run believes that this worker is gone. */
  async #keep(job: Job, entry: Entry): Promise<boolean> {
    const { clock, failed } = this.#options
    for (;;) {
      try {
        await job.updateData(entry)
        return true
      } catch (error) {
        if (codeOf(error) === NO_SUCH_ENTRY) return false
        if (this.#abort.signal.aborted) throw error
        failed(error)
      }
      await pause(clock, TRY_AGAIN_MS)
    }
  }

  #count({ kind }: Outcome): void {
    if (kind === 'answered') this.answered++
    if (kind === 'failed') this.failed++
  }
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : null
