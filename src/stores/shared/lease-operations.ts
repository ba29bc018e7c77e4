// Operations on leases. Owns: what each is to the shared gate, to a local one, and to the book. Must
// not know: which of the gates is asked.
import type { Bounce } from '../../core/admission.ts'
import { atLeast, type CostVector, NOTHING } from '../../core/cost.ts'
import { type Operation, type Operators, whereFailed } from './operation.ts'
import type { Entry } from './side.ts'

export class LeaseOperations {
  readonly #operators: Operators

  constructor(operators: Operators) {
    this.#operators = operators
  }

  settle(id: string, actual: CostVector, exact: boolean): Operation<boolean, boolean> {
    const { book, shared } = this.#operators
    return {
      there: (side) => shared.settle(side.name, id, actual, exact),
      take: (wasLease) =>
        this.#ended(id, wasLease, (entry) => (exact ? actual : atLeast(actual, entry.estimate))),
      here: async (local, side) => {
        const wasLease = await local.settle(side.name, id, actual, exact)
        const entry = this.#lease(id)
        if (entry) {
          book.strike(entry)
          side.settledHere(entry, actual, exact)
        }
        return wasLease
      },
    }
  }

  release(id: string): Operation<boolean, boolean> {
    const { book, shared } = this.#operators
    return {
      there: (side) => shared.release(side.name, id),
      take: (wasLease) => this.#ended(id, wasLease, () => NOTHING),
      here: async (local, side) => {
        const wasLease = await local.release(side.name, id)
        const entry = this.#lease(id)
        if (entry) {
          book.strike(entry)
          side.outdate(entry)
        }
        return wasLease
      },
    }
  }

  revise(id: string, estimate: CostVector, produced: number | null): Operation<boolean, boolean> {
    const { shared } = this.#operators
    const revised = (wasLease: boolean): boolean => {
      const entry = this.#lease(id)
      if (!entry || !wasLease) return wasLease
      entry.side.correct(entry, estimate)
      entry.estimate = estimate
      return true
    }
    return {
      there: (side) => shared.revise(side.name, id, estimate, produced),
      take: revised,
      here: async (local, side) => revised(await local.revise(side.name, id, estimate, produced)),
    }
  }

  bounce(id: string, bounce: Bounce): Operation<boolean, boolean> {
    const { book, shared } = this.#operators
    let wasSent = false
    return {
      there: (side) => {
        wasSent = true
        const entry = this.#lease(id)
        if (entry) entry.isBouncing = true
        return whereFailed(shared.bounce(side.name, id, bounce), () => {
          if (entry) entry.isBouncing = false
        })
      },
      take: (wasLease) => this.#bounced(id, bounce, wasLease),
      here: async (local, side) => {
        const entry = this.#lease(id)
        // The shared gate had done it, and has let it in again already.
        if (wasSent && entry && !entry.isBouncing) return true
        if (entry) {
          entry.isBouncing = true
          if (entry.countedIn !== null) side.outdate(entry)
        }
        const wasLease = await local.bounce(side.name, id, bounce)
        if (entry && book.find(id) === entry) this.#backInLine(entry, bounce)
        return wasLease
      },
    }
  }

  #lease(id: string): Entry | null {
    const entry = this.#operators.book.find(id)
    return entry && entry.grantedAt !== null ? entry : null
  }

  #ended(id: string, wasLease: boolean, cost: (entry: Entry) => CostVector): boolean {
    const { book, suspect } = this.#operators
    const entry = this.#lease(id)
    if (!entry) return wasLease
    entry.side.correct(entry, cost(entry))
    book.strike(entry)
    if (!wasLease && entry.request.holder === null) suspect(entry.side)
    return wasLease
  }

  #bounced(id: string, bounce: Bounce, wasLease: boolean): boolean {
    const { book, suspect } = this.#operators
    const entry = this.#lease(id)
    if (!entry) return wasLease
    if (!wasLease && entry.request.holder !== null) {
      book.strike(entry)
      return false
    }
    this.#backInLine(entry, bounce)
    if (wasLease) return true
    // Its owner waits for it again: so it has to, wherever it was lost.
    entry.side.outdate(entry)
    suspect(entry.side)
    return true
  }

  /** Unless it has been let in again by now. */
  #backInLine(entry: Entry, bounce: Bounce): void {
    if (entry.isBouncing) this.#operators.grants.undo(entry)
    if (bounce.kind === 'repriced') entry.estimate = bounce.estimate
  }
}
