// A prompt on its way to a worker, and its outcome on the way back. Owns: the form of both in Redis, and their
// names. Must not know: who takes them, or when they go.
//
// An entry is for one sending that may cost something. Whether there is another is for the run to say, which
// knows the job's money; that one has a name of its own, so what comes late of the first is nobody's.
import { z } from 'zod'

const effort = {
  attempts: z.int().min(0),
  tokens: z
    .object({
      input: z.number(),
      cacheRead: z.number(),
      cacheWrite: z.number(),
      output: z.number(),
    })
    .nullable(),
  /** Integer nano-dollars; null where the worker does not know the price. */
  costNanoUsd: z.number().nullable(),
}

const error = z.object({
  status: z.int().nullable(),
  type: z.string(),
  message: z.string(),
  isRetryable: z.boolean(),
})

const outcomeSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('answered'), response: z.unknown(), ...effort }),
  z.object({ kind: z.literal('failed'), error, retryAfterMs: z.number().nullable(), ...effort }),
  /** It was not sent, or has cost nothing, and its worker takes no more. `why` is for people. */
  z.object({ kind: z.literal('returned'), why: z.string().nullable() }),
])

const entrySchema = z.object({
  /** The request; it goes when there is an outcome. */
  params: z
    .looseObject({
      model: z.string(),
      max_tokens: z.number(),
      messages: z.array(z.unknown()).readonly(),
    })
    .optional(),
  outcome: outcomeSchema.optional(),
})

export type Outcome = z.output<typeof outcomeSchema>
export type Entry = z.output<typeof entrySchema>

/** @throws where it is nothing that a run or a worker has put there */
export const entryIn = (data: unknown): Entry => entrySchema.parse(data)

/** What the names of all entries of a job begin with. */
export const namesOf = (jobKey: string): string => `p${jobKey.slice(0, 16)}-`

/** @param run a word of the run's own */
export const entryName = (jobKey: string, run: string, count: number): string =>
  `${namesOf(jobKey)}${run}-${count}`
