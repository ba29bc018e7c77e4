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

  /** Resolves when the source has ended. */
  async end(): Promise<void> {
    await this.#drafts.return(undefined)
  }
}
