// Every no that one who asks for a lease may hear. Owns: the table of those that no call has, and the
// sentences. Must not know: HTTP beyond a status.
import type { Prediction } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import { REFUSALS, type Refusal, type RefusalReason } from '../core/refusal.ts'
import { describeWait } from './wait-message.ts'

/** Reasons of leases alone, each with its HTTP status. */
export const LEASE_REFUSALS = {
  /** What was sent makes no sense. */
  invalid: { status: 400 },
  load_too_large: { status: 400 },
  unknown_resource: { status: 404 },
  lease_unknown: { status: 404 },
  lease_ended: { status: 409 },
  still_waiting: { status: 409 },
  cancelled: { status: 409 },
  too_many_leases: { status: 429 },
} as const satisfies Record<string, { readonly status: number }>

export type LeaseRefusalReason = RefusalReason | keyof typeof LEASE_REFUSALS

export interface LeaseRefusal {
  readonly reason: LeaseRefusalReason
  /** One sentence for a person. */
  readonly message: string
  /** When trying again makes sense, or null where it is not known or does not help. */
  readonly retryAfterMs: number | null
  /** What is wrong of what was sent. */
  readonly field?: string
}

const KINDS: Readonly<Record<LeaseRefusalReason, { readonly status: number }>> = {
  ...REFUSALS,
  ...LEASE_REFUSALS,
}

export const statusOf = (reason: LeaseRefusalReason): number => KINDS[reason].status

export function leaseRefusal(
  reason: LeaseRefusalReason,
  message: string,
  more: { readonly field?: string; readonly retryAfterMs?: number } = {},
): LeaseRefusal {
  return { retryAfterMs: null, ...more, reason, message }
}

export type WaitRefusal = Extract<RefusalReason, 'queue_full' | 'wait_too_long' | 'waited_out'>

/** When to ask again where only the end of another's lease can tell. */
const SOON_MS = 1000

/** The resource's line is too long. @param prediction - Null: nobody knows where it stood. */
export function waitRefusal(
  reason: WaitRefusal,
  resource: string,
  prediction: Prediction | null,
  now: EpochMs,
): Refusal {
  const { expectedAt = Number.POSITIVE_INFINITY } = prediction ?? {}
  const retryAfterMs = Number.isFinite(expectedAt) ? Math.max(0, expectedAt - now) : SOON_MS
  return { reason, message: describeWait(reason, resource, prediction, now), retryAfterMs }
}

/** A refusal of the gate's, without the headers that only calls have. */
export function ofGate({ reason, message, retryAfterMs }: Refusal): LeaseRefusal {
  return { reason, message, retryAfterMs }
}

export const SHUTTING_DOWN = leaseRefusal('shutting_down', 'This gate is stopping: ask again.', {
  retryAfterMs: 1000,
})

export const STORE_FAILED = leaseRefusal(
  'store_failed',
  'The store of this gate cannot be reached now: ask again.',
  { retryAfterMs: 1000 },
)

export const CANCELLED = leaseRefusal('cancelled', 'This ask was cancelled while it waited.')

export const GONE_ELSEWHERE = leaseRefusal(
  'cancelled',
  'This ask goes on at another gate, or was ended there.',
)

export const STILL_WAITING = leaseRefusal(
  'still_waiting',
  'This lease is not granted yet: its ask still waits.',
)

export function tooMany(most: number): LeaseRefusal {
  return leaseRefusal(
    'too_many_leases',
    `You have ${most} leases here, waiting and held, and leases.max_per_caller allows no more: end some first.`,
    { retryAfterMs: 1000 },
  )
}

export function tooLong(mostMs: number): LeaseRefusal {
  const message = `ttlMs is too long: leases.max_ttl allows ${mostMs} at the most.`
  return leaseRefusal('invalid', message, { field: 'ttlMs' })
}

/** How a lease or an ask has ended, as far as this process knows. */
export type Ending = 'settled' | 'released' | 'cancelled' | 'expired'

const ENDINGS: Readonly<Record<Ending, string>> = {
  settled: 'it was settled',
  released: 'it was released',
  cancelled: 'it was cancelled',
  expired: 'it expired, since nobody renewed it in time',
}

export function leaseEnded(ending: Ending): LeaseRefusal {
  return leaseRefusal(
    'lease_ended',
    `The lease of this idempotency key has ended: ${ENDINGS[ending]}. Use another key for another lease.`,
    { field: 'Idempotency-Key' },
  )
}

/** @param memorySince when this process began, where leases do not outlast it. */
export function leaseUnknown(ending: Ending | null, memorySince: EpochMs | null): LeaseRefusal {
  const known = ending && `${ENDINGS[ending]}.`
  const lost =
    memorySince !== null &&
    `This gate keeps leases in memory, and began at ${new Date(memorySince).toISOString()}: those from before are lost.`
  const why = known || lost || 'It has ended, or it is not yours.'
  return leaseRefusal('lease_unknown', `There is no such lease: ${lowerFirst(why)}`)
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
