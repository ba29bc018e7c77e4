import type { EpochMs } from '../clock.ts'
import type { Limit, SlidingWindowLimit } from '../limit.ts'
import type { Meter } from './meter.ts'

/** More slots give freed capacity back sooner, at 8 bytes each: at most 1/60 of a window late. */
const SLOTS = 60

/**
 * Slots begin this part of one early, so that the instant at which one leaves is inside the next,
 * however the division is rounded.
 */
const EARLY = 0.001

/**
 * Never more than `amount` in any span of `windowMs`, in bounded memory: what was taken is counted
 * by slots of a sixtieth of the window, and a slot is let go only when its last instant is out of
 * the window. Capacity comes back up to a slot late; it is never given twice.
 */
export class SlidingWindow implements Meter {
  readonly #slotMs: number
  /** Amount by slot number modulo the ring's length: the window's slots and the one in progress. */
  readonly #ring = new Float64Array(SLOTS + 1)
  #limit: SlidingWindowLimit
  #newestSlot = Number.NEGATIVE_INFINITY
  #used = 0

  constructor(limit: SlidingWindowLimit) {
    this.#limit = limit
    this.#slotMs = limit.windowMs / SLOTS
  }

  get limit(): SlidingWindowLimit {
    return this.#limit
  }

  get ratePerMs(): number {
    return this.#limit.amount / this.#limit.windowMs
  }

  readyAt(amount: number, now: EpochMs): EpochMs {
    this.#slideTo(now)
    let surplus = this.#used + Math.min(amount, this.limit.amount) - this.limit.amount
    if (surplus <= 0) return now
    const oldestSlot = this.#newestSlot - SLOTS
    for (let slot = oldestSlot; slot <= this.#newestSlot; slot++) {
      surplus -= this.#ring[this.#indexOf(slot)] ?? 0
      if (surplus <= 0) return this.#leavesAt(slot)
    }
    return this.#leavesAt(this.#newestSlot)
  }

  take(amount: number, now: EpochMs): void {
    this.#slideTo(now)
    this.#add(amount, this.#newestSlot)
  }

  correct(delta: number, takenAt: EpochMs, now: EpochMs): void {
    this.#slideTo(now)
    const slot = this.#slotOf(takenAt)
    if (slot >= this.#newestSlot - SLOTS) this.#add(delta, slot)
  }

  remaining(now: EpochMs): number {
    this.#slideTo(now)
    return this.limit.amount - this.#used
  }

  adapt(limit: Limit): void {
    if (limit.algorithm === 'sliding_window') this.#limit = limit
  }

  #add(amount: number, slot: number): void {
    const index = this.#indexOf(slot)
    this.#ring[index] = (this.#ring[index] ?? 0) + amount
    this.#used += amount
  }

  #slotOf(at: EpochMs): number {
    return Math.floor(at / this.#slotMs + EARLY)
  }

  #indexOf(slot: number): number {
    return slot % (SLOTS + 1)
  }

  /** The first instant at which every part of a slot is out of the window. */
  #leavesAt(slot: number): EpochMs {
    return (slot + SLOTS + 1) * this.#slotMs
  }

  #slideTo(now: EpochMs): void {
    const present = this.#slotOf(now)
    if (present <= this.#newestSlot) return
    if (present - this.#newestSlot > SLOTS) {
      this.#ring.fill(0)
      this.#used = 0
    } else {
      for (let slot = this.#newestSlot + 1; slot <= present; slot++)
        this.#ring[this.#indexOf(slot)] = 0
      this.#used = this.#sum()
    }
    this.#newestSlot = present
  }

  /** Added up afresh, since a running sum of fractions would never come back to exactly nothing. */
  #sum(): number {
    let sum = 0
    for (const amount of this.#ring) sum += amount
    return sum
  }
}
