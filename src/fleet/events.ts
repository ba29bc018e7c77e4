// What a fleet tells of its work while it goes on. Owns: the list, and what a listener that fails means. Must not
// know: who listens.
import type { BatchEvent } from './batch/batch-record.ts'
import type { Failed } from './payload.ts'

export type FleetEvent =
  /** How many payloads may be under way at once from now on, and the arithmetic behind it. */
  | {
      readonly kind: 'in_flight'
      /** The models that it is about, by the name of the limits they share; null: of all models together. */
      readonly group: string | null
      readonly chosen: number
      readonly because: string
    }
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
      /**
       * `money`: what is under way may cost all that is left. `provider`: it has refused a request, and said when
       * to come back. `retries`: this minute's are used up.
       */
      readonly by: 'money' | 'pace' | 'provider' | 'retries'
      /** The models that it is about, by the name of the limits they share; null: of all. */
      readonly group: string | null
      /** In milliseconds since the epoch; null where only an answer can tell. */
      readonly until: number | null
    }
  | BatchEvent
  /** Store or ledger are in trouble, or well again: a sentence. */
  | { readonly kind: 'warned'; readonly sentence: string }

/** Tells a listener. `failed` hears of one that throws, now or later: it is called in the midst of other work. */
export function tellTo(
  listener: (event: FleetEvent) => unknown,
  event: FleetEvent,
  failed: (error: unknown) => void,
): void {
  try {
    const told = listener(event)
    if (told instanceof Promise) told.catch(failed)
  } catch (error) {
    failed(error)
  }
}
