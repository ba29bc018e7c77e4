// One limit as the provider's answers show it. Owns: fusing what the provider says with what this
// gate knows it has sent. Must not know: headers, tickets, the line.
//
// A provider's `remaining` is true at one instant between the request's departure and its answer's
// arrival; it is rounded; and it arrives out of order while other requests are under way. So it is
// not the level but a bound on it: from each statement follow the least and the most that can be left
// now, and the local level, which knows every reservation, is only moved when it lies outside. What
// moves it down is somebody else's use of the same quota: that flow is learnt too, and taken off the
// refill. See docs/design/learning-limits.md.
import type { EpochMs } from './clock.ts'
import { TokenBucket } from './meters/token-bucket.ts'
import type { ObservedLimit } from './observation.ts'

/** Providers document their limits by the minute. */
const DOCUMENTED_WINDOW_MS = 60_000

/** No limit that is told of in headers refills more slowly; a reset beyond that is a mistake. */
const LONGEST_WINDOW_MS = 3_600_000

/** How fast the estimate of others' use follows. */
const FOLLOW_OTHERS_MS = 30_000
/** Others are never believed to take more: enough goes through to bring news, and to be corrected. */
const MOST_FOR_OTHERS = 0.7
/** The guard band, as parts of the capacity: at first, its step at each surprise, and its most. */
const GUARD_FIRST = 0.01
const GUARD_STEP = 0.04
const GUARD_MOST = 0.25
const GUARD_HALVES_EVERY_MS = 1_800_000

/** What this gate knows that a statement may not have counted. */
export interface Uncounted {
  /** Reserved by leases that left after the instant `at`: the statement has not counted it. */
  since(at: EpochMs): number
  /** Reserved by leases that no answer has confirmed: some or none of it is counted, or less. */
  readonly unconfirmed: number
}

interface Range {
  readonly least: number
  readonly most: number
}

interface Level extends Range {
  readonly likely: number
}

const clamp = (value: number, least: number, most: number): number =>
  Math.min(Math.max(value, least), most)

export class LearntLimit {
  readonly meter: TokenBucket
  #windowMs = DOCUMENTED_WINDOW_MS
  #windowRange: Range = { least: 0, most: Number.POSITIVE_INFINITY }
  #othersPerMs = 0
  #observedAt: EpochMs | null = null
  #guard: number
  #guardAt: EpochMs
  #floor = 0

  constructor(observed: ObservedLimit, now: EpochMs) {
    this.meter = new TokenBucket(
      {
        algorithm: 'token_bucket',
        dimension: observed.dimension,
        amount: observed.amount,
        windowMs: DOCUMENTED_WINDOW_MS,
        source: 'learnt',
      },
      now,
    )
    this.#guard = observed.dimension === 'requests' ? 0 : observed.amount * GUARD_FIRST
    this.#guardAt = now
  }

  /** The window over which the provider refills the whole amount, as its answers show it. */
  get windowMs(): number {
    return this.#windowMs
  }

  /** How much others take of the same quota, per minute. */
  get othersPerMinute(): number {
    return this.#othersPerMs * 60_000
  }

  /** What is kept back against errors of estimates and of timing. */
  get guard(): number {
    return this.#guard
  }

  /** Remaining tokens under which nothing is admitted. */
  setFloor(floor: number): void {
    this.#floor = floor
    this.#reserve()
  }

