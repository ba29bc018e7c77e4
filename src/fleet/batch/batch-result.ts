// What a line of a batch's results means for its payload. Owns: the result's shape, its price, whether trying
// again may help. Must not know: batches under way.
import { z } from 'zod'
import type { EpochMs } from '../../core/clock.ts'
import { NANO_PER_USD } from '../../core/money.ts'
import type { Usage } from '../../core/prompt.ts'
import { costOf, type Prices } from '../../ledger/prices.ts'
import { mergeUsage, totalUsage } from '../../providers/anthropic/reported-usage.ts'
import type { Answered, Failed, TokensUsed } from '../payload.ts'
import type { Place } from './draft.ts'

/** What has become of a payload that went into a batch. */
export type BatchResult = (Answered | Failed) & {
  readonly via: 'batch'
  /** Null where no batch came about. */
  readonly batchId: string | null
  /** As the payload's place has it. */
  readonly worstNanoUsd?: number
}

/** What has to be paid for it. */
export interface Charge {
  /** Null where nobody has said which one has answered. */
  readonly model: string | null
  readonly outcome: 'answered' | 'broken'
  /** When it was sent. */
  readonly at: EpochMs
  /** Null where nobody tells. */
  readonly used: Usage | null
  /** The most where it is not known, and null where that is not known either. */
  readonly costNanoUsd: number | null
}

export interface Settled {
  readonly result: BatchResult
  /** Null where the provider bills nothing. */
  readonly charge: Charge | null
}

/** Of the batch that a payload was in. */
export interface Sent {
  readonly batchId: string | null
  readonly sentAt: EpochMs
  readonly attempts: number
}

const problem = z.object({ type: z.string(), message: z.string() })

const resultSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('succeeded'),
    message: z.looseObject({ model: z.string(), usage: z.unknown() }),
  }),
  z.object({ type: z.literal('errored'), error: z.object({ error: problem }) }),
  z.object({ type: z.literal('canceled') }),
  z.object({ type: z.literal('expired') }),
])

const lineSchema = z.object({ custom_id: z.string(), result: resultSchema })

export type ResultLine = z.output<typeof lineSchema>

const PROVIDER = 'anthropic'

/** The provider's trouble: the same request may pass another time. */
const PASSING_TROUBLE = new Set([
  'api_error',
  'overloaded_error',
  'rate_limit_error',
  'timeout_error',
])

/** What a request that is sent alone would be answered with: it says whether the key is taken at all. */
const STATUS: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
}

/** Null where it is no result. */
export function readResultLine(line: string): ResultLine | null {
  try {
    return lineSchema.safeParse(JSON.parse(line)).data ?? null
  } catch {
    return null
  }
}

export function resultOf(
  { result }: ResultLine,
  place: Place,
  sent: Sent,
  { prices, now }: { readonly prices: Pick<Prices, 'priceOf'>; readonly now: EpochMs },
): Settled {
  switch (result.type) {
    case 'succeeded': {
      const { message } = result
      const { model } = message
      const { used, costNanoUsd } = billOf(message, place, prices, now)
      return {
        result: {
          kind: 'answered',
          ...outcomeOf(place, sent, now),
          tokens: used && tokensOf(used),
          ...dollarsOf(costNanoUsd),
          response: message,
        },
        charge: { model, outcome: 'answered', at: sent.sentAt, used, costNanoUsd },
      }
    }
    case 'errored': {
      const { type, message } = result.error.error
      const isRetryable = PASSING_TROUBLE.has(type)
      const status = STATUS[type] ?? null
      return unbilled({ status, type, message, isRetryable }, place, sent, now)
    }
    default:
      return unbilled(NOT_PROCESSED[result.type], place, sent, now)
  }
}

