// Results on their way to whoever reads them. Owns: their order. Must not know: what they say.
import type { FleetResult } from './payload.ts'

type Indexed = Extract<FleetResult, { index: number }>

export class Results {
  readonly #isSubmissionOrder: boolean
  readonly #ready: Indexed[] = []
  /** Those that others go before, by their index. */
  readonly #early = new Map<number, Indexed>()
  #nextIndex = 0

  constructor(order: 'completion' | 'submission') {
    this.#isSubmissionOrder = order === 'submission'
  }

  /** How many nobody has read yet. */
  get size(): number {
    return this.#ready.length + this.#early.size
  }

  get hasNext(): boolean {
    return this.#ready.length > 0
  }

  add(result: Indexed): void {
    if (!this.#isSubmissionOrder) {
      this.#ready.push(result)
      return
    }
    this.#early.set(result.index, result)
    for (
      let next = this.#early.get(this.#nextIndex);
      next;
      next = this.#early.get(++this.#nextIndex)
    ) {
      this.#early.delete(next.index)
      this.#ready.push(next)
    }
  }

  next(): Indexed | null {
    return this.#ready.shift() ?? null
  }

  /** Those that were not sent have no result: nobody waits for them any more. */
  closeRanks(): void {
    const rest = [...this.#early.values()].sort((one, other) => one.index - other.index)
    this.#early.clear()
    this.#ready.push(...rest)
  }
}
