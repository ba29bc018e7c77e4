// A process for commands under test: its output is kept, its signals are sent by the test.
import { EventEmitter } from 'node:events'
import type { Io, Output } from '../../src/cli/io.ts'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'

export interface FakeIo extends Io {
  readonly process: EventEmitter
  /** All that was written so far. */
  readonly out: () => string
  readonly err: () => string
  /** Resolves with what was written once it holds the text. */
  readonly until: (text: string) => Promise<string>
  /** Whoever reads the output goes away. */
  readonly closeOutput: () => void
}

interface FakeIoOptions {
  readonly env?: Record<string, string>
  /** The output is a terminal of this width. */
  readonly columns?: number
  readonly folder?: string
}

export function fakeIo({ env = {}, columns, folder }: FakeIoOptions = {}): FakeIo {
  const written = new EventEmitter()
  const closed = new AbortController()
  let out = ''
  let err = ''
  const write = (text: string): void => {
    out += text
    written.emit('text')
  }
  const stdout: Output =
    columns === undefined ? { write } : { write, isTTY: true, columns, rows: 24 }
  return {
    stdout,
    stderr: { write: (text) => (err += text) },
    // Money is kept where a test says so, never in the user's own folder.
    env: { HEADGATE_LEDGER: 'off', ...env },
    folder: folder ?? import.meta.dirname,
    clock: realClock(),
    random: seededRandom(1),
    process: new EventEmitter(),
    outputClosed: closed.signal,
    out: () => out,
    err: () => err,
    until: (text) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!out.includes(text)) return
          written.off('text', look)
          resolve(out)
        }
        written.on('text', look)
        look()
      }),
    closeOutput: () => closed.abort(),
  }
}
