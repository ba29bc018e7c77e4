// Text on its way to a file descriptor. Must not know: what the text says.
import { writeSync } from 'node:fs'

/** What lines are written to. */
export interface Sink {
  write(text: string): unknown
  /** Writes what is held back. */
  flushSync?(): void
}

const BATCH_LENGTH = 16_384
const BATCH_MS = 50
/** A reader that is too slow costs no more memory than this; what it missed is dropped. */
const LONGEST_BACKLOG_BYTES = 2 ** 26

/**
 * Writes many lines at once: one write for each would cost more than all else that a log does. What
 * is held back when the process ends is written then. A disk that is full, or a reader that has
 * gone, loses lines and stops nothing.
 */
export function openBatchedSink(fd: number): Required<Sink> {
  const sink = batchedSink((bytes) => writeSync(fd, bytes))
  process.once('exit', sink.flushSync)
  return sink
}

/** `write` takes some of the bytes, says how many, and throws EAGAIN when it takes none for now. */
export function batchedSink(write: (bytes: Buffer) => number): Required<Sink> {
  let batch = ''
  let backlog = Buffer.alloc(0)
  let isDue = false
  const flushLater = (): void => {
    if (!isDue) setTimeout(flushSync, BATCH_MS).unref()
    isDue = true
  }
  const flushSync = (): void => {
    isDue = false
    let bytes = Buffer.concat([backlog, Buffer.from(batch)])
    batch = ''
    try {
      while (bytes.length > 0) bytes = bytes.subarray(write(bytes))
    } catch (error) {
      if (!isBusy(error) || bytes.length > LONGEST_BACKLOG_BYTES) bytes = Buffer.alloc(0)
    }
    backlog = bytes
    if (backlog.length > 0) flushLater()
  }
  return {
    flushSync,
    write(text) {
      batch += text
      if (batch.length < BATCH_LENGTH) flushLater()
      else flushSync()
    },
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN'
}
