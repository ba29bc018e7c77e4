// How much a lease is asked for. Owns: what may be written, what it counts, and whether a resource can
// ever bear it. Must not know: who asks, or over which wire.
import { z } from 'zod'
import { type CostVector, costOf, type Dimension } from '../core/cost.ts'
import type { Limit } from '../core/limit.ts'
import type { ResourceSnapshot } from '../core/store.ts'
import { capacityOf } from './limit-standing.ts'
import { describeBinding, describeLimit } from './wait-message.ts'

const MOST = 1e12
const NOT_AN_AMOUNT = `is not an amount: send a whole number from 0 to ${MOST}`

const amount = z
  .int({ error: NOT_AN_AMOUNT })
  .min(0, { error: NOT_AN_AMOUNT })
  .max(MOST, { error: NOT_AN_AMOUNT })

const amounts = z.strictObject({
  requests: amount.optional().meta({ description: 'Without it, 1.' }),
  input_tokens: amount.optional(),
  output_tokens: amount.optional(),
  tokens: amount.optional().meta({ description: 'Without it, input and output together.' }),
})

/** A number is 1 request, and so much of every kind of token. */
export const loadSchema = z.union([amount, amounts], {
  error: ({ input }) =>
    typeof input === 'number' ? NOT_AN_AMOUNT : 'is no load: send a number, or {"tokens": 15000}',
})

export type Load = z.output<typeof loadSchema>

export function costOfLoad(load: Load): CostVector {
  if (typeof load !== 'number') {
    const { requests = 1, input_tokens = 0, output_tokens = 0, tokens } = load
    const all = tokens ?? input_tokens + output_tokens
    return costOf({ requests, input_tokens, output_tokens, tokens: all })
  }
  return costOf({ requests: 1, input_tokens: load, output_tokens: load, tokens: load })
}

/** A limit that can never bear a load, however long that waits. */
export interface Excess {
  /** `load`, or `load.tokens` where that was named. */
  readonly field: string
  /** For the caller. */
  readonly detail: string
}

/**
 * @param limits that are configured
 * @param snapshot tells those that are learnt; null where nothing is known yet
 */
export function excessOf(
  load: Load,
  limits: readonly Limit[],
  snapshot: ResourceSnapshot | null,
): Excess | null {
  const cost = costOfLoad(load)
  const learnt = snapshot?.limits.filter(({ source }) => source === 'learnt') ?? []
  const bounds = [
    ...limits.map((limit) => ({
      dimension: limit.dimension,
      capacity: capacityOf(limit),
      shown: describeBinding({ kind: 'limit', limit }),
    })),
    ...learnt.map((limit) => ({
      dimension: limit.dimension,
      capacity: limit.amount,
      shown: describeLimit(limit),
    })),
  ]
  for (const { dimension, capacity, shown } of bounds) {
    if (dimension === 'concurrency' || cost[dimension] <= capacity) continue
    const most = shown.startsWith(`${capacity} `) ? '' : `, and ${capacity} at the most`
    return {
      field: fieldOf(load, dimension),
      detail: `has ${cost[dimension]} ${dimension}, and the limit is ${shown}${most}: ask for less, in parts`,
    }
  }
  return null
}

function fieldOf(load: Load, dimension: Dimension): string {
  return typeof load === 'object' && dimension in load ? `load.${dimension}` : 'load'
}
