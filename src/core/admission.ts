// What is said between a gate and those who ask it. Owns: the shapes of settings, answers, bounces
// and snapshots. Must not know: how anything is decided.
import type { EpochMs } from './clock.ts'
import type { CostVector, Dimension } from './cost.ts'
import type { Limit, LimitSource } from './limit.ts'
import type { Observation } from './observation.ts'

export interface GateSettings {
  /** Limits that the operator wrote. Learnt ones stand beside them; all must admit. */
  readonly limits: readonly Limit[]
  /**
   * What of each of these is used already when the gate begins, by index; no slots. For one that
   * goes on with a share of what another gate had.
   */
  readonly used?: readonly number[]
  /** Whether the provider's limits are to be learnt: starts slowly until its answers show them. */
  readonly learns: boolean
  /** How long a ticket waits in a lane before it rises to the next. */
  readonly agingMs: number
  /** Tickets that may wait at once; one more is refused. */
  readonly maxQueued: number
  /** Remaining tokens under which admissions slow down to half the refill, or stop. */
  readonly floors: { readonly soft: number; readonly hard: number }
}

/** What holds the head of the line back. */
export type Binding =
  | { readonly kind: 'limit'; readonly limit: Limit }
  | { readonly kind: 'paused' }
  | { readonly kind: 'ramp' }
  | { readonly kind: 'overload' }

/** How long a ticket will wait, as far as can be told. */
export interface Prediction {
  /** Tickets that are to be served before it. */
  readonly position: number
  /** When it will be admitted; Infinity where only an event can tell. */
  readonly expectedAt: EpochMs
  readonly boundBy: Binding | null
}

export type Refused = {
  readonly kind: 'refused'
  readonly reason: 'queue_full' | 'wait_too_long'
} & Prediction

export type Placement =
  | { readonly kind: 'admitted' }
  | ({ readonly kind: 'waiting' } & Prediction)
  | Refused

/** The provider's no for a limit's sake. */
export interface LimitRefusal {
  readonly retryAfterMs: number | null
  /** What the refusal itself says of the limits. */
  readonly observation: Observation
}

/** The provider's no to a lease, which goes back to the front of its flow. */
export type Bounce =
  | ({ readonly kind: 'rate_limited' } & LimitRefusal)
  | { readonly kind: 'overloaded'; readonly backoffMs: number }
  /** It could not be reached, or broke off: that says nothing of load. */
  | { readonly kind: 'disconnected'; readonly backoffMs: number }
  /** Not the provider's but the sender's: it would cost more by now than it was admitted for. */
  | { readonly kind: 'repriced'; readonly estimate: CostVector }

export interface LimitSnapshot {
  readonly dimension: Dimension
  readonly amount: number
  readonly windowMs: number | null
  readonly remaining: number
  readonly source: LimitSource
  /** Only of learnt limits: what is kept back, and what others take a minute. */
  readonly guard?: number
  readonly othersPerMinute?: number
}

export interface GateSnapshot {
  readonly inFlight: number
  readonly queued: number
  readonly nextAt: EpochMs | null
  readonly boundBy: Binding | null
  readonly pausedUntil: EpochMs | null
  readonly concurrencyLimit: number | null
  readonly oldestEnqueuedAt: EpochMs | null
  readonly limits: readonly LimitSnapshot[]
}
