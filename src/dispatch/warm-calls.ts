// Waiting calls whose prompt the provider still has in its cache. Owns: raising them a lane before
// the cache forgets them. Must not know: what is cached (the estimator), or what a lane is (the gate).
//
// A cached prompt that expires in line costs many times as much as it would have; that delays all
// others, whose prompts then expire too: past some load, a fair line alone spends its whole quota on
// reading again what it had read. Serving a cheap call in time is cheaper for everybody.
import type { Clock, EpochMs } from '../core/clock.ts'
import { Deadlines, type Due } from '../core/deadlines.ts'

/** Enough for a raised call to be served: the calls raised with it are cheap too. */
const RAISED_BEFORE_MS = 90_000

export interface WarmCall {
  raise(): void
}

class Entry implements Due {
  readonly call: WarmCall
  dueAt: EpochMs = 0
  heapIndex = -1

  constructor(call: WarmCall) {
    this.call = call
  }
}

export class WarmCalls {
  readonly #entries = new Map<WarmCall, Entry>()
  readonly #deadlines: Deadlines<Entry>

  constructor(clock: Clock) {
    this.#deadlines = new Deadlines(clock, ({ call }) => {
      this.#entries.delete(call)
      call.raise()
    })
  }

  add(call: WarmCall, cachedUntil: EpochMs): void {
    const entry = new Entry(call)
    this.#entries.set(call, entry)
    this.#deadlines.set(entry, cachedUntil - RAISED_BEFORE_MS)
  }

  remove(call: WarmCall): void {
    const entry = this.#entries.get(call)
    if (!entry) return
    this.#entries.delete(call)
    this.#deadlines.clear(entry)
  }
}
