// Payloads that were taken and could not be begun yet. Owns: that they are begun one after the other. Must not
// know: what they wait for.

interface Sized {
  readonly bytes: number
}

export interface WaitingPayloadsOptions<T> {
  /** Resolves when the next one may be begun. */
  readonly begin: (payload: T) => Promise<void>
  /** One has been begun, or none is wanted any more. */
  readonly onBegun: () => void
  readonly failed: (why: unknown) => void
}

export class WaitingPayloads<T extends Sized> {
  readonly #options: WaitingPayloadsOptions<T>
  readonly #payloads: T[] = []
  #bytes = 0
  #isBeginning = false

  constructor(options: WaitingPayloadsOptions<T>) {
    this.#options = options
  }

  /** The one that is being begun among them. */
  get size(): number {
    return this.#payloads.length
  }

  get bytes(): number {
    return this.#bytes
  }

  add(payload: T): void {
    this.#payloads.push(payload)
    this.#bytes += payload.bytes
    if (this.#isBeginning) return
    this.#isBeginning = true
    this.#beginAll()
      .catch((why: unknown) => {
        this.#clear()
        this.#options.failed(why)
      })
      .finally(() => this.#options.onBegun())
  }

  async #beginAll(): Promise<void> {
    for (let next = this.#payloads[0]; next; next = this.#payloads[0]) {
      await this.#options.begin(next)
      this.#payloads.shift()
      this.#bytes -= next.bytes
      this.#options.onBegun()
    }
    // At once: the next one may be added before anybody hears of the end.
    this.#isBeginning = false
  }

  #clear(): void {
    this.#isBeginning = false
    this.#payloads.length = 0
    this.#bytes = 0
  }
}
