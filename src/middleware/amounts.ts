// How much a handler reserves or has used. Owns: what it may say, and what that means in tokens and
// money. Must not know: limits, budgets.
import { z } from 'zod'
import { type CostVector, costOf } from '../core/cost.ts'
import type { NanoUsd, TokenCounts } from '../ledger/ledger.ts'

/** What is used. Whatever is not named is not used. */
export interface Amounts {
  /** Input and output together. @default inputTokens + outputTokens */
  readonly tokens?: number
  readonly inputTokens?: number
  readonly outputTokens?: number
  /** In US dollars. @default the price of the tokens, where a model is named */
  readonly costUsd?: number
}

/** What a handler is about to use. */
export interface ReserveRequest extends Amounts {
  /** The model whose price the tokens have. Without it, and without `costUsd`, no money is reserved. */
  readonly model?: string
  /** Whose model it is. @default anthropic */
  readonly provider?: string
}

const tokens = z.int().min(0).optional()
const amounts = {
  tokens,
  inputTokens: tokens,
  outputTokens: tokens,
  costUsd: z.number().min(0).optional(),
}
const amountsSchema = z.strictObject(amounts)
const reserveSchema = z.strictObject({
  ...amounts,
  model: z.string().min(1).optional(),
  provider: z.string().min(1).optional(),
})

/** @throws TypeError with one line that says what is wrong. */
export function checkAmounts(asked: Amounts): void {
  check('settle', amountsSchema, asked)
}

/** @throws TypeError with one line that says what is wrong. */
export function checkReserve(asked: ReserveRequest): void {
  check('reserve', reserveSchema, asked)
}

function check(call: string, schema: z.ZodType, asked: unknown): void {
  const [issue] = schema.safeParse(asked).error?.issues ?? []
  if (issue) throw new TypeError(`${call}: ${issue.path.join('.') || 'argument'}: ${issue.message}`)
}

/** What is taken of limits. The request itself was counted when it came. */
export function costVectorOf({ tokens: all, inputTokens, outputTokens }: Amounts): CostVector {
  return costOf({
    requests: 0,
    ...(inputTokens !== undefined && { input_tokens: inputTokens }),
    ...(outputTokens !== undefined && { output_tokens: outputTokens }),
    ...(all !== undefined && { tokens: all }),
  })
}

/** Tokens as they are priced: those whose kind was not said cost as much as the dearest, output. */
export function tokenCountsOf(asked: Amounts): TokenCounts {
  const { inputTokens = 0, outputTokens = 0 } = asked
  const unsaid = Math.max(0, (asked.tokens ?? 0) - inputTokens - outputTokens)
  return {
    inputTokens,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: outputTokens + unsaid,
  }
}

export const namesTokens = ({ tokens: all, inputTokens, outputTokens }: Amounts): boolean =>
  all !== undefined || inputTokens !== undefined || outputTokens !== undefined

export const nanoUsdOf = (costUsd: number): NanoUsd => Math.round(costUsd * 1e9)
