// Refusals of the control plane: problem documents (RFC 9457). Owns: their fields, and which status an
// error has. Must not know: what was asked.
import { z } from 'zod'
import { LedgerUnavailable } from '../ledger/ledger.ts'
import { AdminRefusal } from './administration.ts'

export const PROBLEM_TYPE = 'application/problem+json'

const fieldProblem = z.object({ field: z.string(), detail: z.string() })

export const problemSchema = z.object({
  type: z.literal('about:blank'),
  title: z.string(),
  status: z.int(),
  detail: z.string().meta({ description: 'What is wrong, and what to do.' }),
  errors: z.array(fieldProblem).optional().meta({ description: 'What is wrong of what was sent.' }),
  reason: z.string().optional().meta({ description: 'Of leases: why, in a word for programs.' }),
  retryAfterMs: z.int().optional().meta({ description: 'Of leases: when to ask again.' }),
})

export type Problem = z.infer<typeof problemSchema>

const TITLES = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  411: 'Length Required',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
} as const

/** A problem with a status of this control plane. */
export type Refusal = Problem & { readonly status: keyof typeof TITLES }

const STATUSES = { invalid: 400, not_found: 404, conflict: 409 } as const

export function problem(
  status: Refusal['status'],
  detail: string,
  errors?: Problem['errors'],
): Refusal {
  const plain = { type: 'about:blank', title: TITLES[status], status, detail } as const
  return errors ? { ...plain, errors } : plain
}

/** Null: the error is nobody's refusal, but a fault. */
export function problemOf(error: unknown): Refusal | null {
  if (error instanceof AdminRefusal) {
    const { reason, field, message } = error
    return problem(
      STATUSES[reason],
      message,
      field === null ? undefined : [{ field, detail: message }],
    )
  }
  if (error instanceof LedgerUnavailable) {
    return problem(503, `The ledger cannot be used now: ${error.message}`)
  }
  return null
}

/** What zod found wrong, by the field that it is in. */
export function invalidInput(error: z.core.$ZodError): Refusal {
  const errors = error.issues.flatMap((issue) => fieldsOf(issue, []))
  return problem(400, errors.map(({ detail }) => detail).join('; '), errors)
}

type FieldProblem = z.infer<typeof fieldProblem>

function fieldsOf(issue: z.core.$ZodIssue, at: readonly PropertyKey[]): FieldProblem[] {
  const path = [...at, ...issue.path]
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => fieldProblemAt([...path, key], 'is not known here'))
  if (issue.code === 'invalid_union') {
    // What was meant is the one that was wrong inside.
    const meant = issue.errors.find((inner) => inner.some(isInside))
    if (meant) return meant.flatMap((inner) => fieldsOf(inner, path))
  }
  return [fieldProblemAt(path, issue.message)]
}

const isInside = ({ code, path }: z.core.$ZodIssue): boolean =>
  code === 'unrecognized_keys' || path.length > 0

function fieldProblemAt(path: readonly PropertyKey[], why: string): FieldProblem {
  const field = path.join('.') || 'body'
  return { field, detail: `${field} ${why}` }
}
