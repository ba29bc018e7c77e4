// A prompt on its way to a worker, and its outcome on the way back. Owns: the form of both in Redis. Must not
// know: who takes them, or when they go.
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Payload } from '../payload.ts'

const outcome = {
  latencyMs: z.number(),
  attempts: z.int().min(0),
  tokens: z
    .object({
      input: z.number(),
      cacheRead: z.number(),
      cacheWrite: z.number(),
      output: z.number(),
    })
    .nullable(),
  /** Integer nano-dollars; null where the price is not known. */
  costNanoUsd: z.number().nullable(),
}

const error = z.object({
  status: z.int().nullable(),
  type: z.string(),
  message: z.string(),
  isRetryable: z.boolean(),
})

const entrySchema = z.object({
  /** How often a worker was lost with it before. */
  losses: z.int().min(0),
  /** The request; it goes when there is an outcome. */
  params: z
    .looseObject({
      model: z.string(),
      max_tokens: z.number(),
      messages: z.array(z.unknown()).readonly(),
    })
    .optional(),
  outcome: z
    .discriminatedUnion('kind', [
      z.object({ kind: z.literal('answered'), response: z.unknown(), ...outcome }),
      z.object({ kind: z.literal('failed'), error, ...outcome }),
    ])
    .optional(),
})

export type Entry = z.output<typeof entrySchema>

/** @throws where it is nothing that a run has put there */
export const entryIn = (data: unknown): Entry => entrySchema.parse(data)

/**
 * The name of a prompt among those of all jobs. The same prompt of the same job has the same name in each run,
 * so that an answer of an earlier one is found.
 */
export function entryId(jobKey: string, { id, params }: Payload): string {
  const hash = createHash('sha256').update(JSON.stringify([jobKey, id, params]))
  return `${namesOf(jobKey)}${hash.digest('hex')}`
}

/** What the names of all prompts of a job begin with. */
export const namesOf = (jobKey: string): string => `p${jobKey.slice(0, 16)}-`
