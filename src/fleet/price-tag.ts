// What payloads cost: at most, before they are sent, and in the end. Owns: a bound that holds whatever the
// tokenizer does. Must not know: budgets, or who pays.
import type { EpochMs } from '../core/clock.ts'
import type { PromptShape } from '../core/prompt.ts'
import { fallbacksOf, routeOf } from '../dispatch/call-policy.ts'
import type { CallRules } from '../dispatch/call-rules.ts'
import { costOf, type ModelPrice, type PricedTokens, type Prices } from '../ledger/prices.ts'
import type { MessageRequest } from './message-request.ts'
import type { Outcome } from './outcome.ts'
import type { Task } from './task.ts'

/** Images, documents and hidden prompts are known by rules of the provider, which round. */
const FIXED_AT_WORST = 2
const FIVE_MINUTES_MS = 300_000

/** What is known of a payload's price before it is sent. */
export interface PriceTag {
  /** The group of models that it shares limits with. */
  readonly limitGroup: string
  /** The most that one sending can cost, in nano-dollars. Null where any price is not known. */
  readonly worstNanoUsd: number | null
  /** The same in a batch. */
  readonly worstInBatchNanoUsd: number | null
  /** Whether it costs no more than that for sure: tools that the provider runs itself may find any amount to read. */
  readonly isBounded: boolean
  /** Of the usual price. */
  readonly pricePercent: number
}

/**
 * No token is shorter than a byte, and no answer longer than what is allowed. Where a tier or a fallback may put
 * another model in its place, the dearest counts.
 */
export function priceTag(request: MessageRequest, rules: CallRules, now: EpochMs): PriceTag {
  const { provider, operation, headers } = request
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
  const description = provider.describe(operation, headers, body)
  const { model, prompt, limitGroup, pricePercent } = description
  const subject = rules.subjects.of(request.identity)
  const asked = model === null ? null : (routeOf(subject, model) ?? model)
  const models = asked === null ? [] : [asked, ...fallbacksOf(rules.fallbacks, subject, asked)]
  const prices = models.map((name) => rules.prices.priceOf(provider.name, name, now))
  const used = { ...usageAtWorst(prompt, body.length), pricePercent }
  return {
    limitGroup,
    worstNanoUsd: dearest(prices, used, { isBatch: false }),
    worstInBatchNanoUsd: dearest(prices, used, { isBatch: true }),
    isBounded: provider.readsOnlyRequest(body),
    pricePercent,
  }
}

/** Null where there is no price, or any is not known. */
function dearest(
  prices: readonly (ModelPrice | null)[],
  used: PricedTokens,
  terms: { readonly isBatch: boolean },
): number | null {
  const costs = prices.map((price) => price && costOf(price, used, terms))
  return costs.reduce<number | null>(
    (most, cost) => (most === null || cost === null ? null : Math.max(most, cost)),
    costs.length === 0 ? null : 0,
  )
}

/** What a sending has cost, in nano-dollars: at most, where nobody tells. Null where the price is not known. */
export function costOfOutcome(
  task: Task,
  outcome: Outcome,
  prices: Prices,
  now: EpochMs,
): number | null {
  if (outcome.kind === 'failure') return outcome.mayHaveCost ? task.worstNanoUsd : 0
  if (!outcome.usage) return task.worstNanoUsd
  const { provider } = task.request
  const price = prices.priceOf(provider.name, outcome.model ?? task.model, now)
  // Where an answer does not say at which price, it is that of what was asked for.
  const { pricePercent = task.pricePercent } = outcome.usage
  return price && costOf(price, { ...outcome.usage, pricePercent })
}

/** @param bytes of the whole request: what is to shape the answer is read by the model as well */
function usageAtWorst(prompt: PromptShape, bytes: number): PricedTokens {
  const { mediaBytes, fixedTokens, unseenTokens, prefixes, maxOutputTokens } = prompt
  const input = bytes - mediaBytes + Math.ceil(fixedTokens * FIXED_AT_WORST) + unseenTokens
  const isCached = prefixes.length > 0
  const isHour = prefixes.some(({ cacheForMs }) => cacheForMs > FIVE_MINUTES_MS)
  return {
    inputTokens: isCached ? 0 : input,
    cacheReadTokens: 0,
    cacheWriteTokens: isCached ? input : 0,
    cacheWriteHourTokens: isHour ? input : 0,
    outputTokens: maxOutputTokens ?? 0,
  }
}
