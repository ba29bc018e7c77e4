// Server-sent events from bytes that are cut anywhere. Owns: decoding, lines, bounds. Must not know: what
// any event means.
import { NotUnderstood } from './documents.ts'

export interface ServerEvent {
  readonly name: string
  readonly data: string
}

/** The coordinator's events have a few hundred. */
const MOST_CHARACTERS = 256 * 1024

export class EventReader {
  readonly #decoder = new TextDecoder()
  #line = ''
  #endedInReturn = false
  #name = ''
  #data: string[] = []
  #characters = 0

  /** The events that these bytes complete. @throws NotUnderstood when one is longer than a coordinator's */
  read(bytes: Uint8Array): ServerEvent[] {
    const decoded = this.#decoder.decode(bytes, { stream: true })
    if (decoded === '') return []
    // A line may end in two characters, and the second come later.
    const text = this.#endedInReturn && decoded.startsWith('\n') ? decoded.slice(1) : decoded
    this.#endedInReturn = decoded.endsWith('\r')
    const lines = (this.#line + text).split(/\r\n|\n|\r/)
    this.#line = lines.pop() ?? ''
    const events = lines.flatMap((line) => this.#take(line))
    if (this.#line.length + this.#characters > MOST_CHARACTERS)
      throw new NotUnderstood('an event is too long')
    return events
  }

  #take(line: string): ServerEvent[] {
    if (line === '') return this.#complete()
    // Before a line that begins with a colon, a comment, there is no name.
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
    if (field === 'event') this.#name = value
    if (field === 'data') {
      this.#data.push(value)
      this.#characters += value.length + 1
    }
    return []
  }

  #complete(): ServerEvent[] {
    const event = { name: this.#name, data: this.#data.join('\n') }
    this.#name = ''
    this.#data = []
    this.#characters = 0
    return event.data === '' ? [] : [event]
  }
}
