// What a process is told of its shared store, for its log. Must not know: what is made of it.
import type { FailurePolicy } from './local-share.ts'

export interface SharedStoreEvents {
  /** The shared gates are out of reach. Told once, until they are back. */
  degraded(outage: {
    readonly policy: FailurePolicy
    readonly why: string
    /** Processes that shared them, as far as is known. */
    readonly instances: number
  }): void
  /** All are shared again: so many resources, with so many tickets of this process. */
  returned(outage: {
    readonly afterMs: number
    readonly resources: number
    readonly rejoined: number
  }): void
  /** What must not fail has failed. */
  tellFailed(error: unknown): void
}
