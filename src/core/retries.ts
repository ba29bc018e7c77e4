// Tickets that stand aside after overload. Owns: when each may try again, and the budget for that,
// which all callers share. Must not know: the line that they come back to, or why they left it.
import type { EpochMs } from './clock.ts'
import { Heap } from './heap.ts'
import type { Ticket } from './line.ts'
import { TokenBucket } from './meters/token-bucket.ts'

/** Retries after overload, shared by all callers: so many at once, so many a minute, and one for each success. */
const RETRY_BURST = 10
const RETRIES_PER_MINUTE = 20

const byRetry = (a: Ticket, b: Ticket): number => a.retryAt - b.retryAt || a.order - b.order

export class Retries {
  readonly #tickets = new Heap<Ticket>(byRetry)
  readonly #budget: TokenBucket

  constructor(now: EpochMs) {
    this.#budget = new TokenBucket(
      {
        algorithm: 'token_bucket',
        dimension: 'requests',
        amount: RETRIES_PER_MINUTE,
        windowMs: 60_000,
        burst: RETRY_BURST,
        source: 'configured',
      },
      now,
    )
  }

  /** Puts a ticket aside until its `retryAt`. */
  add(ticket: Ticket): void {
    this.#tickets.push(ticket)
  }

  remove(ticket: Ticket): void {
    this.#tickets.remove(ticket)
  }

  /** Takes out, and off the budget, the next whose back-off is over; null while there is none. */
  takeReady(now: EpochMs): Ticket | null {
    const ticket = this.#tickets.peek()
    if (!ticket || ticket.retryAt > now || this.#budget.readyAt(1, now) > now) return null
    this.#tickets.remove(ticket)
    this.#budget.take(1, now)
    return ticket
  }

  /** When the next one comes back; Infinity when nobody is aside. */
  nextAt(now: EpochMs): EpochMs {
    const ticket = this.#tickets.peek()
    if (!ticket) return Number.POSITIVE_INFINITY
    return Math.max(ticket.retryAt, this.#budget.readyAt(1, now))
  }

  /** A provider that answers bears one more retry. */
  succeeded(now: EpochMs): void {
    this.#budget.correct(-1, now, now)
  }

  /** Whether the whole budget is there. */
  isUnspent(now: EpochMs): boolean {
    return this.#budget.remaining(now) >= RETRY_BURST
  }
}
