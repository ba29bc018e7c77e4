// Calls that let another go first. Owns: bringing them back in line when the prompt prefix that they
// share with it can be read from the provider's cache, or when that takes too long. Must not know:
// how prefixes are foreseen (the estimator), or what being in line means (the store).
import type { Clock, EpochMs } from '../core/clock.ts'
import { Deadlines, type Due } from '../core/deadlines.ts'

/** A leader that has not begun to answer by then holds nobody back any longer. */
const LONGEST_MS = 30_000

export interface Follower {
  /** Whose prompt cache it reads. */
  readonly scope: string
  /** Whether a call that writes what this one could read is still to begin. */
  hasLeader(now: EpochMs): boolean
  rejoin(): void
}

class Entry implements Due {
  readonly follower: Follower
  dueAt: EpochMs = 0
  heapIndex = -1

  constructor(follower: Follower) {
    this.follower = follower
  }
}

export class Followers {
  readonly #clock: Clock
  readonly #entries = new Map<Follower, Entry>()
  readonly #deadlines: Deadlines<Entry>

  constructor(clock: Clock) {
    this.#clock = clock
    this.#deadlines = new Deadlines(clock, ({ follower }) => this.#bringBack(follower))
  }

  add(follower: Follower): void {
    const entry = new Entry(follower)
    this.#entries.set(follower, entry)
    this.#deadlines.set(entry, this.#clock.now() + LONGEST_MS)
  }

  has(follower: Follower): boolean {
    return this.#entries.has(follower)
  }

  remove(follower: Follower): void {
    const entry = this.#entries.get(follower)
    if (!entry) return
    this.#entries.delete(follower)
    this.#deadlines.clear(entry)
  }

  /** A call of a scope has begun to be answered, or has ended: those that waited for it come back. */
  look(scope: string): void {
    if (this.#entries.size === 0) return
    const now = this.#clock.now()
    for (const follower of [...this.#entries.keys()])
      if (follower.scope === scope && !follower.hasLeader(now)) this.#bringBack(follower)
  }

  #bringBack(follower: Follower): void {
    this.remove(follower)
    follower.rejoin()
  }
}
