// Operations on one resource that are under way. Owns: waiting until there are none, and giving up on
// all of them at once. Must not know: what they do, or where they are carried out instead.

/** What became of an operation's answer. */
export interface Taken<R> {
  readonly value: R
}

export class Pending {
  readonly #abandons = new Set<() => void>()
  readonly #whenNone: (() => void)[] = []
  #count = 0
  #started = 0
  /** Who has them all now. */
  #heir: Pending | null = null

  get count(): number {
    return this.#count
  }

  /** How many have ever begun: the same number twice means that none did in between. */
  get started(): number {
    return this.#started
  }

  /**
   * Carries an operation out, and `take`s its answer at once, before anyone can find that nothing is
   * under way. Null when it was abandoned before the answer came, which then is nobody's any more.
   */
  follow<T, R>(operate: () => Promise<T>, take: (answer: T) => R): Promise<Taken<R> | null> {
    const { promise, resolve, reject } = Promise.withResolvers<Taken<R> | null>()
    const abandon = (): void => resolve(null)
    this.#count++
    this.#started++
    this.#abandons.add(abandon)
    void operate()
      .then((answer) => {
        if (this.#present.#abandons.has(abandon)) resolve({ value: take(answer) })
      })
      .catch(reject)
      .finally(() => this.#present.#end(abandon))
    return promise
  }

  /** Nobody waits for those under way any more. They still count until they are answered. */
  abandon(): void {
    const abandons = [...this.#abandons]
    this.#abandons.clear()
    for (const abandon of abandons) abandon()
  }

  /** Resolves when nothing is under way. */
  none(): Promise<void> {
    const present = this.#present
    if (present.#count === 0) return Promise.resolve()
    return new Promise((resolve) => present.#whenNone.push(resolve))
  }

  /** Takes over all that are under way for another resource, which is this one from now on. */
  adopt(other: Pending): void {
    for (const abandon of other.#abandons) this.#abandons.add(abandon)
    this.#whenNone.push(...other.#whenNone.splice(0))
    this.#count += other.#count
    this.#started += other.#started
    other.#heir = this
    this.#tellNone()
  }

  get #present(): Pending {
    return this.#heir ? this.#heir.#present : this
  }

  #end(abandon: () => void): void {
    this.#abandons.delete(abandon)
    this.#count--
    this.#tellNone()
  }

  #tellNone(): void {
    if (this.#count > 0) return
    for (const resolve of this.#whenNone.splice(0)) resolve()
  }
}
