// What a request consumes. Owns: the dimensions and the cost vector. Must not know: limits.

/** What is counted. `concurrency` is held while a lease lives; all others are consumed. */
export type Dimension =
  | 'requests'
  | 'input_tokens'
  | 'output_tokens'
  | 'tokens'
  | 'cost'
  | 'concurrency'

/**
 * An amount per consumed dimension. Every field is always there, so that the vectors of a busy
 * process share one shape. `tokens` is input + output unless said otherwise; `cost` is an integer
 * number of nano-dollars.
 */
export interface CostVector {
  readonly requests: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly tokens: number
  readonly cost: number
}

/** A whole vector from the fields that are known: one request and nothing else by default. */
export function costOf(known: Partial<CostVector>): CostVector {
  const input = known.input_tokens ?? 0
  const output = known.output_tokens ?? 0
  return {
    requests: known.requests ?? 1,
    input_tokens: input,
    output_tokens: output,
    tokens: known.tokens ?? input + output,
    cost: known.cost ?? 0,
  }
}

export const NOTHING: CostVector = costOf({ requests: 0 })

/** The amount that a vector takes of one dimension: one slot for `concurrency`. */
export function amountOf(cost: CostVector, dimension: Dimension): number {
  return dimension === 'concurrency' ? 1 : cost[dimension]
}

export function isNothing({
  requests,
  input_tokens,
  output_tokens,
  tokens,
  cost,
}: CostVector): boolean {
  return !requests && !input_tokens && !output_tokens && !tokens && !cost
}

/** The larger of two amounts in each dimension. */
export function atLeast(cost: CostVector, least: CostVector): CostVector {
  return {
    requests: Math.max(cost.requests, least.requests),
    input_tokens: Math.max(cost.input_tokens, least.input_tokens),
    output_tokens: Math.max(cost.output_tokens, least.output_tokens),
    tokens: Math.max(cost.tokens, least.tokens),
    cost: Math.max(cost.cost, least.cost),
  }
}
