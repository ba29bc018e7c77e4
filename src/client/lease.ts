// What a holder of a lease has in hand, whether a coordinator gave it or a gate in its own process.
// Owns: that contract. Must not know: either of them.

/** An amount per dimension. What is left out counts nothing, save `requests`, which counts 1. */
export interface Amounts {
  readonly requests?: number
  readonly input_tokens?: number
  readonly output_tokens?: number
  /** @default input_tokens + output_tokens */
  readonly tokens?: number
}

/** A number counts 1 request, and so much of every kind of token. */
export type Load = number | Amounts

export type Lane = 'critical' | 'high' | 'normal' | 'low'

export interface AcquireOptions {
  /** What the work is expected to use. @default one request and no tokens */
  readonly load?: Load
  /** @default normal */
  readonly lane?: Lane
  /** The unit of fairness: an agent, a user, a job. Flows of a lane share equally. */
  readonly flow?: string
  /** How long to wait at most, in milliseconds; 0: take it now or not at all. */
  readonly maxWaitMs?: number
  /** Leaves the line, and rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Is told where it stands in line: at once, and every few seconds. */
  readonly onProgress?: (progress: Progress) => void
}

export interface Progress {
  /** Tickets that are to be served before it. */
  readonly position: number
  /** Milliseconds from now; null where only the end of another lease can tell. */
  readonly expectedInMs: number | null
  /** What holds the line back, in words. */
  readonly boundBy: string | null
}

/**
 * The right to do a piece of work now. End it once: with `settle`, `release`, or by leaving the block of
 * `await using`, which settles it at what was asked for. What comes after the first end does nothing.
 */
export interface Lease extends AsyncDisposable {
  readonly id: string
  readonly resource: string
  /** Milliseconds since the epoch, by the gate's clock. */
  readonly grantedAt: number
  readonly waitedMs: number
  /** Aborted when the lease is lost: whoever works on then works outside the limits. */
  readonly signal: AbortSignal
  /**
   * The work is done, and used this much.
   *
   * @param actual - @default what was asked for
   * @throws Invalid when `actual` is no load: the lease is held on.
   */
  settle(actual?: Load): Promise<void>
  /** The work was not done: nothing was used. */
  release(): Promise<void>
}