const NOT_PROCESSED: Readonly<Record<'canceled' | 'expired', Failed['error']>> = {
  canceled: {
    status: null,
    type: 'batch_canceled',
    message: 'The batch was cancelled before this request was processed.',
    isRetryable: true,
  },
  expired: {
    status: null,
    type: 'batch_expired',
    message: 'The batch expired before this request was processed.',
    isRetryable: true,
  },
}

/** A failure that costs nothing: the provider bills answers alone. */
export const unbilled = (
  error: Failed['error'],
  place: Place,
  sent: Sent,
  now: EpochMs,
): Settled => ({ result: failed(error, 0, { place, sent, now }), charge: null })

/** A failure of which nobody knows whether it was billed: the most counts, where that is known. */
export function lost(error: Failed['error'], place: Place, sent: Sent, now: EpochMs): Settled {
  const costNanoUsd = place.worstNanoUsd ?? null
  return {
    result: failed(error, costNanoUsd, { place, sent, now }),
    charge: { model: null, outcome: 'broken', at: sent.sentAt, used: null, costNanoUsd },
  }
}

interface End {
  readonly place: Place
  readonly sent: Sent
  readonly now: EpochMs
}

function failed(
  error: Failed['error'],
  costNanoUsd: number | null,
  { place, sent, now }: End,
): BatchResult {
  return {
    kind: 'failed',
    ...outcomeOf(place, sent, now),
    tokens: null,
    ...dollarsOf(costNanoUsd),
    error,
  }
}

const dollarsOf = (costNanoUsd: number | null) => ({
  costNanoUsd,
  costUsd: costNanoUsd === null ? null : costNanoUsd / NANO_PER_USD,
})

function outcomeOf(place: Place, { batchId, sentAt, attempts }: Sent, now: EpochMs) {
  const { id, index, worstNanoUsd } = place
  const worst = worstNanoUsd === undefined ? {} : { worstNanoUsd }
  return { id, index, latencyMs: now - sentAt, attempts, via: 'batch', batchId, ...worst } as const
}

/** Where an answer does not say what it has used, or its price is not known, it is the most. */
function billOf(
  { model, usage }: { readonly model: string; readonly usage?: unknown },
  { worstNanoUsd, pricePercent: asked = 100 }: Place,
  prices: Pick<Prices, 'priceOf'>,
  now: EpochMs,
): Pick<Charge, 'used' | 'costNanoUsd'> {
  const report = mergeUsage(null, usage)
  const most = worstNanoUsd ?? null
  if (!report) return { used: null, costNanoUsd: most }
  const used = totalUsage(report)
  const price = prices.priceOf(PROVIDER, model, now)
  if (!price) return { used, costNanoUsd: most }
  const { pricePercent = asked } = used
  return { used, costNanoUsd: costOf(price, { ...used, pricePercent }, { isBatch: true }) }
}

const tokensOf = (used: Usage): TokensUsed => ({
  input: used.inputTokens,
  cacheRead: used.cacheReadTokens,
  cacheWrite: used.cacheWriteTokens,
  output: used.outputTokens,
})

/** What is said of a batch says nothing of its requests: each may be sent alone, but not with a bad key. */
export const alone = (error: Failed['error']): Failed['error'] => ({
  ...error,
  isRetryable: error.status !== 401,
})

export const NOT_SUBMITTED: Failed['error'] = {
  status: null,
  type: 'batch_not_submitted',
  message: 'The batch that was to have this request did not come about: it was not sent.',
  isRetryable: true,
}

export const GONE: Failed['error'] = {
  status: 404,
  type: 'batch_gone',
  message: 'It knows no such batch: a key of the workspace in which it was made may find it.',
  isRetryable: true,
}

export const OVERDUE: Failed['error'] = {
  status: null,
  type: 'batch_overdue',
  message: 'The batch has not ended within two days, although it should have within one.',
  isRetryable: true,
}

export const NO_RESULT: Failed['error'] = {
  status: null,
  type: 'batch_without_result',
  message: 'The batch has ended without a result for this request.',
  isRetryable: true,
}
