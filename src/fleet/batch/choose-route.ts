// Whether what is left of a job goes as batches or one by one. Owns: that decision. Must not know: how anything is
// sent.

/** Most batches end within an hour, says the provider. For who has not seen any end yet. */
export const BATCH_TYPICAL_MS = 3_600_000

export type Route = 'batch' | 'direct'

export interface RouteQuestion {
  /** Until all answers should be there. */
  readonly leftMs: number
  /** How long what is left takes one by one. */
  readonly directMs: number
}

/**
 * A batch is cheaper. So it is chosen where it is the quicker way as well, and fits; and where one by one is quicker,
 * if there is time for both, one after the other, should the batch disappoint.
 */
export function chooseRoute({ leftMs, directMs }: RouteQuestion): Route {
  const spareMs = directMs > BATCH_TYPICAL_MS ? 0 : directMs
  return leftMs >= BATCH_TYPICAL_MS + spareMs ? 'batch' : 'direct'
}
