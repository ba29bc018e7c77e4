// Results on their way to whoever reads them. Owns: their order. Must not know: what they say.
import type { FleetResult } from './payload.ts'

type Indexed = Extract<FleetResult, { index: number }>

interface Unread {
  readonly result: Indexed
  readonly onRead: () => void
}

const NOBODY_MINDS = (): void => {}

export class Results {
  readonly #isSubmissionOrder: boolean
  readonly #ready: Unread[] = []
  /** Those that others go before, by their index. */
  readonly #early = new Map<number, Unread>()
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

  /** @param onRead called when it is taken to whoever reads */
  add(result: Indexed, onRead = NOBODY_MINDS): void {
    const unread = { result, onRead }
    if (!this.#isSubmissionOrder) {
      this.#ready.push(unread)
      return
    }
    this.#early.set(result.index, unread)
    for (
      let next = this.#early.get(this.#nextIndex);
      next;
      next = this.#early.get(++this.#nextIndex)
    ) {
      this.#early.delete(next.result.index)
      this.#ready.push(next)
    }
  }

  /** One that is of another run: it has no place among these. */
  addApart(result: Indexed): void {
    this.#ready.push({ result, onRead: NOBODY_MINDS })
  }

  next(): Indexed | null {
    const next = this.#ready.shift()
    next?.onRead()
    return next?.result ?? null
  }

  /** Those that were not sent have no result: nobody waits for them any more. */
  closeRanks(): void {
    const rest = [...this.#early.values()].sort(
      (one, other) => one.result.index - other.result.index,
    )
    this.#early.clear()
    this.#ready.push(...rest)
  }
}
