// What a program has written, held against what it may write. Owns: naming what is wrong, field by field.
// Must not know: which fields there are.
import { z } from 'zod'
import { type FieldProblem, Invalid } from '../client/errors.ts'
import { suggestion } from '../policy/suggest.ts'

/** These keys and no others: one that is mistyped would do nothing, and nobody would see it. */
export const objectOf = <T extends z.ZodRawShape>(shape: T) =>
  z.strictObject(shape, { error: 'is no object' })

export const functionSchema = <T>() =>
  z.custom<T>((value) => typeof value === 'function', { error: 'is no function' })

/**
 * @param under the field that holds the value; for options none, so that their fields are named as they are
 * @param errorOf makes the error of all problems
 * @throws Invalid with every problem, or what `errorOf` makes of them
 */
export function checked<T extends z.ZodType>(
  schema: T,
  value: unknown,
  under: readonly string[] = [],
  errorOf: (problems: readonly FieldProblem[]) => Error = invalid,
): z.output<T> {
  const read = schema.safeParse(value)
  if (read.success) return read.data
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
  throw errorOf(read.error.issues.flatMap((issue) => problemsOf(issue, under, known)))
}

function invalid(errors: readonly FieldProblem[]): Invalid {
  const detail = errors.map((error) => error.detail).join('; ')
  return new Invalid({ status: 400, reason: 'invalid', detail, errors, retryAfterMs: null })
}

function problemAt(path: readonly PropertyKey[], why: string): FieldProblem {
  const field = path.join('.') || 'options'
  return { field, detail: `${field} ${why}` }
}

/** Of a key that is none of those that are known, if any is. */
export const notKnown = (key: string, known: readonly string[]): string =>
  known.length > 0 ? `is not known here, ${suggestion(key, known)}` : 'is not known here'

function problemsOf(
  issue: z.core.$ZodIssue,
  under: readonly PropertyKey[],
  known: readonly string[],
): FieldProblem[] {
  const path = [...under, ...issue.path]
  const ofWhole = issue.path.length === 0 ? known : []
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => problemAt([...path, key], notKnown(key, ofWhole)))
  const choices = issue.code === 'invalid_union' ? issue.errors : []
  // What was meant is the one that was wrong inside.
  const meant = choices.find((inner) => inner.some(isInside))
  if (meant) return meant.flatMap((inner) => problemsOf(inner, path, []))
  return [problemAt(path, issue.message)]
}

const isInside = ({ code, path }: z.core.$ZodIssue): boolean =>
  code === 'unrecognized_keys' || path.length > 0
