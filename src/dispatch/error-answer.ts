// A provider's error as it comes. Owns: keeping as much of it as is needed to know what it means.
import type { Headers } from '../providers/provider.ts'

/** As much of an error's body as is read before deciding what it means. */
const MOST_BYTES = 64 * 1024

export class ErrorAnswer {
  readonly status: number
  readonly headers: Headers
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(status: number, headers: Headers) {
    this.status = status
    this.headers = headers
  }

  /** Whether it is longer than what is read of one: it can only be passed on. */
  get isTooLong(): boolean {
    return this.#bytes > MOST_BYTES
  }

  read(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8')
  }

  /** Gives up what it holds. */
  takeChunks(): readonly Buffer[] {
    const chunks = this.#chunks
    this.#chunks = []
    return chunks
  }
}
