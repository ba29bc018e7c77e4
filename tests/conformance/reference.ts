// What limits allow, worked out from the whole list of what was taken. Independent of how any meter
// works: no state but the list.
import type { EpochMs } from '../../src/core/clock.ts'
import { amountOf } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import type { Take } from './callers.ts'
import { START_AT } from './line.ts'

/** A sliding window gives capacity back up to so much of its length late. */
const LATE = 1.05 / 60
const TOLERANCE = 1e-3
/** Instants near today are multiples of a quarter of a microsecond. */
const TOLERANCE_MS = 1e-3

export interface Range {
  readonly least: number
  readonly most: number
}

const sumOf = (limit: Limit, takes: readonly Take[]): number =>
  takes.reduce((sum, { charge }) => sum + amountOf(charge, limit.dimension), 0)

const heldOf = (takes: readonly Take[]): number => takes.filter((lease) => lease.isHeld).length

export function capacityOf(limit: Limit): number {
  return limit.algorithm === 'token_bucket' ? (limit.burst ?? limit.amount) : limit.amount
}

/** What a limit has left at an instant. */
export function remainingOf(limit: Limit, takes: readonly Take[], now: EpochMs): Range {
  switch (limit.algorithm) {
    case 'concurrency':
      return exactly(limit.amount - heldOf(takes))
    case 'fixed_window': {
      const startAt = Math.floor(now / limit.windowMs) * limit.windowMs
      return exactly(limit.amount - sumOf(limit, since(takes, startAt)))
    }
    case 'sliding_window': {
      const late = limit.windowMs * LATE
      return {
        least: limit.amount - sumOf(limit, since(takes, now - limit.windowMs - late)),
        most: limit.amount - sumOf(limit, after(takes, now - limit.windowMs)),
      }
    }
    case 'token_bucket':
      return exactly(levelOf(limit, takes, now))
  }
}

const exactly = (value: number): Range => ({ least: value, most: value })
const since = (takes: readonly Take[], at: EpochMs) => takes.filter((lease) => lease.at >= at)
const after = (takes: readonly Take[], at: EpochMs) => takes.filter((lease) => lease.at > at)

/** The level as if each had taken from the start what it is known to have taken by now. */
function levelOf(
  limit: Extract<Limit, { algorithm: 'token_bucket' }>,
  takes: readonly Take[],
  now: EpochMs,
): number {
  const capacity = capacityOf(limit)
  const ratePerMs = limit.amount / limit.windowMs
  let level = capacity
  let at = START_AT
  const refill = (to: EpochMs): void => {
    level = Math.min(capacity, level + (to - at) * ratePerMs)
    at = to
  }
  for (const lease of takes) {
    refill(lease.at)
    level -= amountOf(lease.charge, limit.dimension)
  }
  refill(now)
  return level
}

/** By how much the admissions up to now overstep a limit, in the worst window that ends now. */
export function excessOf(limit: Limit, takes: readonly Take[], now: EpochMs): number {
  switch (limit.algorithm) {
    case 'concurrency':
      return heldOf(takes) - limit.amount
    case 'fixed_window':
    case 'sliding_window':
      return -remainingOf(limit, takes, now).most
    case 'token_bucket': {
      const allowedSince = (at: EpochMs): number =>
        capacityOf(limit) + ((now - at) * limit.amount) / limit.windowMs
      const excesses = takes.map(({ at }) => sumOf(limit, since(takes, at)) - allowedSince(at))
      return Math.max(...excesses) - TOLERANCE
    }
  }
}

/** The earliest instant at which one more request of an amount fits; null when only an event can tell. */
export function readyAtOf(
  limit: Limit,
  amount: number,
  takes: readonly Take[],
  now: EpochMs,
): EpochMs | null {
  if (limit.algorithm === 'concurrency') return heldOf(takes) < limit.amount ? now : null
  const rounding = (limit.amount / limit.windowMs) * TOLERANCE_MS
  const fitsAt = (at: EpochMs): boolean => remainingOf(limit, takes, at).most + rounding >= amount
  if (fitsAt(now)) return now
  switch (limit.algorithm) {
    case 'token_bucket':
      return now + ((amount - remainingOf(limit, takes, now).most) * limit.windowMs) / limit.amount
    case 'fixed_window':
      return (Math.floor(now / limit.windowMs) + 1) * limit.windowMs
    case 'sliding_window': {
      const leaves = takes.map(({ at }) => at + limit.windowMs).filter((at) => at > now)
      return leaves.find(fitsAt) ?? null
    }
  }
}

/** How late a store may admit for the sake of bounded memory. */
export function lateBy(limit: Limit): number {
  return limit.algorithm === 'sliding_window' ? limit.windowMs * LATE : TOLERANCE_MS
}
