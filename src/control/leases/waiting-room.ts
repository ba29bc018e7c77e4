// Those who watch their places in line. Owns: when each is told where it stands or shown life, so that
// however many there are, stores are asked only so often. Must not know: how it is written.

import type { Prediction } from '../../core/admission.ts'
import type { Clock, EpochMs } from '../../core/clock.ts'
import { Deadlines, type Due } from '../../core/deadlines.ts'
import { StoreUnreachable } from '../../core/store.ts'

/** How often a client is told where it stands, while there are few. */
const LOOK_EVERY_MS = 3000
/** Looks of all together are at least so far apart. */
const LOOKS_APART_MS = 5
/** What lies between a client and the gate may close a connection that is silent. */
const SILENT_FOR_MS = 10_000

/** One who watches. The room keeps the instants. */
export interface Watcher extends Due {
  /** When it is looked next where it stands. */
  lookAt: EpochMs
  silentSince: EpochMs
  /** Null when it does not wait any more. @throws StoreUnreachable */
  position(): Promise<Prediction | null>
  showPlace(prediction: Prediction): void
  showLife(): void
}

export class WaitingRoom {
  readonly #clock: Clock
  readonly #failed: (error: unknown) => void
  readonly #schedule: Deadlines<Watcher>
  /** The next look is given out for then, or later. */
  #nextLookAt: EpochMs = 0

  constructor(clock: Clock, failed: (error: unknown) => void) {
    this.#clock = clock
    this.#failed = failed
    this.#schedule = new Deadlines(clock, (client) => this.#due(client))
  }

  get size(): number {
    return this.#schedule.size
  }

  /** @param isTold - of its place, just now. */
  enter(client: Watcher, isTold: boolean): void {
    const now = this.#clock.now()
    client.silentSince = now
    client.lookAt = isTold ? this.#giveLook(now) : now
    this.#set(client)
  }

  leave(client: Watcher): void {
    this.#schedule.clear(client)
  }

  #due(client: Watcher): void {
    const now = this.#clock.now()
    if (client.lookAt <= now) {
      client.lookAt = this.#giveLook(now)
      this.#look(client).catch(this.#failed)
    }
    if (client.silentSince + SILENT_FOR_MS <= now) {
      client.silentSince = now
      client.showLife()
    }
    this.#set(client)
  }

  async #look(client: Watcher): Promise<void> {
    try {
      const prediction = await client.position()
      if (!prediction || client.heapIndex < 0) return
      client.silentSince = this.#clock.now()
      client.showPlace(prediction)
    } catch (error) {
      // It is looked again; until then it is shown life.
      if (!(error instanceof StoreUnreachable)) throw error
    }
  }

  #giveLook(now: EpochMs): EpochMs {
    const at = Math.max(now + LOOK_EVERY_MS, this.#nextLookAt)
    this.#nextLookAt = at + LOOKS_APART_MS
    return at
  }

  #set(client: Watcher): void {
    this.#schedule.set(client, Math.min(client.lookAt, client.silentSince + SILENT_FOR_MS))
  }
}
