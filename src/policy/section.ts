// The shapes that groups of keys have in the configuration file. Must not know: which keys there are.
import { z } from 'zod'

const notA =
  (why: string) =>
  (issue: { readonly code?: string }): string | undefined =>
    issue.code === 'invalid_type' ? why : undefined

/** A group of known keys. */
export function section<T extends z.ZodRawShape>(shape: T, description: string) {
  const error = notA('is not a group of keys, write them indented below')
  return z.strictObject(shape, { error }).meta({ description })
}

/** A group whose keys the operator chooses, in the order of the file. */
export function chosenKeys<T extends z.ZodType>(
  name: z.ZodType<string, string>,
  value: T,
  description: string,
) {
  const error = notA('is not a group of names, write each with a colon on a line below')
  return z
    .record(name, value, { error })
    .meta({ description })
    .transform((group): ReadonlyMap<string, z.output<T>> => new Map(Object.entries(group)))
}

export function listOf<T extends z.ZodType>(item: T, firstKey: string, description: string) {
  const error = `is not a list, begin each entry with "- ${firstKey}:"`
  return z.array(item, { error }).meta({ description })
}
