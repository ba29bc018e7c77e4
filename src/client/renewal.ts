// Keeping a lease alive while its holder works. Owns: when it is renewed, and when it is lost. Must not
// know: how it ends otherwise.
import { pause } from './clock.ts'
import type { ClientContext } from './context.ts'
import { type Granted, readRenewed } from './documents.ts'
import { errorOf, type HeadgateError, LeaseLost } from './errors.ts'
import { pauseMs } from './patience.ts'
import { Lost, understood } from './wire.ts'

/** A third of its time: two renewals may fail before it is lost. */
const RENEWALS_PER_TTL = 3

export class Renewal {
  readonly #context: ClientContext
  readonly #path: string
  readonly #onLost: (error: LeaseLost) => void
  #ttlMs: number
  /** By the client's clock: at first later than by the gate's by as long as the news took. */
  #heldUntil: number
  #round = new AbortController()

  constructor(context: ClientContext, granted: Granted, onLost: (error: LeaseLost) => void) {
    this.#context = context
    this.#path = `leases/${encodeURIComponent(granted.id)}/renew`
    this.#onLost = onLost
    this.#ttlMs = granted.ttlMs
    this.#heldUntil = context.clock.now() + granted.ttlMs
  }

  /** Renews when a part of the time has passed. */
  start(): void {
    void this.#keep(this.#jittered(this.#ttlMs / RENEWALS_PER_TTL))
  }

  /** Renews at once: nobody knows how much of the time has passed. */
  startNow(): void {
    void this.#keep(0)
  }

  /** What is under way is not waited for. */
  stop(): void {
    this.#round.abort()
    this.#round = new AbortController()
  }

  async #keep(firstPauseMs: number): Promise<void> {
    const { clock } = this.#context
    const { signal } = this.#round
    let waitMs = firstPauseMs
    let failure: HeadgateError | Lost | null = null
    for (let failures = 0; ; ) {
      const wakeAt = Math.min(clock.now() + waitMs, this.#heldUntil)
      await pause(clock, wakeAt - clock.now(), { signal, inBackground: true })
      if (signal.aborted) return
      if (clock.now() >= this.#heldUntil) return this.#onLost(expired(failure))
      failure = await this.#renew()
      if (signal.aborted) return
      if (failure instanceof LeaseLost) return this.#onLost(failure)
      failures = failure ? failures + 1 : 0
      waitMs = failure
        ? pauseMs(failures, this.#context)
        : this.#jittered(this.#ttlMs / RENEWALS_PER_TTL)
    }
  }

  /** Null: it was renewed. */
  async #renew(): Promise<HeadgateError | Lost | null> {
    const { clock, timings, wire } = this.#context
    const sentAt = clock.now()
    const message = { method: 'POST', path: this.#path, body: { ttlMs: this.#ttlMs } } as const
    try {
      const withinMs = Math.min(timings.answerMs, this.#heldUntil - sentAt)
      const answer = await wire.exchange(message, withinMs)
      if (answer.kind === 'refused')
        return answer.problem.status === 404
          ? new LeaseLost(answer.problem.detail, answer.problem)
          : errorOf(answer.problem)
      this.#ttlMs = understood(() => readRenewed(answer.text)).ttlMs
      this.#heldUntil = sentAt + this.#ttlMs
      return null
    } catch (error) {
      if (error instanceof Lost) return error
      throw error
    }
  }

  /** Leases that were granted together are not renewed together. */
  #jittered(ms: number): number {
    return ms * (0.8 + this.#context.random() / 5)
  }
}

function expired(failure: HeadgateError | Lost | null): LeaseLost {
  const why = failure ? `: ${failure.message}` : ': its time passed before this program came to it'
  return new LeaseLost(`the lease could not be renewed${why}`, failure?.problem ?? null, failure)
}
