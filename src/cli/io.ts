// What a command sees of the process it runs in. Owns: the contract, and the real process behind it.
// Must not know: any command.
import type { EventEmitter } from 'node:events'
import { type Clock, realClock } from '../core/clock.ts'

/** Where text goes: a terminal, a pipe, a file, or a test's string. */
export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  /** Size of the terminal; missing elsewhere. */
  readonly columns?: number
  readonly rows?: number
  /** The file descriptor, where there is one: a log writes there without going through a stream. */
  readonly fd?: number
}

export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where `headgate.yaml` is looked for. */
  readonly folder: string
  readonly clock: Clock
  readonly random: () => number
  /** Signals, and errors that nobody caught, by the names that Node gives them. */
  readonly process: Pick<EventEmitter, 'on' | 'off'>
  /** Aborted when whoever read the output has gone (`headgate status --watch | head`). */
  readonly outputClosed: AbortSignal
}

export function systemIo(): Io {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    folder: process.cwd(),
    clock: realClock(),
    random: Math.random,
    process,
    outputClosed: untilBroken([process.stdout, process.stderr]),
  }
}

/** Nobody reads any more: a pipe, a terminal or a connection was closed. */
const GONE: ReadonlySet<string> = new Set(['EPIPE', 'EIO', 'ENXIO', 'ECONNRESET'])

function untilBroken(streams: readonly NodeJS.WriteStream[]): AbortSignal {
  const broken = new AbortController()
  for (const stream of streams) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!GONE.has(error.code ?? '')) throw error
      broken.abort()
    })
  }
  return broken.signal
}
