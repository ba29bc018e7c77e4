// What a caller asks of Headgate itself, in `x-headgate-…` headers. Owns: reading them strictly.
// Must not know: what is done with them.
import type { EpochMs } from '../core/clock.ts'
import { LANES, type Lane, parseLane } from '../core/lane.ts'
import { parseDuration } from '../policy/units.ts'
import type { Headers } from '../providers/provider.ts'

export type CallerWishes =
  | {
      readonly kind: 'read'
      readonly flow: string | null
      /** Null when none is wished. */
      readonly lane: Lane | null
      readonly maxWaitMs: number
      /** Infinity when none is wished. */
      readonly deadlineAt: EpochMs
    }
  | { readonly kind: 'bad'; readonly message: string }

const NO_WISHES: CallerWishes = {
  kind: 'read',
  flow: null,
  lane: null,
  maxWaitMs: Number.POSITIVE_INFINITY,
  deadlineAt: Number.POSITIVE_INFINITY,
}

const LONGEST_FLOW_NAME = 200

const textOf = (value: string | string[] | undefined): string | null =>
  value === undefined ? null : String(value)

/**
 * Reads the wishes; a header that makes no sense is an error, not ignored.
 *
 * @param isTrusted whether callers may say how they share and how urgent they are.
 */
export function readWishes(headers: Headers, isTrusted: boolean): CallerWishes {
  const lane = isTrusted ? textOf(headers['x-headgate-lane']) : null
  const flow = isTrusted ? textOf(headers['x-headgate-flow']) : null
  const maxWait = textOf(headers['x-headgate-max-wait'])
  const deadline = textOf(headers['x-headgate-deadline'])
  if (lane === null && flow === null && maxWait === null && deadline === null) return NO_WISHES
  const knownLane = lane === null ? null : parseLane(lane)
  if (lane !== null && knownLane === null)
    return bad('x-headgate-lane', `'${clip(lane)}' is no lane; use one of ${LANES.join(', ')}`)
  const parsedWait = maxWait === null ? null : parseDuration(maxWait)
  if (parsedWait?.kind === 'refused')
    return bad('x-headgate-max-wait', `'${clip(maxWait)}' ${parsedWait.why}`)
  const wishedAt = deadline === null ? Number.POSITIVE_INFINITY : Date.parse(deadline)
  if (Number.isNaN(wishedAt))
    return bad('x-headgate-deadline', `'${clip(deadline)}' is no time such as 2026-11-22T10:15:00Z`)
  return {
    kind: 'read',
    flow: flow?.slice(0, LONGEST_FLOW_NAME) || null,
    lane: knownLane,
    maxWaitMs: parsedWait ? parsedWait.value : Number.POSITIVE_INFINITY,
    deadlineAt: wishedAt,
  }
}

const clip = (text: string | null): string => (text ?? '').slice(0, 60)

function bad(header: string, why: string): CallerWishes {
  return { kind: 'bad', message: `Header ${header}: ${why}.` }
}
