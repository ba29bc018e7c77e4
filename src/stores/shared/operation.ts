// What all operations on tickets have in common. Owns: what one is, and what it needs of the store.
// Must not know: which there are.
import type { Clock } from '../../core/clock.ts'
import { type Store, StoreUnreachable } from '../../core/store.ts'
import type { SharedGates } from '../shared-gates.ts'
import type { Book } from './book.ts'
import type { Grants } from './grants.ts'
import type { Side } from './side.ts'

export interface Operators {
  readonly clock: Clock
  /** For how long the shared gates believe that a silent process lives. */
  readonly lifeMs: number
  readonly shared: SharedGates
  readonly book: Book
  readonly grants: Grants
  /** Takes a ticket out of the shared gate that nobody here wants, unless it is another process's by now. */
  readonly leaveThere: (resource: string, id: string) => void
  /** The shared gate does not know what it should. */
  readonly suspect: (side: Side) => void
}

/** The two ways of one operation. */
export interface Operation<T, R> {
  there(side: Side): Promise<T>
  /** What the shared gate's answer means. Not called when the side has gone local before it came. */
  take(answer: T, side: Side): R
  here(local: Store, side: Side): Promise<R>
}

/** Undoes what was noted for an operation that the shared gate has refused to do. */
export async function whereFailed<T>(operation: Promise<T>, undo: () => void): Promise<T> {
  try {
    return await operation
  } catch (error) {
    if (!(error instanceof StoreUnreachable)) undo()
    throw error
  }
}
