// The queue between the run that has a job's files and its workers: the side of that run. Owns: what is put
// there, seen there and taken away. Must not know: files, money, or how prompts are sent.
import type { Queue } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import type { RedisStoreAddress } from '../../policy/store-address.ts'
import { connectTo } from './connection.ts'
import { type Entry, entryIn } from './entry.ts'

const QUEUE_NAME = 'prompts'

/** Nobody reads the list of what has happened; it has no prompts or answers in it. */
const EVENTS_KEPT = 100

/** The braces keep all of it in one slot of a cluster. */
const prefixOf = ({ prefix }: RedisStoreAddress): string => `{${prefix}:run}`

export const queueAt = (address: RedisStoreAddress) =>
  ({ name: QUEUE_NAME, prefix: prefixOf(address) }) as const

/** Names of entries of all jobs, by what has become of them. */
export interface QueueSight {
  readonly waiting: ReadonlySet<string>
  /** Begun by a worker. */
  readonly active: ReadonlySet<string>
  /** With an outcome, or lost with a worker. */
  readonly ended: ReadonlySet<string>
}

/** All its calls wait for as long as Redis is out of reach. */
export class PromptQueue {
  readonly #queue: Queue
  readonly #client: Redis | Cluster

  private constructor(queue: Queue, client: Redis | Cluster) {
    this.#queue = queue
    this.#client = client
  }

  /** @param failed hears what is wrong with the connection, again and again while it lasts */
  static async open(
    address: RedisStoreAddress,
    failed: (error: unknown) => void,
  ): Promise<PromptQueue> {
    const { Queue } = await import('bullmq')
    const client = await connectTo(address)
    client.on('error', failed)
    const { name, prefix } = queueAt(address)
    const queue = new Queue(name, {
      connection: client,
      prefix,
      streams: { events: { maxLen: EVENTS_KEPT } },
      // The store has looked at the server before.
      skipVersionCheck: true,
    })
    queue.on('error', failed)
    return new PromptQueue(queue, client)
  }

  /** One that is there already, whatever its state, stays as it is. */
  async put(id: string, entry: Entry): Promise<void> {
    await this.#queue.add('prompt', entry, { jobId: id })
  }

  async look(): Promise<QueueSight> {
    // In the order in which entries go on: none is missed that moves meanwhile.
    const waiting = await this.#queue.getRanges(['wait'], 0, -1)
    const active = await this.#queue.getRanges(['active'], 0, -1)
    const ended = await this.#queue.getRanges(['completed', 'failed'], 0, -1)
    return { waiting: new Set(waiting), active: new Set(active), ended: new Set(ended) }
  }

  /** Null where there is none of that name any more. */
  async read(id: string): Promise<Entry | null> {
    const job = await this.#queue.getJob(id)
    return job ? entryIn(job.data) : null
  }

  /** Takes away one that has ended. */
  async remove(id: string): Promise<void> {
    await this.#queue.remove(id)
  }

  /** Takes away one that no worker has begun. False when one has. */
  async withdraw(id: string): Promise<boolean> {
    // Whoever takes it off this list has it: a worker, or this run.
    const taken = await this.#client.lrem(this.#queue.toKey('wait'), 0, id)
    if (taken > 0) await this.#queue.remove(id)
    return taken > 0
  }

  /** At once: what is under way is left. */
  close(): void {
    this.#client.disconnect()
  }
}
