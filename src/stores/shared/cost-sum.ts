// Sums of cost vectors. Must not know: what is summed.
import type { CostVector } from '../../core/cost.ts'

export function plus(a: CostVector, b: CostVector): CostVector {
  return {
    requests: a.requests + b.requests,
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    tokens: a.tokens + b.tokens,
    cost: a.cost + b.cost,
  }
}

export function minus(a: CostVector, b: CostVector): CostVector {
  return {
    requests: a.requests - b.requests,
    input_tokens: a.input_tokens - b.input_tokens,
    output_tokens: a.output_tokens - b.output_tokens,
    tokens: a.tokens - b.tokens,
    cost: a.cost - b.cost,
  }
}
