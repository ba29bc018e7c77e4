// What the desk answers to those who ask it. Owns: the shapes. Must not know: how any comes about, or
// how it is written to a wire.
import type { Prediction } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { LeaseAsk, LeaseOutcome } from './lease-ask.ts'
import type { LeaseRefusal } from './lease-refusals.ts'
import type { LeaseView } from './lease-views.ts'

export interface Refused {
  readonly kind: 'refused'
  readonly refusal: LeaseRefusal
}

/** An ask that was not refused at once. Whoever opens it detaches from it when it goes. */
export type Opened =
  | Refused
  /** @property prediction - Null: nobody has looked. */
  | { readonly kind: 'waiting'; readonly ask: LeaseAsk; readonly prediction: Prediction | null }
  | { readonly kind: 'told'; readonly ask: LeaseAsk; readonly outcome: LeaseOutcome }

export type Renewed =
  | Refused
  | { readonly kind: 'renewed'; readonly expiresAt: EpochMs; readonly ttlMs: number }

export interface Listed {
  readonly kind: 'listed'
  readonly views: readonly LeaseView[]
}

export interface Found {
  readonly kind: 'found'
  readonly view: LeaseView
  /** Null: it does not wait. */
  readonly prediction: Prediction | null
}

export type Ended = Refused | { readonly kind: 'ended' }
