import { type CalendarWindow, calendarWindowAt } from '../calendar.ts'
import type { EpochMs } from '../clock.ts'
import type { FixedWindowLimit, Limit } from '../limit.ts'
import type { Meter } from './meter.ts'

/**
 * `amount` in each window of the calendar. The window is computed from the instant each time, never
 * reset by a job, so it cannot be missed.
 */
export class FixedWindow implements Meter {
  #limit: FixedWindowLimit
  #window: CalendarWindow = { startAt: Number.NEGATIVE_INFINITY, endAt: Number.NEGATIVE_INFINITY }
  #used = 0

  constructor(limit: FixedWindowLimit) {
    this.#limit = limit
  }

  get limit(): FixedWindowLimit {
    return this.#limit
  }

  get ratePerMs(): number {
    return this.#limit.amount / this.#limit.windowMs
  }

  readyAt(amount: number, now: EpochMs): EpochMs {
    this.#enter(now)
    const fits = this.#used + Math.min(amount, this.limit.amount) <= this.limit.amount
    return fits ? now : this.#window.endAt
  }

  take(amount: number, now: EpochMs): void {
    this.#enter(now)
    this.#used += amount
  }

  correct(delta: number, takenAt: EpochMs, now: EpochMs): void {
    this.#enter(now)
    if (takenAt >= this.#window.startAt) this.#used += delta
  }

  remaining(now: EpochMs): number {
    this.#enter(now)
    return this.limit.amount - this.#used
  }

  adapt(limit: Limit): void {
    if (limit.algorithm === 'fixed_window') this.#limit = limit
  }

  #enter(now: EpochMs): void {
    if (now < this.#window.endAt) return
    this.#window = this.#windowAt(now)
    this.#used = 0
  }

  #windowAt(now: EpochMs): CalendarWindow {
    if (this.limit.calendar) return calendarWindowAt(this.limit.calendar, now)
    const startAt = Math.floor(now / this.limit.windowMs) * this.limit.windowMs
    return { startAt, endAt: startAt + this.limit.windowMs }
  }
}
