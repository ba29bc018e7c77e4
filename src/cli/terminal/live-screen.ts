// A picture that changes in place. Owns: the terminal's second screen, so that what stood before is
// there again afterwards. Must not know: what is drawn.
import type { Output } from '../io.ts'
import { clip } from './words.ts'

// Source: xterm's control sequences. 2026 holds the picture back until it is whole, so nothing flickers.
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l'
const BEGIN = '\u001b[?2026h\u001b[H'
const END = '\u001b[J\u001b[?2026l'
const CLEAR_TO_LINE_END = '\u001b[K'

export class LiveScreen implements Disposable {
  readonly #output: Output

  constructor(output: Output) {
    this.#output = output
    output.write(ENTER)
  }

  get columns(): number {
    return columnsOf(this.#output)
  }

  /** Shows these lines and nothing else, cut to the terminal's present size. */
  draw(lines: readonly string[]): void {
    const { rows = 24 } = this.#output
    const picture = lines
      .slice(0, Math.max(1, rows))
      .map((line) => clip(line, this.columns) + CLEAR_TO_LINE_END)
    this.#output.write(BEGIN + picture.join('\r\n') + END)
  }

  [Symbol.dispose](): void {
    this.#output.write(LEAVE)
  }
}

/** How wide lines may be: as wide as they like where there is no terminal. */
export function columnsOf({ columns = Number.POSITIVE_INFINITY }: Output): number {
  // The last column stays free: a cursor that stands behind it wraps on some terminals.
  return Math.max(1, columns - 1)
}
