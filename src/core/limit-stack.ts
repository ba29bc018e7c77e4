// The limits of one resource, taken together or not at all. Owns: the configured and the learnt
// meters, and what a cost means to all of them. Must not know: tickets, the line, pauses.
import type { LimitSnapshot } from './admission.ts'
import type { EpochMs } from './clock.ts'
import { amountOf, type CostVector, type Dimension } from './cost.ts'
import { LearntLimit } from './learnt-limit.ts'
import { isCountedAlike, type Limit } from './limit.ts'
import type { Backlog } from './line.ts'
import { createMeter } from './meters/create-meter.ts'
import type { Meter } from './meters/meter.ts'
import type { ObservedLimit } from './observation.ts'
import type { Underway } from './underway.ts'

/** Turns that take nothing of any known limit are weighed as if limits were of this usual size. */
const USUAL_LIMITS: CostVector = {
  requests: 1000,
  input_tokens: 1_000_000,
  output_tokens: 200_000,
  tokens: 1_200_000,
  cost: Number.POSITIVE_INFINITY,
}

/** What refills by fractions may miss a whole by the last digits of a double. */
const ROUNDING = 1e-6

export interface Floors {
  readonly soft: number
  readonly hard: number
}

/** An instant, and the limit that it waits for: null when it waits for none. */
export interface Readiness {
  readonly at: EpochMs
  readonly limit: Limit | null
}

export class LimitStack {
  #floors: Floors
  readonly #learnt = new Map<Dimension, LearntLimit>()
  #meters: readonly Meter[]
  /** When a limit was last heard of. */
  #learntAt: EpochMs = Number.NEGATIVE_INFINITY
  #slowUntil: EpochMs = Number.NEGATIVE_INFINITY
  #slowedBy: Dimension | null = null
  /** The limit that the last `readyAt` waited for. */
  #boundBy: Limit | null = null

  /** @param used what of each limit is used already; see `GateSettings.used`. */
  constructor(
    limits: readonly Limit[],
    floors: Floors,
    now: EpochMs,
    used: readonly number[] = [],
  ) {
    this.#floors = floors
    this.#meters = limits.map((limit) => createMeter(limit, now))
    for (const [index, amount] of used.entries()) {
      const meter = this.#meters[index]
      if (meter && meter.limit.dimension !== 'concurrency') meter.take(amount, now)
    }
  }

