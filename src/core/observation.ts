// What a provider says of its own limits, in the gate's words. Must not know: any provider.

import type { EpochMs } from './clock.ts'
import type { Dimension } from './cost.ts'

/** One limit as one response states it. */
export interface ObservedLimit {
  readonly dimension: Exclude<Dimension, 'concurrency' | 'cost'>
  readonly amount: number
  readonly remaining: number
  /**
   * Half the step to which `remaining` is rounded: the true value is within `remaining ± roundedBy`.
   */
  readonly roundedBy: number
  /** Milliseconds from the provider's statement until the limit is full again; null when not said. */
  readonly fullInMs: number | null
  /** How far `fullInMs` may be off, because its parts are given in whole seconds. */
  readonly fullInErrorMs: number
}

/** All that one response says of a resource's limits. */
export interface Observation {
  readonly limits: readonly ObservedLimit[]
  /** When the request that was answered left this process: the statement is not older. */
  readonly sentAt: EpochMs
}
