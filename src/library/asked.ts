// What is asked of a gate in its own program. Owns: what may be written, and the error that names what may
// not. Must not know: limits, or the line.
import { z } from 'zod'
import { Invalid, Refused } from '../client/errors.ts'
import type { AcquireOptions, Load } from '../client/lease.ts'
import type { CostVector } from '../core/cost.ts'
import { LANES } from '../core/lane.ts'
import { costOfLoad, loadSchema } from '../dispatch/lease-load.ts'
import { type LeaseRefusal, statusOf } from '../dispatch/lease-refusals.ts'
import { suggestion } from '../policy/suggest.ts'
import { isName } from '../policy/values.ts'
import { checked, functionSchema, objectOf } from './checked.ts'
import type { CloseOptions, GateAcquireOptions } from './gate.ts'

const NOT_A_NAME = 'is no name: send 1 to 200 characters without control characters'
const NOT_A_TIME = 'is no time: send milliseconds from 0'
const NOT_A_WAIT = `${NOT_A_TIME}, or nothing where queue.max_wait is meant`
const NOT_A_SIGNAL = 'is no signal: send that of an AbortController'

export const nameSchema = z.string({ error: NOT_A_NAME }).refine(isName, { error: NOT_A_NAME })

export const laneSchema = z.enum(LANES, {
  error: ({ input }) => `is no lane, ${suggestion(String(input), LANES)}`,
})

export const waitSchema = z.number({ error: NOT_A_WAIT }).min(0, { error: NOT_A_WAIT })

const resourceSchema = z.string({ error: 'is no name: name a resource of the configuration' })

/** As it behaves: programs have signals of more than one make. */
const isSignal = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  'throwIfAborted' in value &&
  'addEventListener' in value

const askedSchema = objectOf({
  load: loadSchema.default({}),
  lane: laneSchema.nullable().default(null),
  flow: nameSchema.nullable().default(null),
  user: nameSchema.nullable().default(null),
  maxWaitMs: waitSchema.nullable().default(null),
  signal: z.custom<AbortSignal>(isSignal, { error: NOT_A_SIGNAL }).nullable().default(null),
  onProgress: functionSchema<NonNullable<AcquireOptions['onProgress']>>().nullable().default(null),
})

export type Asked = z.output<typeof askedSchema>

/** @throws Invalid */
export function readAsked(resource: string, options: GateAcquireOptions): Asked {
  checked(resourceSchema, resource, ['resource'])
  return checked(askedSchema, options)
}

/** @throws Invalid when it is no function: nothing has been asked for by then. */
export function checkWork(work: unknown): void {
  checked(functionSchema(), work, ['work'])
}

const GRACE_MS = 10_000

const closeSchema = objectOf({
  graceMs: z.number({ error: NOT_A_TIME }).min(0, { error: NOT_A_TIME }).default(GRACE_MS),
})

/** @throws Invalid */
export function readClose(options: CloseOptions): z.output<typeof closeSchema> {
  return checked(closeSchema, options)
}

/** @param field that holds the load @throws Invalid */
export function costOfAsked(load: Load, field: string): CostVector {
  return costOfLoad(checked(loadSchema, load, [field]))
}

/** What can never be granted is the program's or the configuration's mistake; all else may pass later. */
export function errorOf({ reason, message, retryAfterMs, field }: LeaseRefusal): Invalid | Refused {
  const status = statusOf(reason)
  const errors = field === undefined ? [] : [{ field, detail: message }]
  const problem = { status, reason, detail: message, errors, retryAfterMs }
  return status === 400 || status === 404 ? new Invalid(problem) : new Refused(problem)
}
