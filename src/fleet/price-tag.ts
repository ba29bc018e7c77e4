// What payloads cost: at most, before they are sent, and in the end. Owns: a bound that holds whatever the
// tokenizer does. Must not know: budgets, or who pays.
import type { EpochMs } from '../core/clock.ts'
import type { PromptShape, Usage } from '../core/prompt.ts'
import { fallbacksOf, routeOf } from '../dispatch/call-policy.ts'
import type { CallRules } from '../dispatch/call-rules.ts'
import { costOf, type Prices } from '../ledger/prices.ts'
import type { MessageRequest } from './message-request.ts'
import type { Outcome } from './outcome.ts'
import type { Task } from './task.ts'

/** Images, documents and hidden prompts are known by rules of the provider, which round. */
const FIXED_AT_WORST = 2
const FIVE_MINUTES_MS = 300_000

/**
 * The most that a request can cost, in nano-dollars: no token is shorter than a byte, and no answer longer
 * than what is allowed. Where a tier or a fallback may put another model in its place, the dearest counts.
 * In a batch it is that of a batch. Null where any price is not known.
 */
export function worstCost(
  request: MessageRequest,
  rules: CallRules,
  now: EpochMs,
  { isBatch = false }: { readonly isBatch?: boolean } = {},
): number | null {
  const { provider, operation, headers, body } = request
  const { model, prompt } = provider.describe(
    operation,
    headers,
    Buffer.isBuffer(body) ? body : null,
  )
  if (model === null) return null
  const subject = rules.subjects.of(request.identity)
  const asked = routeOf(subject, model) ?? model
  const models = [asked, ...fallbacksOf(rules.fallbacks, subject, asked)]
  const used = usageAtWorst(prompt)
  let worst = 0
  for (const name of models) {
    const price = rules.prices.priceOf(provider.name, name, now)
    if (!price) return null
    worst = Math.max(worst, costOf(price, used, { isBatch }))
  }
  return worst
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
  return price && costOf(price, outcome.usage)
}

function usageAtWorst({ textBytes, fixedTokens, unseenTokens, ...prompt }: PromptShape): Usage {
  const input = textBytes + Math.ceil(fixedTokens * FIXED_AT_WORST) + unseenTokens
  const isCached = prompt.prefixes.length > 0
  const isHour = prompt.prefixes.some(({ cacheForMs }) => cacheForMs > FIVE_MINUTES_MS)
  return {
    inputTokens: isCached ? 0 : input,
    cacheReadTokens: 0,
    cacheWriteTokens: isCached ? input : 0,
    cacheWriteHourTokens: isHour ? input : 0,
    outputTokens: prompt.maxOutputTokens ?? 0,
  }
}
