// What is asked of a gate in its own program. Owns: what may be written, and the error that names what may
// not. Must not know: limits, or the line.
import { z } from 'zod'
import { type FieldProblem, Invalid, Refused } from '../client/errors.ts'
import type { Load } from '../client/lease.ts'
import type { CostVector } from '../core/cost.ts'
import { LANES } from '../core/lane.ts'
import { costOfLoad, loadSchema } from '../dispatch/lease-load.ts'
import { type LeaseRefusal, statusOf } from '../dispatch/lease-refusals.ts'
import { suggestion } from '../policy/suggest.ts'
import { isName } from '../policy/values.ts'
import type { GateAcquireOptions } from './gate.ts'

const NOT_A_NAME = 'is no name: send 1 to 200 characters without control characters'
const NOT_A_WAIT = 'is no time: send milliseconds from 0'

export const nameSchema = z.string({ error: NOT_A_NAME }).refine(isName, { error: NOT_A_NAME })

export const laneSchema = z.enum(LANES, {
  error: ({ input }) => `is no lane, ${suggestion(String(input), LANES)}`,
})

export const waitSchema = z.number({ error: NOT_A_WAIT }).min(0, { error: NOT_A_WAIT })

const askedSchema = z.object({
  load: loadSchema.default({}),
  lane: laneSchema.nullable().default(null),
  flow: nameSchema.nullable().default(null),
  user: nameSchema.nullable().default(null),
  maxWaitMs: waitSchema.nullable().default(null),
})

export type Asked = z.output<typeof askedSchema>

/** @throws Invalid */
export function readAsked(options: GateAcquireOptions): Asked {
  const { load, lane, flow, user, maxWaitMs } = options
  return checked(askedSchema, { load, lane, flow, user, maxWaitMs }, [])
}

/** @param field that holds the load @throws Invalid */
export function costOfAsked(load: Load, field: string): CostVector {
  return costOfLoad(checked(loadSchema, load, [field]))
}

/** @param under the field that holds the value @throws Invalid with every problem */
export function checked<T extends z.ZodType>(
  schema: T,
  value: unknown,
  under: readonly string[],
): z.output<T> {
  const read = schema.safeParse(value)
  if (read.success) return read.data
  const errors = read.error.issues.flatMap((issue) => problemsOf(issue, under))
  const detail = errors.map((error) => error.detail).join('; ')
  throw new Invalid({ status: 400, reason: 'invalid', detail, errors, retryAfterMs: null })
}

function problemsOf(issue: z.core.$ZodIssue, under: readonly PropertyKey[]): FieldProblem[] {
  const path = [...under, ...issue.path]
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => problemAt([...path, key], 'is not known here'))
  const choices = issue.code === 'invalid_union' ? issue.errors : []
  // What was meant is the one that was wrong inside.
  const meant = choices.find((inner) => inner.some(isInside))
  if (meant) return meant.flatMap((inner) => problemsOf(inner, path))
  return [problemAt(path, issue.message)]
}

const isInside = ({ code, path }: z.core.$ZodIssue): boolean =>
  code === 'unrecognized_keys' || path.length > 0

function problemAt(path: readonly PropertyKey[], why: string): FieldProblem {
  const field = path.join('.')
  return { field, detail: `${field} ${why}` }
}

/** What can never be granted is the program's or the configuration's mistake; all else may pass later. */
export function errorOf({ reason, message, retryAfterMs, field }: LeaseRefusal): Invalid | Refused {
  const status = statusOf(reason)
  const errors = field === undefined ? [] : [{ field, detail: message }]
  const problem = { status, reason, detail: message, errors, retryAfterMs }
  return status === 400 || status === 404 ? new Invalid(problem) : new Refused(problem)
}
