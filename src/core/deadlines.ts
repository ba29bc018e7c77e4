// Many instants, one timer. Owns: calling each item at its time. Must not know: what for.
import type { Clock, EpochMs, Timer } from './clock.ts'
import { Heap, type HeapItem } from './heap.ts'

export interface Due extends HeapItem {
  /** Kept by the schedule: the instant that the item is set to. */
  dueAt: EpochMs
}

/** Calls `due` with each item when its instant has come. However many items, one timer is armed. */
export class Deadlines<T extends Due> {
  readonly #clock: Clock
  readonly #due: (item: T) => void
  readonly #items = new Heap<T>((a, b) => a.dueAt - b.dueAt)
  #timer: Timer | null = null
  #timerAt: EpochMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock, due: (item: T) => void) {
    this.#clock = clock
    this.#due = due
  }

  get size(): number {
    return this.#items.size
  }

  /** Sets an item to an instant, or moves it there. Infinity takes it out. */
  set(item: T, at: EpochMs): void {
    this.#items.remove(item)
    if (at !== Number.POSITIVE_INFINITY) {
      item.dueAt = at
      this.#items.push(item)
    }
    // A timer that is too early only looks again; so only an earlier instant moves it.
    if (at < this.#timerAt) this.#arm()
  }

  clear(item: T): void {
    this.#items.remove(item)
    if (this.#items.size === 0) this.stop()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#timerAt = Number.POSITIVE_INFINITY
  }

  #arm(): void {
    this.stop()
    const next = this.#items.peek()
    if (!next) return
    this.#timerAt = next.dueAt
    this.#timer = this.#clock.schedule(next.dueAt, () => this.#run())
  }

  #run(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = this.#clock.now()
    for (;;) {
      const item = this.#items.peek()
      if (!item || item.dueAt > now) break
      this.#items.remove(item)
      this.#due(item)
    }
    this.#arm()
  }
}
