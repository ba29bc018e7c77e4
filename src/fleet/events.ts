// What a fleet tells of its work while it goes on. Owns: the list. Must not know: who listens.
import type { BatchEvent } from './batch/batch-record.ts'
import type { Failed } from './payload.ts'

export type FleetEvent =
  /** How many payloads may be under way at once from now on, and the arithmetic behind it. */
  | { readonly kind: 'in_flight'; readonly chosen: number; readonly because: string }
  /** A sending of a payload has failed. */
  | {
      readonly kind: 'attempt_failed'
      readonly id: string
      readonly error: Failed['error']
      /** Of what has failed now, in nano-dollars; null where nobody knows. */
      readonly costNanoUsd: number | null
      /** When it is sent again, in milliseconds since the epoch; null: never. */
      readonly retryAt: number | null
    }
  /** Nothing new is sent for a while. */
  | {
      readonly kind: 'held'
      /** `money`: what is under way may cost all that is left. `retries`: this minute's are used up. */
      readonly by: 'money' | 'pace' | 'retries'
      /** In milliseconds since the epoch; null where only an answer can tell. */
      readonly until: number | null
    }
  | BatchEvent
  /** Store or ledger are in trouble, or well again: a sentence. */
  | { readonly kind: 'warned'; readonly sentence: string }
