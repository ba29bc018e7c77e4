// Leases whose answers have not ended. Owns: how much of what they reserved a provider's statement
// cannot have counted. Must not know: statements, limits, the line.
import type { EpochMs } from './clock.ts'
import type { Dimension } from './cost.ts'
import { Departures } from './departures.ts'
import type { Uncounted } from './learnt-limit.ts'
import { Backlog, type Ticket } from './line.ts'

export class Underway {
  readonly #departures = new Departures()
  /** Sums of leases whose input no answer has confirmed. */
  readonly #unconfirmed = new Backlog()
  /** Output that is reserved and not generated yet: a provider that counts it live has not. */
  #outputToCome = 0

  depart(ticket: Ticket, now: EpochMs): void {
    this.#departures.record(ticket.estimate, now)
    this.add(ticket)
  }

  /** A lease was given back unsent, at the instant at which it was given. */
  undoDeparture(ticket: Ticket, now: EpochMs): void {
    const { requests, input_tokens, output_tokens, tokens, cost } = ticket.estimate
    this.#departures.record(
      {
        requests: -requests,
        input_tokens: -input_tokens,
        output_tokens: -output_tokens,
        tokens: -tokens,
        cost: -cost,
      },
      now,
    )
  }

  /** Counts what a lease has reserved and produced, as they are now. */
  add(ticket: Ticket): void {
    this.#count(ticket, 1)
  }

  /** To be called with the same figures as the last `add`: before they change, or at the end. */
  remove(ticket: Ticket): void {
    this.#count(ticket, -1)
  }

  uncounted(dimension: Exclude<Dimension, 'concurrency'>): Uncounted {
    if (dimension === 'output_tokens')
      return { since: () => this.#outputToCome, unconfirmed: this.#outputToCome }
    return {
      since: (at) => this.#departures.since(at, dimension),
      unconfirmed: this.#unconfirmed[dimension],
    }
  }

  #count(ticket: Ticket, sign: 1 | -1): void {
    const { estimate, produced } = ticket
    this.#outputToCome += sign * Math.max(0, estimate.output_tokens - (produced ?? 0))
    if (produced === null) this.#unconfirmed.addTicket(ticket, sign)
  }
}
