// Waiting until something is so. Must not know: what.

/** Conditions are looked at again whenever something is told. */
export class Changes {
  #next = Promise.withResolvers<void>()

  /** Something has changed: whoever waits looks again. */
  tell(): void {
    const { resolve } = this.#next
    this.#next = Promise.withResolvers()
    resolve()
  }

  /** For conditions that others may end too: look again behind it, before anything else happens. */
  next(): Promise<void> {
    return this.#next.promise
  }

  /** Resolves some time after it has become so. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await this.#next.promise
  }
}