  /** Takes in one statement of the provider, made at some instant since `sentAt`. */
  observe(observed: ObservedLimit, sentAt: EpochMs, now: EpochMs, uncounted: Uncounted): void {
    this.#learnWindow(observed, now - sentAt)
    const level = this.#levelNow(observed, sentAt, now, uncounted)
    const believed = this.meter.remaining(now)
    const fused = this.#fuse(believed, level)
    if (this.#observedAt !== null) this.#followOthers(believed - fused, now)
    this.meter.setLevel(fused, now)
    this.#observedAt = now
    this.#relaxGuard(now)
    this.meter.setRate(observed.amount / this.#windowMs - this.#othersPerMs, now)
  }

  /**
   * Within what the statement allows, what is believed stands. A level above it has been used by
   * somebody else, who may go on: then the likely level is taken, not the best.
   */
  #fuse(believed: number, level: Level): number {
    if (this.#observedAt === null) return level.least
    if (believed > level.most) return level.likely
    return Math.max(believed, level.least)
  }

  /** Those who were taken for others turned out to be our own. */
  forgetOthers(now: EpochMs): void {
    this.#othersPerMs = 0
    this.meter.setRate(this.meter.limit.amount / this.#windowMs, now)
  }

  /** The provider refused although this limit seemed to have room: keep a little more back. */
  surprised(): void {
    const { capacity } = this.meter
    this.#guard =
      this.meter.limit.dimension === 'requests'
        ? // A minute's requests may be enforced by the second: halve the burst each time.
          Math.min(capacity - 1, (this.#guard + capacity) / 2)
        : Math.min(this.#guard + capacity * GUARD_STEP, capacity * GUARD_MOST)
    this.#reserve()
  }

  /**
   * The refill window lies between what the statement's rounding allows. Ranges of many statements
   * are intersected; the documented minute is believed as long as they allow it.
   */
  #learnWindow(observed: ObservedLimit, ageMs: number): void {
    const { amount, remaining, roundedBy, fullInMs, fullInErrorMs } = observed
    const used = amount - remaining
    // A limit in debt says that nothing remains, however deep the debt: its refill is no measure.
    if (fullInMs === null || used <= 2 * roundedBy || remaining <= roundedBy) return
    if (fullInMs > LONGEST_WINDOW_MS) return
    const least = Math.max(0, fullInMs - fullInErrorMs) / ((used + roundedBy) / amount)
    const most = (fullInMs + fullInErrorMs + ageMs) / ((used - roundedBy) / amount)
    const known = this.#windowRange
    const both = { least: Math.max(least, known.least), most: Math.min(most, known.most) }
    this.#windowRange = both.least <= both.most ? both : { least, most }
    const range = this.#windowRange
    const minuteFits = range.least <= DOCUMENTED_WINDOW_MS && DOCUMENTED_WINDOW_MS <= range.most
    if (minuteFits) this.#windowMs = DOCUMENTED_WINDOW_MS
    else if (range.most < Number.POSITIVE_INFINITY)
      this.#windowMs = Math.min((range.least + range.most) / 2, LONGEST_WINDOW_MS)
  }

  /**
   * What can be left now, reservations under way taken off: at the least, when nothing unconfirmed
   * was counted, and at the most, when all was that had left by then.
   */
  #levelNow(observed: ObservedLimit, sentAt: EpochMs, now: EpochMs, uncounted: Uncounted): Level {
    const { remaining, roundedBy } = observed
    const rate = observed.amount / this.#windowMs - this.#othersPerMs
    const age = this.#ageOf(observed, now - sentAt)
    const most = remaining + roundedBy + rate * age.most - uncounted.since(now - age.least)
    const likelyAge = (age.least + age.most) / 2
    const likely = remaining + rate * likelyAge - uncounted.since(now - likelyAge)
    const least = remaining - roundedBy + rate * age.least - uncounted.unconfirmed
    return { least: Math.min(least, likely), likely: Math.min(likely, most), most }
  }

  /**
   * How old the statement may be: the instant of full refill that it names, less the time that the
   * refill takes, is the instant at which it was made.
   */
  #ageOf(observed: ObservedLimit, flightMs: number): Range {
    const whole = { least: 0, most: Math.max(0, flightMs) }
    const { amount, remaining, roundedBy, fullInMs, fullInErrorMs } = observed
    const used = amount - remaining
    if (fullInMs === null || used <= roundedBy || remaining <= roundedBy) return whole
    const msPerUnit = this.#windowMs / amount
    const least = clamp((used - roundedBy) * msPerUnit - fullInMs - fullInErrorMs, 0, whole.most)
    const most = clamp((used + roundedBy) * msPerUnit - fullInMs + fullInErrorMs, 0, whole.most)
    return { least, most }
  }

  #followOthers(unexplained: number, now: EpochMs): void {
    const idleMs = now - (this.#observedAt ?? now)
    const most = (this.meter.limit.amount / this.#windowMs) * MOST_FOR_OTHERS
    const kept = this.#othersPerMs * Math.exp(-idleMs / (10 * FOLLOW_OTHERS_MS))
    this.#othersPerMs = clamp(kept + unexplained / FOLLOW_OTHERS_MS, 0, most)
  }

  #relaxGuard(now: EpochMs): void {
    const first = this.meter.limit.dimension === 'requests' ? 0 : this.meter.capacity * GUARD_FIRST
    const faded = 0.5 ** ((now - this.#guardAt) / GUARD_HALVES_EVERY_MS)
    this.#guard = first + (this.#guard - first) * faded
    this.#guardAt = now
    this.#reserve()
  }

  #reserve(): void {
    this.meter.reserve = this.#guard + this.#floor
  }
}
