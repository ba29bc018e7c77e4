// The next batch while it fills. Owns: that a source which takes its time holds up nothing else. Must not know:
// what is done with a batch.
import type { Draft } from './draft.ts'

export class Filling {
  readonly #drafts: AsyncGenerator<Draft, void, undefined>
  #isFilling = false
  #filled: Draft | null = null
  #problem: { readonly why: unknown } | null = null
  isDrained = false
  /** Called when there is something to take, or nothing more comes. */
  onFilled: () => void = () => {}

  constructor(drafts: AsyncGenerator<Draft, void, undefined>) {
    this.#drafts = drafts
  }

  /** Goes on, where nothing is ready to be taken. */
  begin(): void {
    if (this.#isFilling || this.#filled || this.isDrained) return
    this.#isFilling = true
    this.#drafts
      .next()
      .then(
        ({ value, done }) => {
          if (done) this.isDrained = true
          else this.#filled = value
        },
        (why: unknown) => {
          this.#problem = { why }
        },
      )
      .finally(() => {
        this.#isFilling = false
        this.onFilled()
      })
  }

  /** Null where none is ready. @throws what the source throws */
  take(): Draft | null {
    if (this.#problem) throw this.#problem.why
    const draft = this.#filled
    this.#filled = null
    return draft
  }

  /** The source ends when it has given what it was asked for. What it throws then comes after what has ended all. */
  leave(): void {
    this.end().catch(() => {})
  }

  /**
   * Nothing more is wanted. Resolves when the source has ended, or at once where it is in the midst of giving
   * something: that may take its time, and holds up nobody who has to hear why it ends.
   */
  async end(): Promise<void> {
    const ended = this.#drafts.return(undefined)
    if (!this.#isFilling) await ended
    // What it throws so late is no news: all of it has ended already.
    else ended.catch(() => {})
  }
}
