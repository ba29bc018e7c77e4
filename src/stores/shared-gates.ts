// What a store must offer for many processes to share its gates. Owns: that contract. Must not know:
// any such store, or what is done when it is out of reach (shared-store.ts).
import type { LimitSnapshot } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Store } from '../core/store.ts'

/** What one sign of life brings back. */
export interface Beat {
  /** False when the gate has no ticket of this process (any more). */
  readonly isKnown: boolean
  /** Tickets of this process that the gate has waiting, parked or retrying. */
  readonly waiting: number
  /** Leases of this process that the gate has. */
  readonly held: number
  /** Processes that share the store now, this one among them. */
  readonly instances: number
  readonly limits: readonly LimitSnapshot[]
}

/** A ticket that is not this process's any more: another one has asked for it since, or has ended it. */
export interface Loss {
  readonly id: string
  readonly lostAt: EpochMs
}

/**
 * Operations reject with `StoreUnreachable` when the shared state cannot be had; whether they took
 * effect is not known then. Tickets without a holder live as long as this process beats. A ticket with one
 * is told to the process that has asked for it last.
 */
export interface SharedGates extends Omit<Store, 'isDegraded'> {
  /** Names this process among those that share. */
  readonly instance: string
  /** Names the present life of a resource's gate: another one has lost what the last had counted. */
  lifeOf(resource: string): string | null
  /** A sign of life for all of this process's own tickets of a resource. */
  beat(resource: string): Promise<Beat>
  /** Which of these tickets the gate has, and tells this process of. */
  mine(resource: string, ids: readonly string[]): Promise<readonly string[]>
  /** The ids of this process's own tickets that the gate knows. */
  owned(resource: string): Promise<readonly string[]>
  /** Is told of each ticket with a holder of its own that is lost to others. Set once. */
  onLost(listener: (loss: Loss) => void): void
  /** Is told when the connection is lost, and when it is back: pushes in between are lost. Set once. */
  onReach(listener: (isReachable: boolean) => void): void
  /** Is told when it turns out that another process has merged two resources. Set once. */
  onMerge(listener: (from: string, into: string) => void): void
  /** Resolves when the shared state can be written. */
  probe(): Promise<void>
}
