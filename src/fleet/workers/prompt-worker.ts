// Takes prompts off the queue and has a fleet send them. Owns: that a prompt is this worker's for as long as
// it lives, and free soon after. Must not know: limits, or which job a prompt is of.
import type { Job, Worker } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import type { Clock } from '../../core/clock.ts'
import type { RedisStoreAddress } from '../../policy/store-address.ts'
import type { PayloadSource } from '../intake.ts'
import type { Answered, Failed, FleetResult, Payload } from '../payload.ts'
import { connectTo } from './connection.ts'
import { entryIn } from './entry.ts'
import { Inbox } from './inbox.ts'
import { queueAt } from './prompt-queue.ts'

export interface PromptWorkerOptions {
  readonly address: RedisStoreAddress
  readonly clock: Clock
  /** How many it has at once, until `takeAtOnce` says otherwise. */
  readonly atOnce: number
  /** Hears what is wrong with the connection, again and again while it lasts. */
  readonly failed: (error: unknown) => void
}

/** A prompt whose worker says nothing for so long is lost; a sign of life is given in half that time. */
const LOCK_MS = 15_000
const LOOK_FOR_LOST_MS = 5000
/** For handing back what is broken off. What is not handed back is found to be lost. */
const HAND_BACK_WITHIN_MS = 2000

interface Sender {
  dispatch(payloads: PayloadSource, options: { signal: AbortSignal }): AsyncIterable<FleetResult>
}

/** Those that the fleet has, by name: as many as are taken at once. */
type UnderWay = Map<string, PromiseWithResolvers<Answered | Failed>>

export class PromptWorker {
  answered = 0
  failed = 0
  readonly #clock: Clock
  readonly #worker: Worker
  readonly #client: Redis | Cluster
  readonly #inbox: Inbox<Payload>
  readonly #underWay: UnderWay

  private constructor(
    clock: Clock,
    worker: Worker,
    client: Redis | Cluster,
    inbox: Inbox<Payload>,
    underWay: UnderWay,
  ) {
    this.#clock = clock
    this.#worker = worker
    this.#client = client
    this.#inbox = inbox
    this.#underWay = underWay
  }

  static async open(options: PromptWorkerOptions): Promise<PromptWorker> {
    const { address, clock, atOnce, failed } = options
    const bullmq = await import('bullmq')
    const client = await connectTo(address)
    client.on('error', failed)
    const { name, prefix } = queueAt(address)
    const inbox = new Inbox<Payload>()
    const underWay: UnderWay = new Map()
    const work = (job: Job): Promise<void> => carry(job, inbox, underWay)
    const worker = new bullmq.Worker(name, work, {
      connection: client,
      prefix,
      autorun: false,
      concurrency: atOnce,
      lockDuration: LOCK_MS,
      stalledInterval: LOOK_FOR_LOST_MS,
      // Whether it is sent again is for the run to say, which knows the job's money.
      maxStalledCount: 0,
      skipVersionCheck: true,
    })
    worker.on('error', failed)
    return new PromptWorker(clock, worker, client, inbox, underWay)
  }

  takeAtOnce(count: number): void {
    this.#worker.concurrency = count
  }

  /**
   * Works until it is stopped, and what it has begun has its outcome.
   *
   * @param stop aborted when nothing new is to be taken
   * @param abort aborted when nothing is to be waited for: what is under way is lost
   * @throws what keeps prompts from being sent
   */
  async run(sender: Sender, { stop, abort }: { stop: AbortSignal; abort: AbortSignal }) {
    const leave = (): void => void this.#leave()
    stop.addEventListener('abort', leave)
    if (stop.aborted) leave()
    else this.#worker.run().catch((error: unknown) => this.#inbox.fail(error))
    try {
      for await (const result of sender.dispatch(this.#inbox, { signal: abort })) this.#end(result)
    } catch (error) {
      if (!abort.aborted || error !== abort.reason) throw error
    } finally {
      stop.removeEventListener('abort', leave)
      await this.#close()
    }
  }

  /** What has no outcome is handed back, to be sent by another. */
  async #close(): Promise<void> {
    for (const sent of this.#underWay.values()) sent.reject(new Error('its worker was stopped'))
    const late = Promise.withResolvers<void>()
    const timer = this.#clock.schedule(this.#clock.now() + HAND_BACK_WITHIN_MS, late.resolve)
    await Promise.race([this.#worker.close(), late.promise])
    timer.cancel()
    this.#client.disconnect()
  }

  /** Takes nothing new. */
  async #leave(): Promise<void> {
    try {
      // Resolves when what was begun has been handed back.
      await this.#worker.close()
      this.#inbox.close()
    } catch (error) {
      this.#inbox.fail(error)
    }
  }

  #end(result: FleetResult): void {
    if (!('id' in result)) throw new Error(`nobody has told this worker to stop: ${result.kind}`)
    if (result.kind === 'answered') this.answered++
    else this.failed++
    this.#underWay.get(result.id)?.resolve(result)
  }
}

/** From its taking up to when its outcome is in the queue. */
async function carry(job: Job, inbox: Inbox<Payload>, underWay: UnderWay): Promise<void> {
  const { losses, params, outcome } = entryIn(job.data)
  // One that was believed to be lost has answered it after all.
  if (outcome) return
  const { id } = job
  if (id === undefined || !params) throw new Error('there is no prompt in it')
  const sent = Promise.withResolvers<Answered | Failed>()
  underWay.set(id, sent)
  try {
    inbox.put({ id, params })
    await job.updateData({ losses, outcome: await sent.promise })
  } finally {
    underWay.delete(id)
  }
}
