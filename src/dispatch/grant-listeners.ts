// Who waits for which ticket's turn. Owns: telling them. Must not know: what a ticket is for.
import type { Grant, Store } from '../core/store.ts'

export class GrantListeners {
  readonly #listeners = new Map<string, () => void>()

  /** @param follow watches over what is done with grants that nobody waits for any more. */
  constructor(store: Store, follow: (operation: Promise<unknown>) => void) {
    store.onGrant(({ resource, id }: Grant) => {
      const tell = this.#listeners.get(id)
      if (tell) tell()
      // Its caller left while the grant was on its way. It may be another process's by now.
      else follow(store.leave(resource, id, 'own'))
    })
  }

  /** Tickets whose turn somebody waits for. */
  get size(): number {
    return this.#listeners.size
  }

  /** Tells of a ticket's turn, each time that it comes, until `forget`. */
  expect(id: string, tell: () => void): void {
    this.#listeners.set(id, tell)
  }

  forget(id: string): void {
    this.#listeners.delete(id)
  }
}
