// Limits of an hour or more, which no job waits out in passing. Owns: seeing that one binds, and the pace that
// makes what is left of one last. Must not know: what is done about it.
import type { GateSnapshot, LimitSnapshot } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import { describeBinding } from '../dispatch/wait-message.ts'
import { type AnswerMeans, amountOf } from './answer-meter.ts'

const LONG_MS = 3_600_000
/** A provider that asks for so long a pause speaks of such a window, whether its limit is known or not. */
const LONG_PAUSE_MS = LONG_MS / 2

export const isLong = ({ windowMs }: Pick<LimitSnapshot, 'windowMs'>): boolean =>
  windowMs !== null && windowMs >= LONG_MS

/** The long window that whoever stands in line waits for, and when that has room; null where none binds. */
export function longWindowOf(
  { boundBy, nextAt, pausedUntil }: GateSnapshot,
  now: EpochMs,
): { readonly limit: string; readonly resumeAt: EpochMs } | null {
  if (boundBy?.kind === 'limit' && boundBy.limit.algorithm !== 'concurrency') {
    if (!isLong(boundBy.limit)) return null
    return { limit: describeBinding(boundBy), resumeAt: nextAt ?? now + boundBy.limit.windowMs }
  }
  if (boundBy?.kind !== 'paused' || pausedUntil === null) return null
  const isLongPause = pausedUntil - now >= LONG_PAUSE_MS
  return isLongPause ? { limit: describeBinding(boundBy), resumeAt: pausedUntil } : null
}

/**
 * How far apart so many payloads have to be sent for the long windows to last up to the last one: at an even
 * pace, so that there is room for others at any time. 0 where all have room for all.
 */
export function paceMs({ limits }: GateSnapshot, means: AnswerMeans, left: number): number {
  if (left <= 0) return 0
  const gaps = limits.filter(isLong).map(({ amount, windowMs, remaining, dimension }) => {
    const missing = left * amountOf(means, dimension) - remaining
    const takesMs = (missing / amount) * (windowMs ?? 0)
    return takesMs / left
  })
  return Math.max(0, ...gaps)
}
