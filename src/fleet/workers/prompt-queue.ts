// The queue between the run that has a job's files and its workers: the side of that run. Owns: what is put
// there, seen there and taken away. Must not know: files, money, or how prompts are sent.
import type { Queue } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import type { Clock } from '../../core/clock.ts'
import type { RedisStoreAddress } from '../../policy/store-address.ts'
import { connectTo } from './connection.ts'
import { type Entry, entryIn } from './entry.ts'
import { JobOwner } from './job-owner.ts'
import { pause } from './waiting.ts'

const QUEUE_NAME = 'prompts'

/** Nobody reads the list of what has happened; it has no prompts or answers in it. */
const EVENTS_KEPT = 100

/** What nobody has come for by then goes: prompts, and answers. */
export const KEPT_FOR_MS = 14 * 86_400_000

/** Prompts and answers go together up to so many bytes, and at least one. */
const GROUP_BYTES = 4 * 1024 * 1024

const TRY_AGAIN_MS = 500

/** The braces keep all of it in one slot of a cluster. */
const prefixOf = ({ prefix }: RedisStoreAddress): string => `{${prefix}:run}`

export const queueAt = (address: RedisStoreAddress) =>
  ({ name: QUEUE_NAME, prefix: prefixOf(address) }) as const

/** KEYS: the list of those that wait, the entry. ARGV: its name. Returns 1 where no worker had taken it. */
const WITHDRAW = `
if redis.call('LREM', KEYS[1], 0, ARGV[1]) == 0 then return 0 end
redis.call('DEL', KEYS[2])
return 1
`

/** `orphaned`: a worker has begun it, and is gone. `missing`: Redis has lost it, or somebody has taken it away. */
export type Sight = 'waiting' | 'begun' | 'ended' | 'orphaned' | 'missing'

export interface PutEntry {
  readonly name: string
  /** Of the prompt, in its job. */
  readonly id: string
  readonly entry: Entry
  /** About its size. */
  readonly bytes: number
}

export interface PromptQueueOptions {
  readonly address: RedisStoreAddress
  readonly clock: Clock
  /** Hears what is wrong with Redis, again and again while it lasts. */
  readonly failed: (error: unknown) => void
}

/** All its calls wait for as long as Redis is out of reach, or refuses them. */
export class PromptQueue {
  readonly #options: PromptQueueOptions
  readonly #queue: Queue
  readonly #client: Redis | Cluster
  #isClosed = false

  private constructor(options: PromptQueueOptions, queue: Queue, client: Redis | Cluster) {
    this.#options = options
    this.#queue = queue
    this.#client = client
  }

  static async open(options: PromptQueueOptions): Promise<PromptQueue> {
    const { address, failed } = options
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
    return new PromptQueue(options, queue, client)
  }

  /** One that is there already stays as it is. */
  async put(entries: readonly PutEntry[]): Promise<void> {
    for (const group of groupsOf(entries, ({ bytes }) => bytes)) {
      const jobs = group.map(({ name, id, entry }) => ({
        name: id,
        data: entry,
        opts: { jobId: name },
      }))
      const keys = group.map(({ name }) => this.#key(name))
      await this.#done(async () => {
        await this.#queue.addBulk(jobs)
        await Promise.all(keys.map((key) => this.#client.pexpire(key, KEPT_FOR_MS)))
      })
    }
  }

  look(names: readonly string[]): Promise<Sight[]> {
    const look = async (name: string): Promise<Sight> => {
      const key = this.#key(name)
      const [[timestamp, begunOn, endedOn], locks] = await Promise.all([
        this.#client.hmget(key, 'timestamp', 'processedOn', 'finishedOn'),
        this.#client.exists(`${key}:lock`),
      ])
      if (endedOn) return 'ended'
      if (begunOn) return locks > 0 ? 'begun' : 'orphaned'
      return timestamp ? 'waiting' : 'missing'
    }
    return this.#done(() => Promise.all(names.map(look)))
  }

  /** One after the other, only a few in memory; null where there is none of that name any more. */
  async *read(names: readonly string[]): AsyncGenerator<Entry | null, void, undefined> {
    const keys = names.map((name) => this.#key(name))
    const sizes = await this.#done(() =>
      Promise.all(keys.map((key) => this.#client.hstrlen(key, 'data'))),
    )
    const entries = keys.map((key, at) => ({ key, bytes: sizes[at] ?? 0 }))
    for (const group of groupsOf(entries, ({ bytes }) => bytes)) {
      const texts = await this.#done(() =>
        Promise.all(group.map(({ key }) => this.#client.hget(key, 'data'))),
      )
      for (const text of texts) yield text === null ? null : entryIn(JSON.parse(text))
    }
  }

  /** All whose name begins so, with the id of their prompt: null where nothing is left but the name. */
  async find(beginning: string): Promise<readonly { name: string; id: string | null }[]> {
    return this.#done(async () => {
      const ranges = await this.#queue.getRanges(['wait', 'active', 'completed', 'failed'], 0, -1)
      const names = [...new Set(ranges)].filter((name) => name.startsWith(beginning))
      const ids = await Promise.all(names.map((name) => this.#client.hget(this.#key(name), 'name')))
      return names.map((name, at) => ({ name, id: ids[at] ?? null }))
    })
  }

  /** Takes them away. False for those that a living worker has. */
  remove(names: readonly string[]): Promise<boolean[]> {
    const remove = async (name: string): Promise<boolean> => (await this.#queue.remove(name)) === 1
    return this.#done(() => Promise.all(names.map(remove)))
  }

  /** Takes away those that no worker has begun, in one step. False for the others. */
  withdraw(names: readonly string[]): Promise<boolean[]> {
    const wait = this.#key('wait')
    const withdraw = async (name: string): Promise<boolean> =>
      (await this.#client.eval(WITHDRAW, 2, wait, this.#key(name), name)) === 1
    return this.#done(() => Promise.all(names.map(withdraw)))
  }

  owner(jobKey: string, token: string, place: string): JobOwner {
    const { address, clock } = this.#options
    const key = `${prefixOf(address)}:owner:${jobKey}`
    const done = <T>(work: () => Promise<T>): Promise<T> => this.#done(work)
    return new JobOwner({ client: this.#client, key, token, place, clock, done })
  }

  /** At once: what is under way is left. */
  close(): void {
    this.#isClosed = true
    this.#client.disconnect()
  }

  #key(name: string): string {
    return this.#queue.toKey(name)
  }

  /** Each of these can be done twice. */
  async #done<T>(work: () => Promise<T>): Promise<T> {
    const { clock, failed } = this.#options
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (this.#isClosed) throw error
        failed(error)
        await pause(clock, TRY_AGAIN_MS)
      }
    }
  }
}

function* groupsOf<T>(items: readonly T[], bytesOf: (item: T) => number): Generator<T[]> {
  let [group, size]: [T[], number] = [[], 0]
  for (const item of items) {
    const bytes = bytesOf(item)
    if (group.length > 0 && size + bytes > GROUP_BYTES) {
      yield group
      group = []
      size = 0
    }
    group.push(item)
    size += bytes
  }
  if (group.length > 0) yield group
}
