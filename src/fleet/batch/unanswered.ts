// The payloads of a batch that have no result yet. Owns: that each gets one, and whether a name is of this batch.
// Must not know: what results say.
import { type Place, requestName } from './draft.ts'

export class Unanswered {
  readonly #batchName: string
  /** By the names that they have in the batch. */
  readonly #places: Map<string, Place>

  constructor(batchName: string, payloads: readonly Place[]) {
    this.#batchName = batchName
    this.#places = new Map(payloads.map((place) => [requestName(batchName, place), place]))
  }

  get size(): number {
    return this.#places.size
  }

  /** Whether a request with this name is in the batch, answered or not. */
  isOfBatch(name: string): boolean {
    return name.startsWith(`${this.#batchName}-`)
  }

  /** Null where there is none of that name, or where it was taken. */
  take(name: string): Place | null {
    const place = this.#places.get(name) ?? null
    this.#places.delete(name)
    return place
  }

  *takeAll(): Generator<Place> {
    for (const [name, place] of this.#places) {
      this.#places.delete(name)
      yield place
    }
  }
}
