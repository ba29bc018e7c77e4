// What a handler has set aside for its work: tokens, and money. Owns: that it ends once, on every path.
// Must not know: how it was admitted, HTTP.
import type { EpochMs } from '../core/clock.ts'
import { type Amounts, checkAmounts, costVectorOf, namesTokens } from './amounts.ts'
import type { Chargeable, LimiterContext, Timed } from './context.ts'
import type { ReservationMoney } from './reservation-money.ts'
import type { Turn } from './turn.ts'

/** How a handler ends what it has reserved. What comes after the first end is ignored. */
export interface Reservation {
  /**
   * Charges what was used: less gives back, more is owed. What `actual` does not name was used as
   * reserved. Resolves when the charge is written down.
   *
   * @throws TypeError when an amount is not one.
   */
  settle(actual?: Amounts): Promise<void>
  /** Nothing was used: all of it is given back. */
  release(): Promise<void>
}

/** A handler may be slow to say what it has used, when its caller has left before. */
const OPEN_AFTER_RESPONSE_MS = 10 * 60_000

export class OpenReservation implements Reservation, Timed, Chargeable {
  // Kept by the schedule of deadlines.
  dueAt: EpochMs = 0
  heapIndex = -1

  readonly #context: LimiterContext
  readonly #reserved: Amounts
  readonly #turn: Turn
  readonly #money: ReservationMoney | null
  readonly #onEnd: (used: Amounts) => void
  #isOver = false

  constructor(
    context: LimiterContext,
    reserved: Amounts,
    turn: Turn,
    money: ReservationMoney | null,
    onEnd: (reservation: OpenReservation, used: Amounts) => void,
  ) {
    this.#context = context
    this.#reserved = reserved
    this.#turn = turn
    this.#money = money
    this.#onEnd = (used) => onEnd(this, used)
    context.reservations.add(this)
  }

  async settle(actual: Amounts = {}): Promise<void> {
    checkAmounts(actual)
    await this.#settle({ ...this.#lacking(actual), ...actual }, true)
  }

  async release(): Promise<void> {
    if (!this.#end({})) return
    this.#turn.letGo()
    await this.#money?.release()
  }

  /** The response has ended: nobody waits for what its handler still has to say. */
  responseEnded(): void {
    const { clock, deadlines } = this.#context
    deadlines.set(this, clock.now() + OPEN_AFTER_RESPONSE_MS)
  }

  timeUp(): void {
    this.#context.follow(this.chargeAsReserved())
  }

  /** Nobody said what was used: an estimate never gives anything back. */
  async chargeAsReserved(): Promise<void> {
    await this.#settle(this.#reserved, false)
  }

  /** What was reserved of the kinds that were not named. */
  #lacking(actual: Amounts): Amounts {
    const { costUsd, ...tokens } = this.#reserved
    return {
      ...(!namesTokens(actual) && tokens),
      ...(costUsd !== undefined && { costUsd }),
    }
  }

  async #settle(used: Amounts, isExact: boolean): Promise<void> {
    if (!this.#end(used)) return
    this.#turn.settle(costVectorOf(used), isExact)
    await this.#money?.settle(used, isExact)
  }

  /** False when it had ended before. */
  #end(used: Amounts): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#context.deadlines.clear(this)
    this.#context.reservations.delete(this)
    this.#onEnd(used)
    return true
  }
}
