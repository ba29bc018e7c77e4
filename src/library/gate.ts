// A gate in its own program. Owns: the contract with that program. Must not know: what stands behind it.

import type { AcquireOptions, Lease } from '../client/lease.ts'
import type { ResourceSnapshot } from '../core/store.ts'

export interface GateAcquireOptions extends AcquireOptions {
  /** Who is charged: the limits of the user's tier are taken with the resource's. */
  readonly user?: string
}

export interface CloseOptions {
  /** How long what is under way may still take, in milliseconds. @default 10000 */
  readonly graceMs?: number
}

export interface Gate extends AsyncDisposable {
  /**
   * Waits for its turn. The lease lasts until it is ended: no time-out ends it while the process lives.
   *
   * @throws Refused when there is no room in time: `retryAfterMs` says when there may be.
   * @throws Invalid when it can never be granted: an unknown resource, an absurd load.
   * @throws Unreachable when a shared store cannot be reached and `on_store_failure` is `closed`.
   */
  acquire(resource: string, options?: GateAcquireOptions): Promise<Lease>
  /**
   * Works with a lease, which is settled when the work has ended, well or not: at what was asked for,
   * unless the work has ended it itself. Rejects as `acquire` does, or with what the work throws.
   */
  run<T>(
    resource: string,
    options: GateAcquireOptions,
    work: (lease: Lease) => T | PromiseLike<T>,
  ): Promise<T>
  /** The same without options, or for the only resource of the configuration. */
  run<T>(terms: string | GateAcquireOptions, work: (lease: Lease) => T | PromiseLike<T>): Promise<T>
  /** Who waits, and what is left of every limit that is in use. */
  snapshot(): Promise<readonly ResourceSnapshot[]>
  /**
   * Refuses all that wait and all that come, gives what is under way some time, and lets go of store and
   * ledger. What takes longer is ended: leases are settled at what was asked for and their signals aborted,
   * answers break off.
   */
  close(options?: CloseOptions): Promise<void>
}
