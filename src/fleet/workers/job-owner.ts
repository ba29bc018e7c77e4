// That one run has a job, wherever its files were copied to. Owns: the key that says who it is. Must not know: what
// the run does.
import type { Cluster, Redis } from 'ioredis'
import type { Clock, EpochMs } from '../../core/clock.ts'
import { JobError } from '../job/problem.ts'
import { pause } from './waiting.ts'

export interface JobOwnerOptions {
  readonly client: Redis | Cluster
  readonly key: string
  /** Of the run alone. */
  readonly token: string
  /** Machine and file. Only one run at a time can be in a place: the file's lock says so. */
  readonly place: string
  readonly clock: Clock
  /** Does it as often as it takes. */
  readonly done: <T>(work: () => Promise<T>) => Promise<T>
}

/** A run that says nothing for so long is gone. */
const OWNED_FOR_MS = 10_000
const RENEW_EVERY_MS = 2000
const LOOK_EVERY_MS = 500

/**
 * KEYS: the key. ARGV: token, place, milliseconds, the place whose holder is dead for sure (empty: none). Returns the
 * place of another holder, or an empty text.
 */
const CLAIM = `
local token, place = unpack(redis.call('HMGET', KEYS[1], 'token', 'place'))
if token and token ~= ARGV[1] and place ~= ARGV[4] then return place end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'place', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ''
`

/** KEYS: the key. ARGV: token. */
const RELEASE = `
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then redis.call('DEL', KEYS[1]) end
`

export class JobOwner {
  readonly #options: JobOwnerOptions
  #renewAt: EpochMs = 0

  constructor(options: JobOwnerOptions) {
    this.#options = options
  }

  /**
   * Has the job from now on. A run that was killed has it for a while: that is waited for.
   *
   * @param onWait told once who has it
   * @returns false where nobody wants it any more
   * @throws JobError where another run lives that has it
   */
  async take(stop: AbortSignal, onWait: (holder: string) => void): Promise<boolean> {
    const { clock } = this.#options
    const until = clock.now() + OWNED_FOR_MS
    // Whoever begins in a place has its lock: nobody else lives there.
    const { place } = this.#options
    for (let holder = await this.#claim(place), isTold = false; holder !== null; ) {
      if (stop.aborted) return false
      if (clock.now() > until) throw ownedBy(holder)
      if (!isTold) onWait(holder)
      isTold = true
      await pause(clock, LOOK_EVERY_MS)
      holder = await this.#claim(place)
    }
    return true
  }

  /** To be asked for often. @throws JobError where another run has it, since this one was gone for long */
  async keep(): Promise<void> {
    if (this.#options.clock.now() < this.#renewAt) return
    const holder = await this.#claim('')
    if (holder !== null) throw ownedBy(holder)
  }

  async release(): Promise<void> {
    const { client, key, token, done } = this.#options
    await done(() => client.eval(RELEASE, 1, key, token))
  }

  /** Null where this run has it now; else the place of the one that has. */
  async #claim(deadAt: string): Promise<string | null> {
    const { client, key, token, place, clock, done } = this.#options
    const holder = await done(() => client.eval(CLAIM, 1, key, token, place, OWNED_FOR_MS, deadAt))
    this.#renewAt = clock.now() + RENEW_EVERY_MS
    return typeof holder === 'string' && holder !== '' ? holder : null
  }
}

const ownedBy = (holder: string): JobError =>
  new JobError('run', [`another run has this job: ${holder}: wait for it, or stop it`])
