// How a subject's limits stand. Owns: what is left of each, and when all of it is back. Must not know:
// HTTP, and how a limit is metered beyond its description.
import { calendarWindowAt } from '../core/calendar.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Dimension } from '../core/cost.ts'
import type { Limit } from '../core/limit.ts'
import type { ResourceSnapshot } from '../core/store.ts'
import type { SubjectName } from '../policy/subject.ts'

export interface LimitStanding {
  readonly subject: SubjectName
  readonly dimension: Dimension
  /** The most that may be taken at once: the burst of a bucket that has one. */
  readonly capacity: number
  readonly amount: number
  /** Null for concurrency. */
  readonly windowMs: number | null
  /** Never below zero. */
  readonly remaining: number
  /** When nothing is taken of it any more, if nothing is taken until then. */
  readonly fullAt: EpochMs
}

/** @param snapshot null where the store knows nothing of the resource: nothing is taken. */
export function standingsOf(
  subject: SubjectName,
  limits: readonly Limit[],
  snapshot: ResourceSnapshot | null,
  now: EpochMs,
): readonly LimitStanding[] {
  return limits.map((limit, index) => {
    const capacity = capacityOf(limit)
    const seen = snapshot?.limits[index]
    // Right after its limits have changed, a snapshot may still speak of others.
    const isSame = seen?.dimension === limit.dimension && seen.amount === limit.amount
    const remaining = isSame ? Math.max(0, seen.remaining) : capacity
    return {
      subject,
      dimension: limit.dimension,
      capacity,
      amount: limit.amount,
      windowMs: 'windowMs' in limit ? limit.windowMs : null,
      remaining,
      fullAt: fullAt(limit, capacity - remaining, now),
    }
  })
}

/** The one that has least left of what it can have. */
export function tightestOf(standings: readonly LimitStanding[]): LimitStanding | null {
  const left = ({ remaining, capacity }: LimitStanding): number => remaining / capacity
  return standings.reduce<LimitStanding | null>(
    (tightest, one) => (tightest && left(tightest) <= left(one) ? tightest : one),
    null,
  )
}

/** The most that a limit ever lets through at once. */
export const capacityOf = (limit: Limit): number =>
  limit.algorithm === 'token_bucket' ? (limit.burst ?? limit.amount) : limit.amount

function fullAt(limit: Limit, missing: number, now: EpochMs): EpochMs {
  if (missing <= 0) return now
  switch (limit.algorithm) {
    case 'concurrency':
      return now
    case 'token_bucket':
      return now + (missing * limit.windowMs) / limit.amount
    case 'sliding_window':
      return now + limit.windowMs
    case 'fixed_window':
      return limit.calendar
        ? calendarWindowAt(limit.calendar, now).endAt
        : (Math.floor(now / limit.windowMs) + 1) * limit.windowMs
  }
}
