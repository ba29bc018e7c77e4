// Tickets that were admitted. Owns: what they hold, of the limits and of their flows' turns, until
// they end or go back. Must not know: who waits, who may pass, whose tickets they are.
import type { EpochMs } from './clock.ts'
import { atLeast, type CostVector } from './cost.ts'
import type { FairQueue } from './fair-queue.ts'
import type { LimitStack } from './limit-stack.ts'
import type { Ticket } from './line.ts'
import type { Underway } from './underway.ts'

export class Leases {
  readonly #limits: LimitStack
  readonly #underway: Underway | null
  readonly #queue: FairQueue
  #held = 0

  /** @param underway what a statement can have counted; null where nothing is learnt. */
  constructor(limits: LimitStack, underway: Underway | null, queue: FairQueue) {
    this.#limits = limits
    this.#underway = underway
    this.#queue = queue
  }

  get held(): number {
    return this.#held
  }

  /** A ticket becomes a lease, of all that it is thought to cost. */
  grant(ticket: Ticket, now: EpochMs): void {
    ticket.state = 'held'
    ticket.grantedAt = now
    ticket.produced = null
    this.take(ticket, now)
  }

  /** Holds a lease that was granted elsewhere. */
  take(lease: Ticket, now: EpochMs): void {
    this.#held++
    this.#limits.take(lease.estimate, now)
    this.#underway?.depart(lease, now)
  }

  /** Takes back a lease that ended too early: all but its slot is counted, since it was granted. */
  takeBack(ticket: Ticket, grantedAt: EpochMs, now: EpochMs): void {
    ticket.state = 'held'
    ticket.grantedAt = grantedAt
    this.#held++
    this.#limits.takeSlot(now)
    this.#underway?.add(ticket)
  }

  /** Follows a lease: what it is now thought to cost, and what the provider has counted of that. */
  revise(lease: Ticket, estimate: CostVector, produced: number | null, now: EpochMs): void {
    this.#recharge(lease, estimate, now)
    this.#underway?.remove(lease)
    lease.estimate = estimate
    lease.produced = produced
    this.#underway?.add(lease)
  }

  /** @param exact whether the cost was reported: an estimate may charge more but refunds nothing. */
  settle(lease: Ticket, actual: CostVector, exact: boolean, now: EpochMs): void {
    this.#recharge(lease, exact ? actual : atLeast(actual, lease.estimate), now)
    this.end(lease, now)
  }

  /** Ends a lease that has cost what it holds. */
  end(lease: Ticket, now: EpochMs): void {
    this.giveUp(lease)
    this.#limits.freeSlot(lease.grantedAt, now)
    this.#queue.finish(lease)
  }

  /** Ends a lease that has cost nothing. */
  refund(lease: Ticket, now: EpochMs): void {
    this.giveUp(lease)
    this.#limits.giveBack(lease.estimate, lease.grantedAt, now)
    this.#queue.correct(lease, -lease.share)
    this.#queue.finish(lease)
  }

  /** Ends a lease that has not even been sent. */
  undo(lease: Ticket, now: EpochMs): void {
    this.refund(lease, now)
    this.#underway?.undoDeparture(lease, now)
  }

  /** Lets go of a lease with all that it holds, for another gate to hold. */
  giveUp(lease: Ticket): void {
    this.#held--
    this.#underway?.remove(lease)
  }

  /** Moves meters and the flow's turn from the estimate that they hold to another cost. */
  #recharge(lease: Ticket, cost: CostVector, now: EpochMs): void {
    this.#limits.correct(lease.estimate, cost, lease.grantedAt, now)
    const share = this.#limits.shareOf(cost)
    this.#queue.correct(lease, share - lease.share)
    lease.share = share
  }
}
