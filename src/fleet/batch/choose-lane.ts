// Whether what is left of a job goes as batches or one by one. Owns: that decision. Must not know: how
// anything is sent.
import type { EpochMs } from '../../core/clock.ts'

/** Most batches end within an hour, says the provider. For who has not seen any end yet. */
export const BATCH_TYPICAL_MS = 3_600_000

/** Answers a second that the smallest quota of the provider brings at least: fifty a minute. */
export const LEAST_DIRECT_RATE = 50 / 60

export interface LaneQuestion {
  /** When all answers should be there; null: whenever. */
  readonly deadlineAt: EpochMs | null
  readonly now: EpochMs
  /** How long a batch takes as a rule. */
  readonly batchTypicalMs: number
  /** Answers in a second that sending one by one brings; 0 where nothing gets through. */
  readonly directRate: number
  /** Payloads that are still to be sent. */
  readonly queueLength: number
  /** Whether it is known that a batch costs less. */
  readonly priceKnown: boolean
}

export interface LaneChoice {
  readonly lane: 'batch' | 'direct'
  /**
   * `cheaper`: it also leaves time to send all one by one, should the batch disappoint. `only_way`: one by
   * one it would take longer than there is. `price_unknown`, `too_late`: a batch saves nothing that is known,
   * or may not end in time. `empty`: there is nothing to send.
   */
  readonly because: 'cheaper' | 'only_way' | 'price_unknown' | 'too_late' | 'empty'
}

export function chooseLane(question: LaneQuestion): LaneChoice {
  const { deadlineAt, now, batchTypicalMs, directRate, queueLength, priceKnown } = question
  if (queueLength === 0) return { lane: 'direct', because: 'empty' }
  if (!priceKnown) return { lane: 'direct', because: 'price_unknown' }
  const leftMs = deadlineAt === null ? Number.POSITIVE_INFINITY : deadlineAt - now
  const directMs = directRate > 0 ? (queueLength / directRate) * 1000 : Number.POSITIVE_INFINITY
  const fits = batchTypicalMs <= leftMs
  if (fits && directMs > leftMs) return { lane: 'batch', because: 'only_way' }
  if (batchTypicalMs + directMs <= leftMs) return { lane: 'batch', because: 'cheaper' }
  return { lane: 'direct', because: 'too_late' }
}
