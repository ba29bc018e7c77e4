// How limits are written in the configuration file: a key for each dimension. Must not know: whose
// limits they are.
import type { z } from 'zod'
import type { Limit } from '../core/limit.ts'
import { parseLimit } from './units.ts'
import * as values from './values.ts'

const consumed = (dimension: Exclude<Limit['dimension'], 'concurrency'>) =>
  values
    .textsOf((text) => parseLimit(dimension, text))
    .refine((limits) => new Set(limits.map(windowOf)).size === limits.length, {
      error: 'limits the same window twice in the same way, keep one',
    })
    .optional()

/** What a meter is kept by: two limits that agree in this could not be told apart. */
function windowOf(limit: Limit): string {
  if (limit.algorithm === 'concurrency') return limit.algorithm
  const period = limit.algorithm === 'fixed_window' ? limit.calendar : null
  return [limit.algorithm, limit.windowMs, period?.unit, period?.timeZone].join()
}

const concurrency = values.wholeNumber(1).transform(
  (amount): Limit => ({
    algorithm: 'concurrency',
    dimension: 'concurrency',
    amount,
    source: 'configured',
  }),
)

/** The keys of a group that sets limits. */
export const limitKeys = {
  requests: consumed('requests'),
  input_tokens: consumed('input_tokens'),
  output_tokens: consumed('output_tokens'),
  tokens: consumed('tokens'),
  concurrency: concurrency.optional(),
}

type LimitKeys = z.output<z.ZodObject<typeof limitKeys>>

/** The limits that such a group sets, in the order of its dimensions. */
export function limitsIn(group: LimitKeys): readonly Limit[] {
  const { requests, input_tokens, output_tokens, tokens, concurrency: slots } = group
  return [requests, input_tokens, output_tokens, tokens, slots].flatMap((limit) => limit ?? [])
}

/** The same of a group that is there for nothing else: without a limit it is a mistake. */
export function someLimitsIn(group: LimitKeys, context: z.RefinementCtx): readonly Limit[] {
  const limits = limitsIn(group)
  const message = 'limits nothing, add a line such as requests: 1000/min'
  if (limits.length === 0) context.issues.push({ code: 'custom', message, input: group })
  return limits
}
