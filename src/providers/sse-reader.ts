// Server-sent events, read beside a stream that passes on untouched. Owns: decoding and bounds.
// Must not know: what any event means.
import { createParser, type EventSourceMessage } from 'eventsource-parser'

/** Nobody sends such an event; whoever does is not read any further. */
const MOST_EVENT_CHARACTERS = 8 * 1024 * 1024

export class SseReader {
  readonly #decoder = new TextDecoder()
  readonly #parser: ReturnType<typeof createParser>
  #isOpen = true

  constructor(onEvent: (event: EventSourceMessage) => void) {
    this.#parser = createParser({
      onEvent,
      onError: (error) => {
        if (error.type === 'max-buffer-size-exceeded') this.#isOpen = false
      },
      maxBufferSize: MOST_EVENT_CHARACTERS,
    })
  }

  /** The next bytes of the stream, cut anywhere. Never fails: what cannot be read is not. */
  read(chunk: Uint8Array): void {
    if (this.#isOpen) this.#parser.feed(this.#decoder.decode(chunk, { stream: true }))
  }
}

const NEWLINE = 0x0a

/** Whether another event may follow these bytes. */
export const endsEvent = (chunk: Buffer): boolean =>
  chunk.at(-1) === NEWLINE && chunk.at(-2) === NEWLINE
