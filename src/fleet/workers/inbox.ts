// What one side puts in and the other takes out, in order. Must not know: what it is. Whoever puts in sees to
// it that there is never much.
import { Changes } from '../changes.ts'

export class Inbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = []
  readonly #changes = new Changes()
  #isClosed = false
  #problem: { readonly why: unknown } | null = null

  put(item: T): void {
    this.#items.push(item)
    this.#changes.tell()
  }

  /** Nothing more comes. */
  close(): void {
    this.#isClosed = true
    this.#changes.tell()
  }

  /** Whoever takes out is told why nothing more comes. */
  fail(why: unknown): void {
    this.#problem ??= { why }
    this.#changes.tell()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      await this.#changes.until(
        () => this.#items.length > 0 || this.#isClosed || this.#problem !== null,
      )
      if (this.#problem) throw this.#problem.why
      const item = this.#items.shift()
      if (item === undefined) return
      yield item
    }
  }
}
