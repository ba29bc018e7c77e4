// Time, as everything that decides sees it. Owns: the Clock contract, the real clock, the virtual
// clock. Must not know: who waits, or why. No other file reads the machine's time or sets a timer.
import { Heap } from './heap.ts'

/** Milliseconds since the Unix epoch, with fractions. */
export type EpochMs = number

/** A pending call. `cancel` is idempotent and harmless after the call has happened. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** The present instant. Never goes backwards, so that meters and queues can trust differences. */
  now(): EpochMs
  /** Calls `run` once, when `now() >= at`. Never calls it synchronously. */
  schedule(at: EpochMs, run: () => void): Timer
}

/** Node's longest timeout; a longer one fires at once, so long waits are chained. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** How far the machine's wall clock may lead before it is followed (a laptop that slept, a clock set right). */
const FOLLOW_WALL_CLOCK_AFTER_MS = 1000

/**
 * The machine's clock, `speed` times as fast.
 *
 * It counts on the monotonic clock, and follows the wall clock forwards only: a wall clock set back
 * changes nothing, one that leapt ahead (suspend) is caught up with.
 */
export function realClock(speed = 1): Clock {
  const startedAt = Date.now()
  let anchor = startedAt - performance.now()
  const now = (): EpochMs => {
    let present = anchor + performance.now()
    const lead = Date.now() - present
    if (lead > FOLLOW_WALL_CLOCK_AFTER_MS) {
      anchor += lead
      present += lead
    }
    return speed === 1 ? present : startedAt + (present - startedAt) * speed
  }
  const schedule = (at: EpochMs, run: () => void): Timer => {
    let handle: NodeJS.Timeout
    const arm = (): void => {
      const waitMs = Math.ceil((at - now()) / speed)
      handle = setTimeout(
        () => (now() >= at ? run() : arm()),
        Math.min(Math.max(waitMs, 0), LONGEST_TIMEOUT_MS),
      )
    }
    arm()
    return { cancel: () => clearTimeout(handle) }
  }
  return { now, schedule }
}

interface Scheduled {
  readonly at: EpochMs
  readonly order: number
  readonly run: () => void
  heapIndex: number
}

/** A clock that moves only when told to: a simulated day takes as long as its events take. */
export class VirtualClock implements Clock {
  #now: EpochMs
  #order = 0
  readonly #timers = new Heap<Scheduled>((a, b) => a.at - b.at || a.order - b.order)

  constructor(startAt: EpochMs = 0) {
    this.#now = startAt
  }

  now(): EpochMs {
    return this.#now
  }

  schedule(at: EpochMs, run: () => void): Timer {
    const timer: Scheduled = { at, order: this.#order++, run, heapIndex: -1 }
    this.#timers.push(timer)
    return { cancel: () => this.#timers.remove(timer) }
  }

  /** The instant of the next timer, or Infinity. */
  nextAt(): EpochMs {
    return this.#timers.peek()?.at ?? Number.POSITIVE_INFINITY
  }

  /** Moves to the next timer and runs it. Returns false when there is none. */
  step(): boolean {
    const timer = this.#timers.pop()
    if (!timer) return false
    this.#now = Math.max(this.#now, timer.at)
    timer.run()
    return true
  }

  /** Runs every timer up to `at` in order, then stands at `at`. */
  advanceTo(at: EpochMs): void {
    while (this.nextAt() <= at) this.step()
    this.#now = Math.max(this.#now, at)
  }
}
