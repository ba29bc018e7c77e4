// Sums of usage events. Must not know: where events are kept.
import type { UsageTotal } from '../ledger.ts'
import type { LoggedEvent } from './event-log.ts'

const NO_USAGE: UsageTotal = {
  cost: 0,
  requests: 0,
  unpriced: 0,
  tokens: {
    inputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 0,
  },
}

/** @throws RangeError when the cost is too large to be exact. */
export function sumOf(totals: readonly UsageTotal[]): UsageTotal {
  return totals.reduce(add, NO_USAGE)
}

export function totalOf(events: readonly LoggedEvent[]): UsageTotal {
  return sumOf(
    events.map(({ event, endsRequest }) => ({
      cost: event.cost ?? 0,
      requests: Number(endsRequest),
      unpriced: Number(event.cost === null),
      tokens: event,
    })),
  )
}

function add(a: UsageTotal, b: UsageTotal): UsageTotal {
  const cost = a.cost + b.cost
  if (!Number.isSafeInteger(cost))
    throw new RangeError(`a total of ${cost} nano-dollars is too large to count exactly`)
  return {
    cost,
    requests: a.requests + b.requests,
    unpriced: a.unpriced + b.unpriced,
    tokens: {
      inputTokens: a.tokens.inputTokens + b.tokens.inputTokens,
      cacheReadTokens: a.tokens.cacheReadTokens + b.tokens.cacheReadTokens,
      cacheWriteTokens: a.tokens.cacheWriteTokens + b.tokens.cacheWriteTokens,
      cacheWriteHourTokens: a.tokens.cacheWriteHourTokens + b.tokens.cacheWriteHourTokens,
      outputTokens: a.tokens.outputTokens + b.tokens.outputTokens,
    },
  }
}
