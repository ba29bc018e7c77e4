// What a program hands in of its batches. Owns: what is wrong with it. Must not know: what is done with batches.
import { z } from 'zod'
import { ConfigError } from '../../policy/problem.ts'
import type { FleetBatches } from './batch-record.ts'

const fn = z.custom((value) => typeof value === 'function', { error: 'is no function' })

const place = z.object(
  {
    id: z.string({ error: 'is no text' }),
    index: z.int({ error: 'is no whole number' }).nonnegative({ error: 'is below 0' }),
    worstNanoUsd: z
      .number({ error: 'is no number' })
      .nonnegative({ error: 'is below 0' })
      .optional(),
  },
  { error: 'is no payload of a batch' },
)

const batch = z.object(
  {
    name: z.string({ error: 'is no text' }).min(1, { error: 'is empty' }),
    batchId: z.string({ error: 'is neither text nor null' }).nullable(),
    payloads: z.array(place, { error: 'is no list' }),
    size: z.int({ error: 'is no whole number' }).positive({ error: 'is not above 0' }),
    sentAt: z.number({ error: 'is no instant in milliseconds' }),
  },
  { error: 'is no batch' },
)

const schema = z.object(
  {
    journal: z.object(
      {
        submitting: fn,
        submitted: fn,
        ended: fn,
        refused: fn.optional(),
        joined: fn.optional(),
      },
      { error: 'is no journal: it needs the functions submitting, submitted and ended' },
    ),
    pending: z.array(batch, { error: 'is no list of what the journal has pending' }).optional(),
  },
  { error: 'is no object' },
)

/** @throws ConfigError with a line for the first problem */
export function checkBatches(batches: FleetBatches): void {
  const issue = schema.safeParse(batches).error?.issues[0]
  if (issue) throw new ConfigError([`${['batches', ...issue.path].join('.')}: ${issue.message}`])
}
