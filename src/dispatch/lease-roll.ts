// The asks and leases that a process knows of. Owns: finding them, counting each caller's, and what is
// remembered of those that ended. Must not know: what becomes of any.
import type { LeaseAsk } from './lease-ask.ts'
import type { Ending } from './lease-refusals.ts'

/** Those that ended last: who asks once more how, is told. */
const MOST_ENDED = 10_000

export class LeaseRoll {
  readonly #asks = new Map<string, LeaseAsk>()
  readonly #byCaller = new Map<string, number>()
  /** In order of their ends. */
  readonly #endings = new Map<string, Ending>()

  get size(): number {
    return this.#asks.size
  }

  [Symbol.iterator](): Iterator<LeaseAsk> {
    return this.#asks.values()
  }

  find(id: string): LeaseAsk | null {
    return this.#asks.get(id) ?? null
  }

  /** What a caller has waiting and held. */
  countOf(caller: string): number {
    return this.#byCaller.get(caller) ?? 0
  }

  add(ask: LeaseAsk): void {
    const { caller } = ask.facts
    this.#asks.set(ask.id, ask)
    this.#byCaller.set(caller, this.countOf(caller) + 1)
    this.#endings.delete(ask.id)
  }

  remove(ask: LeaseAsk): void {
    if (this.#asks.get(ask.id) !== ask) return
    const { caller } = ask.facts
    const count = this.countOf(caller) - 1
    this.#asks.delete(ask.id)
    if (count > 0) this.#byCaller.set(caller, count)
    else this.#byCaller.delete(caller)
  }

  endingOf(id: string): Ending | null {
    return this.#endings.get(id) ?? null
  }

  noteEnding(id: string, ending: Ending): void {
    this.#endings.delete(id)
    this.#endings.set(id, ending)
    if (this.#endings.size <= MOST_ENDED) return
    const oldest = this.#endings.keys().next()
    if (!oldest.done) this.#endings.delete(oldest.value)
  }
}
