// Who has been let in, by whichever gate. Owns: that each is told once, by an answer or by a push.
// Must not know: how gates are reached, or why a resource is where it is.
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { Grant } from '../../core/store.ts'
import type { SharedGates } from '../shared-gates.ts'
import type { Book } from './book.ts'
import { minus, plus } from './cost-sum.ts'
import { NAMELESS_LIFE } from './rejoin.ts'
import type { Entry, Side } from './side.ts'

export interface GrantsOptions {
  readonly clock: Clock
  readonly book: Book
  readonly shared: SharedGates
  /** A shared gate has let in one that nobody knows any more. */
  readonly strangerThere: (resource: string, id: string) => void
  /** For how long the shared gates believe that a silent process lives. */
  readonly lifeMs: number
  /** The shared gate should be asked how a side's tickets stand. */
  readonly suspect: (side: Side) => void
}

export class Grants {
  tell: (grant: Grant) => void = () => {}
  readonly #options: GrantsOptions

  constructor(options: GrantsOptions) {
    this.#options = options
  }

  /** The shared gate has pushed a grant. */
  there(grant: Grant): void {
    const { book, strangerThere } = this.#options
    const entry = book.find(grant.id)
    const side = entry?.side ?? book.peek(grant.resource)
    if (side?.isSwitching) side.pushedThere.push(grant)
    // Whoever has gone local hears of it on return.
    else if (side?.isLocal) return
    else if (!entry) strangerThere(grant.resource, grant.id)
    else this.#heard(entry, grant.grantedAt)
  }

  /**
   * A push may come late: to a process that was stopped for a while, its own tickets may be dead by
   * then. What the gate has said since, or says when it is asked, is newer.
   */
  #heard(entry: Entry, grantedAt: EpochMs): void {
    const { clock, lifeMs, suspect } = this.#options
    const { side } = entry
    if (grantedAt < side.rejoinedFrom) return
    const goodUntil = Math.min(grantedAt, side.beatenAt) + lifeMs
    if (goodUntil > clock.now()) this.foundThere(entry, grantedAt)
    else suspect(side)
  }

  /** A local gate has. False when the ticket is not for it to let in any more. */
  here(id: string): boolean {
    const entry = this.#options.book.find(id)
    if (!entry) return false
    const { side } = entry
    if (side.isSwitching) side.pushedHere.push(id)
    else if (!side.isLocal) return false
    else if (isExpected(entry)) {
      this.noteHere(entry)
      this.#announce(entry)
    }
    return true
  }

  /** The shared gate has let in a ticket that was thought to wait. */
  foundThere(entry: Entry, grantedAt = this.#options.clock.now()): void {
    // Where its caller is leaving, the answer to that ends the lease.
    if (entry.isLeaving || !isExpected(entry)) return
    if (entry.isBouncing) this.undo(entry)
    this.note(entry, grantedAt)
    this.#announce(entry)
  }

  /** Delivers what was kept back while a side's tickets were on the move. */
  deliver(side: Side): void {
    const here = side.pushedHere.splice(0)
    const there = side.pushedThere.splice(0)
    if (side.isLocal) for (const id of here) this.here(id)
    else for (const grant of there) this.there(grant)
  }

  /** Writes down a grant of the shared gate. */
  note(entry: Entry, grantedAt = this.#options.clock.now()): void {
    const { shared } = this.#options
    const { side } = entry
    this.noteHere(entry)
    entry.grantedAt = grantedAt
    entry.countedIn = shared.lifeOf(side.name) ?? NAMELESS_LIFE
    side.taken = plus(side.taken, entry.estimate)
  }

  /** Writes down a grant of a local gate. */
  noteHere(entry: Entry): void {
    entry.grantedAt = this.#options.clock.now()
    entry.countedIn = null
    // The answer to its unparking may come later, or never.
    entry.parked = false
  }

  /** Writes down that a lease is none any more, and has cost nothing. */
  undo(entry: Entry): void {
    if (entry.grantedAt !== null) entry.side.taken = minus(entry.side.taken, entry.estimate)
    entry.grantedAt = null
    entry.countedIn = null
    entry.isBouncing = false
  }

  #announce(entry: Entry): void {
    entry.isBouncing = false
    // One that has not been answered yet is told so by its answer.
    const { request, side, grantedAt, isArriving } = entry
    if (isArriving || grantedAt === null) return
    this.tell({ resource: side.name, id: request.id, grantedAt })
  }
}

/** A lease that is on its way back into line may be let in again before that is confirmed. */
const isExpected = (entry: Entry): boolean => entry.grantedAt === null || entry.isBouncing
