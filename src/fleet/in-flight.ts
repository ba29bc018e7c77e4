// How many payloads are under way at once. Owns: the arithmetic, from what answers take and what limits
// allow. Must not know: payloads, or when anything is sent.
//
// Little's law: to keep a rate of R answers a second that take L seconds each, R × L have to be under way.
// More would only stand in line, where they grow old and rise a lane; so a few stand there, and no more.
import type { GateSnapshot, LimitSnapshot } from '../core/admission.ts'
import { type AnswerMeans, amountOf } from './answer-meter.ts'
import { isLong } from './long-windows.ts'

export interface Choice {
  readonly chosen: number
  /** Such as `rate 6.2/s × latency 4.0 s = 24.8`. */
  readonly because: string
}

/** Before anything is measured: as many as the gate lets through at its start, and some in line. */
export const AT_FIRST: Choice = { chosen: 8, because: 'nothing is measured yet' }

/** Where no limit is known it is doubled while answers come, up to so many. */
const MOST_WITHOUT_LIMIT = 64
/** In any case: each takes the memory of its prompt and its answer. */
const MOST = 1000
/** Those that stand in line, so that it is never empty: at least, and as a part of the others. */
const LEAST_IN_LINE = 2
const PART_IN_LINE = 0.1
/** A smaller change is not worth telling of. */
const WORTH_IT = 0.1

/** @returns null where the last choice is still good */
export function choose(last: Choice, means: AnswerMeans, gate: GateSnapshot): Choice | null {
  const rate = allowedPerSecond(gate.limits, means)
  const next = rate === null ? withoutLimit(last, gate) : withLimit(rate, means, gate)
  const change = Math.abs(next.chosen - last.chosen)
  return change >= Math.max(1, last.chosen * WORTH_IT) ? next : null
}

function withLimit(rate: number, { latencyMs }: AnswerMeans, gate: GateSnapshot): Choice {
  const little = rate * (latencyMs / 1000)
  const atOnce = mostAtOnce(gate)
  const served = Math.ceil(Math.min(little, atOnce))
  const inLine = Math.max(LEAST_IN_LINE, Math.ceil(served * PART_IN_LINE))
  const product = `rate ${inWords(rate)}/s × latency ${inWords(latencyMs / 1000)} s = ${inWords(little)}`
  const bound = atOnce < little ? `, but ${atOnce} at once are the most` : ''
  return {
    chosen: Math.min(served + inLine, MOST),
    because: `${product}${bound}; ${inLine} more in line`,
  }
}

function withoutLimit(last: Choice, gate: GateSnapshot): Choice {
  const atOnce = mostAtOnce(gate)
  const most = Math.min(MOST_WITHOUT_LIMIT, atOnce + LEAST_IN_LINE)
  const isBounded = Number.isFinite(atOnce)
  return {
    chosen: Math.min(last.chosen * 2, most),
    because: isBounded
      ? `${atOnce} at once are the most; ${LEAST_IN_LINE} more in line`
      : 'no limit is known: doubled while answers come',
  }
}

/** How many of such answers a second the limits bear; null where none is known. */
function allowedPerSecond(limits: readonly LimitSnapshot[], means: AnswerMeans): number | null {
  const rates = limits.flatMap((limit) => {
    const each = amountOf(means, limit.dimension)
    // A long window is used up first, and slow after: the gate sees to that.
    if (limit.windowMs === null || isLong(limit) || each <= 0) return []
    const refill = limit.amount / (limit.windowMs / 1000) - (limit.othersPerMinute ?? 0) / 60
    // What was left unused by others is there to be used: within the next minute, not at once.
    return [(refill + Math.max(0, limit.remaining) / 60) / each]
  })
  return rates.length === 0 ? null : Math.max(0, Math.min(...rates))
}

function mostAtOnce({ limits, concurrencyLimit }: GateSnapshot): number {
  const slots = limits.filter(({ dimension }) => dimension === 'concurrency')
  const amounts = slots.map(({ amount }) => amount)
  return Math.min(concurrencyLimit ?? Number.POSITIVE_INFINITY, ...amounts)
}

/** Two figures for what is small. */
const inWords = (value: number): string => (value < 1 ? value.toPrecision(2) : value.toFixed(1))
