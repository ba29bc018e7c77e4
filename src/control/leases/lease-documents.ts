// What is sent and answered about leases. Owns: the shape of each document, and what is wrong with one,
// in a clause that begins with a verb. Must not know: how it comes over the wire, or what is done then.
import { z } from 'zod'
import type { Prediction } from '../../core/admission.ts'
import type { EpochMs } from '../../core/clock.ts'
import { LANES } from '../../core/lane.ts'
import type { GrantedLease } from '../../dispatch/lease-ask.ts'
import { loadSchema } from '../../dispatch/lease-load.ts'
import type { LeaseView } from '../../dispatch/lease-views.ts'
import { describeBinding } from '../../dispatch/wait-message.ts'

const LONGEST_RESOURCE_NAME = 300
const LONGEST_FLOW_NAME = 200
const LONGEST_WAIT_MS = 86_400_000
const SHORTEST_TTL_MS = 1000

function text(longest: number) {
  const why = `is not a name: send 1 to ${longest} characters`
  return z.string({ error: why }).min(1, { error: why }).max(longest, { error: why })
}

const resource = text(LONGEST_RESOURCE_NAME).meta({
  description: 'Such as anthropic-claude, or anthropic/claude-sonnet-4.',
})
const flow = text(LONGEST_FLOW_NAME).meta({
  description: 'The unit of fairness: an agent, a user, a job.',
})
const lane = z.enum(LANES, { error: `is no lane: send one of ${LANES.join(', ')}` })

const NOT_A_WAIT = `is no time to wait: send whole milliseconds from 0 to ${LONGEST_WAIT_MS}`
const maxWaitMs = z
  .int({ error: NOT_A_WAIT })
  .min(0, { error: NOT_A_WAIT })
  .max(LONGEST_WAIT_MS, { error: NOT_A_WAIT })
  .meta({ description: 'Without it, queue.max_wait; 0: now or not at all.' })

const NOT_A_TTL = `is no time to live: send whole milliseconds, ${SHORTEST_TTL_MS} or more`
const ttlMs = z
  .int({ error: NOT_A_TTL })
  .min(SHORTEST_TTL_MS, { error: NOT_A_TTL })
  .meta({ description: 'How long the lease lasts without a sign of life.' })

const NOT_AN_OBJECT = 'is no JSON object'
const options = { error: NOT_AN_OBJECT }

export const checkBody = z.strictObject(
  {
    resource,
    load: loadSchema.optional().meta({ description: 'Without it, one request and no tokens.' }),
    lane: lane.optional(),
    flow: flow.optional(),
  },
  options,
)

export const acquireBody = z.strictObject(
  { ...checkBody.shape, maxWaitMs: maxWaitMs.optional(), ttlMs: ttlMs.optional() },
  options,
)

export const renewBody = z.strictObject({ ttlMs: ttlMs.optional() }, options)

export const settleBody = z.strictObject(
  {
    actual: loadSchema.optional().meta({ description: 'Without it, what was asked for.' }),
  },
  options,
)

const PRINTABLE = /^[\x20-\x7e]{1,200}$/

export const isIdempotencyKey = (header: string): boolean => PRINTABLE.test(header)

const instant = z
  .int()
  .meta({ description: 'Milliseconds since the epoch, by the clock of the gate.' })

export const grantedDocument = z.object({
  id: z.string(),
  resource: z.string(),
  grantedAt: instant,
  waitedMs: z.int(),
  expiresAt: instant,
  ttlMs: z.int(),
})

const progress = {
  position: z.int().meta({ description: 'Tickets that are to be served before it.' }),
  expectedInMs: z.int().nullable(),
  boundBy: z.string().nullable(),
}

export const waitingDocument = z.object({
  id: z.string(),
  resource: z.string(),
  ...progress,
  placeLost: z.literal(true).optional(),
})

export const renewedDocument = z.object({ id: z.string(), expiresAt: instant, ttlMs: z.int() })

export const settledDocument = z.object({ id: z.string(), settled: z.literal(true) })

export const checkedDocument = z.object({
  allowed: z.boolean(),
  count: z.int(),
  max: z.int().nullable(),
  retry_after: z
    .int()
    .nullable()
    .meta({ description: 'Seconds; null where only an event can tell.' }),
})

export const leaseDocument = z.object({
  id: z.string(),
  resource: z.string(),
  state: z.enum(['waiting', 'held']),
  flow: z.string(),
  lane: z.enum(LANES),
  load: z.object({
    requests: z.number(),
    input_tokens: z.number(),
    output_tokens: z.number(),
    tokens: z.number(),
  }),
  enqueuedAt: instant,
  grantedAt: instant.nullable(),
  expiresAt: instant.nullable(),
})

export const leasesDocument = z.object({ leases: z.array(leaseDocument) })

export const oneLeaseDocument = leaseDocument.extend({
  position: progress.position.optional(),
  expectedInMs: progress.expectedInMs.optional(),
  boundBy: progress.boundBy.optional(),
})

export function granted(lease: GrantedLease): z.infer<typeof grantedDocument> {
  const { id, resource, grantedAt, waitedMs, expiresAt, ttlMs } = lease
  return {
    id,
    resource,
    grantedAt: Math.round(grantedAt),
    waitedMs: Math.round(waitedMs),
    expiresAt: Math.round(expiresAt),
    ttlMs,
  }
}

/** Where a ticket stands that waits. */
export function progressOf({ position, expectedAt, boundBy }: Prediction, now: EpochMs) {
  return {
    position,
    expectedInMs: Number.isFinite(expectedAt) ? Math.max(0, Math.round(expectedAt - now)) : null,
    boundBy: boundBy && describeBinding(boundBy),
  }
}

export function shown(view: LeaseView): z.infer<typeof leaseDocument> {
  const { id, resource, state, flow, lane, estimate } = view
  const { cost: _, ...load } = estimate
  return {
    id,
    resource,
    state,
    flow,
    lane,
    load,
    enqueuedAt: Math.round(view.enqueuedAt),
    grantedAt: view.grantedAt === null ? null : Math.round(view.grantedAt),
    expiresAt: Number.isFinite(view.expiresAt) ? Math.round(view.expiresAt) : null,
  }
}