  /** Puts other limits in force. What is used stays so wherever only an amount has changed. */
  configure(limits: readonly Limit[], floors: Floors, now: EpochMs): void {
    this.#floors = floors
    const before = this.#meters.filter(({ limit }) => limit.source === 'configured')
    const configured = limits.map((limit) => successor(before, limit, now))
    for (const learnt of this.#learnt.values()) this.#setFloor(learnt)
    const learnt = this.#meters.filter(({ limit }) => limit.source === 'learnt')
    this.#meters = [...configured, ...learnt]
  }

  get learntAt(): EpochMs {
    return this.#learntAt
  }

  get boundBy(): Limit | null {
    return this.#boundBy
  }

  /** The earliest instant at which every limit admits a cost; `boundBy` tells which is the last. */
  readyAt(cost: CostVector, now: EpochMs): EpochMs {
    let readyAt = now
    this.#boundBy = null
    for (const meter of this.#meters) {
      const meterAt = meter.readyAt(amountOf(cost, meter.limit.dimension), now)
      if (meterAt <= readyAt) continue
      readyAt = meterAt
      this.#boundBy = meter.limit
    }
    if (this.#slowUntil > readyAt) {
      readyAt = this.#slowUntil
      this.#boundBy = (this.#slowedBy && this.#learnt.get(this.#slowedBy)?.meter.limit) ?? null
    }
    return readyAt
  }

  take(cost: CostVector, now: EpochMs): void {
    for (const meter of this.#meters) meter.take(amountOf(cost, meter.limit.dimension), now)
    if (this.#floors.soft > 0) this.#slowDown(cost, now)
  }

  /** Takes the slot of a lease whose cost is counted already. */
  takeSlot(now: EpochMs): void {
    for (const meter of this.#meters)
      if (meter.limit.dimension === 'concurrency') meter.take(1, now)
  }

  /** Counts what was consumed without having been admitted here: no slot, and no pace to slow down. */
  charge(cost: CostVector, now: EpochMs): void {
    for (const meter of this.#meters) {
      const { dimension } = meter.limit
      if (dimension !== 'concurrency') meter.take(cost[dimension], now)
    }
  }

  /** Moves the meters from what was taken at `takenAt` to another cost. */
  correct(from: CostVector, to: CostVector, takenAt: EpochMs, now: EpochMs): void {
    for (const meter of this.#meters) {
      const { dimension } = meter.limit
      if (dimension === 'concurrency') continue
      const delta = to[dimension] - from[dimension]
      if (delta !== 0) meter.correct(delta, takenAt, now)
    }
  }

  /** Gives back all that a cost took, its slot included. */
  giveBack(cost: CostVector, takenAt: EpochMs, now: EpochMs): void {
    for (const meter of this.#meters)
      meter.correct(-amountOf(cost, meter.limit.dimension), takenAt, now)
  }

  freeSlot(takenAt: EpochMs, now: EpochMs): void {
    for (const meter of this.#meters)
      if (meter.limit.dimension === 'concurrency') meter.correct(-1, takenAt, now)
  }

  /** When all that is ahead and a cost of its own have come through, however much that is. */
  readyInLongRun(ahead: Backlog, cost: CostVector, now: EpochMs): Readiness {
    let readiness: Readiness = { at: Math.max(now, this.#slowUntil), limit: null }
    for (const meter of this.#meters) {
      const { limit } = meter
      if (limit.dimension === 'concurrency') continue
      const own = Math.min(cost[limit.dimension], capacityOf(limit))
      const at = readyInLongRun(meter, ahead[limit.dimension] + own, now)
      if (at > readiness.at) readiness = { at, limit }
    }
    return readiness
  }

  /** The largest fraction that a cost takes of any limit. */
  shareOf(cost: CostVector): number {
    let share = 0
    for (const { limit } of this.#meters) {
      if (limit.dimension === 'concurrency' || limit.amount <= 0) continue
      share = Math.max(share, cost[limit.dimension] / limit.amount)
    }
    return share > 0 ? share : usualShare(cost)
  }

  /** Takes in what a provider's answer says of its limits. Returns whether it says anything. */
  fuse(
    stated: readonly ObservedLimit[],
    sentAt: EpochMs,
    underway: Underway,
    now: EpochMs,
  ): boolean {
    for (const observed of stated) {
      if (observed.amount <= 0) continue
      const known = this.#learnt.get(observed.dimension)
      const isSame = known?.meter.limit.amount === observed.amount
      const learnt = known && isSame ? known : this.#learn(observed, now)
      learnt.observe(observed, sentAt, now, underway.uncounted(observed.dimension))
      this.#learntAt = now
    }
    return this.#learntAt === now && stated.length > 0
  }

  /**
   * The provider refused although there seemed to be room. Most likely it was the learnt limit with
   * the least room left; where all have plenty, requests, which some enforce by the second.
   */
  surprised(now: EpochMs): void {
    let tightest = this.#learnt.get('requests') ?? null
    let leastRoom = 0.5
    for (const learnt of this.#learnt.values()) {
      const room = learnt.meter.remaining(now) / learnt.meter.capacity
      if (room >= leastRoom) continue
      leastRoom = room
      tightest = learnt
    }
    tightest?.surprised()
  }

  forgetOthers(now: EpochMs): void {
    for (const learnt of this.#learnt.values()) learnt.forgetOthers(now)
  }

  isFull(now: EpochMs): boolean {
    return this.#meters.every((meter) => meter.remaining(now) >= capacityOf(meter.limit))
  }

  snapshot(now: EpochMs): LimitSnapshot[] {
    return this.#meters.map((meter) => this.#limitSnapshot(meter, now))
  }

  #limitSnapshot(meter: Meter, now: EpochMs): LimitSnapshot {
    const { limit } = meter
    const learnt = limit.source === 'learnt' ? this.#learnt.get(limit.dimension) : undefined
    return {
      dimension: limit.dimension,
      amount: limit.amount,
      windowMs: learnt?.windowMs ?? ('windowMs' in limit ? limit.windowMs : null),
      remaining: Math.floor(meter.remaining(now) + ROUNDING),
      source: limit.source,
      ...(learnt && {
        guard: Math.round(learnt.guard),
        othersPerMinute: Math.round(learnt.othersPerMinute),
      }),
    }
  }

  /** Under the soft floor, the next admission waits until the refill has made up for this one twice. */
  #slowDown(cost: CostVector, now: EpochMs): void {
    for (const { meter } of this.#learnt.values()) {
      const { dimension } = meter.limit
      if (dimension === 'requests' || meter.remaining(now) >= this.#floors.soft) continue
      const repaidAt =
        now + (2 * Math.min(amountOf(cost, dimension), this.#floors.soft)) / meter.ratePerMs
      if (repaidAt <= this.#slowUntil) continue
      this.#slowUntil = repaidAt
      this.#slowedBy = dimension
    }
  }

  /** Remaining tokens under which nothing is admitted: of a small limit, never more than half of it. */
  #setFloor(learnt: LearntLimit): void {
    const { dimension, amount } = learnt.meter.limit
    if (dimension !== 'requests') learnt.setFloor(Math.min(this.#floors.hard, amount / 2))
  }

  #learn(observed: ObservedLimit, now: EpochMs): LearntLimit {
    const learnt = new LearntLimit(observed, now)
    this.#setFloor(learnt)
    this.#learnt.set(observed.dimension, learnt)
    this.#meters = [
      ...this.#meters.filter(
        ({ limit }) => limit.source !== 'learnt' || limit.dimension !== observed.dimension,
      ),
      learnt.meter,
    ]
    return learnt
  }
}

/** Takes the meter out of `before` that counted the same, or begins one. */
function successor(before: Meter[], limit: Limit, now: EpochMs): Meter {
  const index = before.findIndex((meter) => isCountedAlike(meter.limit, limit))
  const [known] = index < 0 ? [] : before.splice(index, 1)
  known?.adapt(limit, now)
  return known ?? createMeter(limit, now)
}

function usualShare(cost: CostVector): number {
  return Math.max(
    cost.requests / USUAL_LIMITS.requests,
    cost.input_tokens / USUAL_LIMITS.input_tokens,
    cost.output_tokens / USUAL_LIMITS.output_tokens,
    cost.tokens / USUAL_LIMITS.tokens,
  )
}

/** The most that a limit can ever admit at once. */
function capacityOf(limit: Limit): number {
  return limit.algorithm === 'token_bucket' ? (limit.burst ?? limit.amount) : limit.amount
}

/** When a sum of amounts has come through, however much larger than the limit it is. */
function readyInLongRun(meter: Meter, amount: number, now: EpochMs): EpochMs {
  const missing = amount - meter.remaining(now)
  return missing <= 0 ? now : Math.max(meter.readyAt(amount, now), now + missing / meter.ratePerMs)
}
