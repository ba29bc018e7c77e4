// What is to be done for the asks of a process, and when. Owns: one schedule for all of them, with signs of
// life for those that wait, and the ends of places and leases. Must not know: who asks, or how to find an ask.
import { Deadlines } from '../core/deadlines.ts'
import { type LeaseAsk, PLACE_TTL_MS } from './lease-ask.ts'
import type { LeaseContext } from './lease-turn.ts'

const RENEW_EVERY_MS = 10_000

export class LeaseWatch {
  readonly #context: LeaseContext
  readonly #schedule: Deadlines<LeaseAsk>

  constructor(context: LeaseContext) {
    this.#context = context
    this.#schedule = new Deadlines(context.clock, (ask) => this.#due(ask))
  }

  /** @param random - From 0 to 1: of many who come at once, not all show life at once. */
  begin(ask: LeaseAsk, random: number): void {
    this.#schedule.set(ask, this.#context.clock.now() + RENEW_EVERY_MS * (0.5 + 0.5 * random))
  }

  /** It has come to another state. */
  changed(ask: LeaseAsk): void {
    if (ask.state === 'held') this.#schedule.set(ask, ask.expiresAt)
    else if (ask.state === 'away') this.#schedule.set(ask, this.#context.clock.now() + PLACE_TTL_MS)
    else if (ask.state === 'over') this.#schedule.clear(ask)
  }

  stop(): void {
    this.#schedule.stop()
  }

  #due(ask: LeaseAsk): void {
    const { clock, follow } = this.#context
    if (ask.state === 'waiting') {
      this.#schedule.set(ask, clock.now() + RENEW_EVERY_MS)
      follow(ask.signOfLife())
    } else {
      ask.end(ask.state === 'held' ? 'expired' : null)
    }
  }
}
