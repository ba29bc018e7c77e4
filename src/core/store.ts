// Where gates live. Owns: the contract between those who ask for turns and the store that keeps the
// line, in one process or across many. Must not know: any store.

import type {
  Bounce,
  GateSettings,
  GateSnapshot,
  LimitRefusal,
  Placement,
  Prediction,
} from './admission.ts'
import type { EpochMs } from './clock.ts'
import type { CostVector } from './cost.ts'
import type { Observation } from './observation.ts'
import type { OwnTicket, Place, TicketRequest, TicketView } from './ticket.ts'

/** Gives a resource its settings, when a store meets its name for the first time. */
export type SettingsOf = (resource: string) => GateSettings

/** A ticket that waited and was admitted. */
export interface Grant {
  readonly resource: string
  readonly id: string
  /** When it was admitted: the news may come late. */
  readonly grantedAt: EpochMs
}

export interface ResourceSnapshot extends GateSnapshot {
  readonly name: string
}

/**
 * Whose ticket an operation may touch: `own`, only one that the store would still tell this process of, since
 * no other has asked for it; `any`, whoever's it is by now. A ticket that lasts as long as its process is own.
 */
export type Whose = 'own' | 'any'

/** The shared state cannot be had now, so nothing is known of what an operation has done. */
export class StoreUnreachable extends Error {
  override readonly name = 'StoreUnreachable'
}

/** Each operation is atomic for its resource, and leaves nobody waiting who may pass. */
export interface Store {
  readonly kind: string
  /** Whether it decides on its own for want of the shared state. */
  readonly isDegraded: boolean
  /** Is told of each ticket that was admitted after `enqueue` had answered `waiting`. Set once. */
  onGrant(listener: (grant: Grant) => void): void
  /**
   * Is told of each ticket of this process with a holder of its own that another process has asked for
   * since, or has ended. Set once.
   */
  onLost(listener: (loss: { readonly id: string }) => void): void
  enqueue(request: TicketRequest): Promise<Placement>
  /** The place that the ticket had, or null when it was not waiting (any more). */
  cancel(resource: string, id: string): Promise<Place | null>
  /** Takes a ticket out, whether it waits or is a lease, for nothing. False when it is not here, or left alone. */
  leave(resource: string, id: string, whose: Whose): Promise<boolean>
  /** Brings a parked ticket back in line with a fresh estimate. False when it is not parked. */
  unpark(resource: string, id: string, estimate: CostVector): Promise<boolean>
  /** Raises a waiting ticket one lane. False when it is not in line, or in the highest lane. */
  raise(resource: string, id: string): Promise<boolean>
  /** Ends a lease with its actual cost. False when it had ended before: that is no error. */
  settle(resource: string, id: string, actual: CostVector, exact: boolean): Promise<boolean>
  /** Ends a lease that cost nothing. */
  release(resource: string, id: string): Promise<boolean>
  /** Follows a lease as its answer comes; see `Gate.revise`. */
  revise(
    resource: string,
    id: string,
    estimate: CostVector,
    produced: number | null,
  ): Promise<boolean>
  /** The provider refused a lease: its ticket waits again, at the front of its flow. */
  bounce(resource: string, id: string, bounce: Bounce): Promise<boolean>
  /** The provider began to answer; with the time that took, where it says something of load. */
  answered(resource: string, firstAnswerMs: number | null): Promise<void>
  observe(resource: string, observation: Observation): Promise<void>
  /** The provider refused a request that will not wait here: the others do. */
  refused(resource: string, refusal: LimitRefusal): Promise<void>
  pause(resource: string, until: EpochMs): Promise<void>
  /** Two resources turned out to be the same: all of the one is the other's from now on. */
  merge(from: string, into: string): Promise<void>
  /** A sign of life. False when the holder has no tickets here (any more). */
  renew(resource: string, holder: string, ttlMs: number): Promise<boolean>
  /**
   * Brings tickets to a gate that may not know them: it began anew, or took their holder for dead.
   * No bound or deadline applies. A lease that the present life of the gate has counted takes its
   * slot and nothing else; others take all that they cost.
   *
   * @param spent what ended leases took that no gate has counted.
   * @returns the ids that are leases now, whatever their owner thought.
   */
  rejoin(
    resource: string,
    tickets: readonly OwnTicket[],
    spent: CostVector,
  ): Promise<readonly string[]>
  position(resource: string, id: string): Promise<Prediction | null>
  snapshot(): Promise<readonly ResourceSnapshot[]>
  /** One resource; null when nothing is known of it: then nothing of its limits is used. */
  look(resource: string): Promise<ResourceSnapshot | null>
  /** One of those who are at a resource; null when it is not there (any more). */
  ticket(resource: string, id: string): Promise<TicketView | null>
  /** Who is at a resource, in order of arrival; no more than `most` of them. */
  tickets(resource: string, most: number): Promise<readonly TicketView[]>
  /** What `SettingsOf` says has changed: puts it in force, for those who wait too. */
  reconfigure(): void
  close(): Promise<void>
}
