// Who shares a store, and what for. Owns: the lists of live processes and of resources in use, by
// which a status finds all of them. Must not know: gates. Nothing is decided by these lists, but for
// the share that each process goes on with when the store is lost.
import type { EpochMs } from '../../core/clock.ts'
import { listOf, numberOf, textsOf } from './answer.ts'
import type { RedisConnection } from './connection.ts'
import { instancesKey, resourcesKey } from './keys.ts'

/** A resource is listed anew so often while it is in use. */
const LISTED_EVERY_MS = 60_000
/** A resource that nobody has used for so long is not shown any more. */
const SHOWN_FOR_MS = 3_600_000
const MOST_SHOWN = 500
/** Lists that nobody writes to any more are forgotten. */
const KEPT_MS = 86_400_000

export class Registry {
  readonly #connection: RedisConnection
  /** The server's time: processes' own clocks differ. */
  readonly #now: () => EpochMs
  readonly #instance: string
  readonly #lifeMs: number
  #instances = 1
  #countedAt: EpochMs = Number.NEGATIVE_INFINITY
  #fewerSince: EpochMs | null = null

  constructor(
    connection: RedisConnection,
    given: { readonly now: () => EpochMs; readonly instance: string; readonly lifeMs: number },
  ) {
    this.#connection = connection
    this.#now = given.now
    this.#instance = given.instance
    this.#lifeMs = given.lifeMs
  }

  /** Lists this process as alive, and counts those that are; seldom enough to be called at each beat. */
  async instances(): Promise<number> {
    const now = this.#now()
    if (now - this.#countedAt < this.#lifeMs / 10) return this.#instances
    this.#countedAt = now
    const key = instancesKey(this.#connection.prefix)
    const [, , , count] = await Promise.all([
      this.join(),
      this.#connection.command('ZREMRANGEBYSCORE', key, '-inf', String(now - this.#lifeMs)),
      this.#connection.command('PEXPIRE', key, String(KEPT_MS)),
      this.#connection.command('ZCARD', key),
    ])
    this.#counted(numberOf(count), now)
    return this.#instances
  }

  /** Lists this process as alive: others should count it before it has done anything. */
  async join(): Promise<void> {
    const key = instancesKey(this.#connection.prefix)
    await this.#connection.command('ZADD', key, String(this.#now()), this.#instance)
  }

  /** A list that was lost, or whose processes were idle, is short until all have beaten again. */
  #counted(count: number, now: EpochMs): void {
    if (count >= this.#instances) this.#fewerSince = null
    else this.#fewerSince ??= now
    const isBelieved = this.#fewerSince === null || now - this.#fewerSince >= this.#lifeMs
    if (isBelieved) this.#instances = Math.max(1, count)
  }

  async leave(): Promise<void> {
    await this.#connection.command('ZREM', instancesKey(this.#connection.prefix), this.#instance)
  }

  /** Whether a resource that was listed at an instant should be listed again. */
  isDue(listedAt: EpochMs): boolean {
    return this.#now() - listedAt >= LISTED_EVERY_MS
  }

  async list(resource: string): Promise<void> {
    const key = resourcesKey(this.#connection.prefix)
    await this.#connection.command('ZADD', key, String(this.#now()), resource)
    await this.#connection.command('PEXPIRE', key, String(KEPT_MS))
  }

  /** The resources used last, whoever used them. */
  async resources(): Promise<readonly string[]> {
    const key = resourcesKey(this.#connection.prefix)
    const forgotten = this.#now() - SHOWN_FOR_MS
    await this.#connection.command('ZREMRANGEBYSCORE', key, '-inf', String(forgotten))
    const newest = await this.#connection.command('ZREVRANGE', key, '0', String(MOST_SHOWN - 1))
    return textsOf(listOf(newest))
  }
}
