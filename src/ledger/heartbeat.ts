// Signs of life of a ledger's holder. Owns: when they are given. Must not know: what is set aside.
import type { Clock, Timer } from '../core/clock.ts'
import type { LedgerBackend } from './backend.ts'
import { LedgerUnavailable } from './ledger.ts'
import type { LedgerEvents } from './ledger-events.ts'

type Told = Pick<LedgerEvents, 'recovered' | 'warned' | 'failed'>

const FIRST_TRIES = 5

export class Heartbeat {
  readonly #backend: Pick<LedgerBackend, 'beat'>
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #events: Told
  #timer: Timer | null = null
  #hasEnded = false

  constructor(backend: Pick<LedgerBackend, 'beat'>, clock: Clock, everyMs: number, events: Told) {
    this.#backend = backend
    this.#clock = clock
    this.#everyMs = everyMs
    this.#events = events
  }

  /** The first sign, and all after it. @throws LedgerUnavailable when the first cannot be given. */
  async start(): Promise<void> {
    await this.#firstBeat(FIRST_TRIES)
    this.#arm()
  }

  /** Where others write all the time, a newcomer may have to ask several times. */
  async #firstBeat(tries: number): Promise<void> {
    try {
      await this.#beat()
    } catch (error) {
      if (!(error instanceof LedgerUnavailable) || tries <= 1) throw error
      await this.#firstBeat(tries - 1)
    }
  }

  end(): void {
    this.#hasEnded = true
    this.#timer?.cancel()
  }

  #arm(): void {
    if (this.#hasEnded) return
    const at = this.#clock.now() + this.#everyMs
    this.#timer = this.#clock.schedule(at, () => void this.#beatAgain())
  }

  async #beatAgain(): Promise<void> {
    try {
      await this.#beat()
    } catch (error) {
      // That it cannot be written is told by whoever writes; two more signs may fail before one is missed.
      if (!(error instanceof LedgerUnavailable)) this.#events.failed(asError(error))
    }
    this.#arm()
  }

  async #beat(): Promise<void> {
    const { requests, cost, warnings } = await this.#backend.beat(Math.floor(this.#clock.now()))
    if (requests > 0) this.#events.recovered(requests, cost)
    if (warnings.length > 0) this.#events.warned(warnings)
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
