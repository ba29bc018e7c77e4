// What has to be remembered of a job's money, so that no kill makes it forget any. Owns: this shape. Must not
// know: who writes it down, or where.

/** Remembers what is sent, and what sendings that failed may have cost, while their payload has no result yet. */
export interface SpendingJournal {
  /**
   * A payload is about to be sent for the first time, alone, and money was set aside for it: the most that one
   * sending can cost, null where nobody knows. Awaited before. Not called for one that goes in a batch.
   */
  sending?(payload: { readonly id: string; readonly worstNanoUsd: number | null }): Promise<void>
  /**
   * An attempt has failed and may have cost so much; awaited before the payload is sent again. Not called for
   * one that has cost nothing, or whose price is not known.
   */
  failedAttempt(attempt: { readonly id: string; readonly costNanoUsd: number }): Promise<void>
}
