// The lines of a file, one after the other, however large the file is. Owns: cutting it. Must not know: what
// a line says.
import type { FileHandle } from 'node:fs/promises'

export interface Line {
  /** From 1. */
  readonly number: number
  /** Without its end; null where the line is longer than what may be. */
  readonly bytes: Buffer | null
  /** Where it begins in the file. */
  readonly offset: number
  /** Whether there was a line's end behind it. */
  readonly isWhole: boolean
}

const CHUNK_BYTES = 1024 * 1024
const NEWLINE = 0x0a

export interface LinesOptions {
  readonly longestBytes: number
  /** Is shown every byte of the file, in order. */
  readonly onChunk?: (chunk: Uint8Array) => void
}

/** Reads from the file's beginning. Keeps one line and one chunk in memory. */
export async function* linesOf(
  file: FileHandle,
  { longestBytes, onChunk }: LinesOptions,
): AsyncGenerator<Line> {
  let parts: Buffer[] = []
  let bytes = 0
  let number = 1
  let position = 0
  let offset = 0
  const take = (part: Buffer): void => {
    bytes += part.length
    if (bytes > longestBytes) parts = []
    else if (part.length > 0) parts.push(part)
  }
  const cut = (isWhole: boolean): Line => {
    const line = {
      number,
      bytes: bytes > longestBytes ? null : Buffer.concat(parts),
      offset,
      isWhole,
    }
    offset += bytes + 1
    number++
    parts = []
    bytes = 0
    return line
  }
  for (;;) {
    // A chunk of its own each time: lines are cut from it without copies.
    const { bytesRead, buffer } = await file.read(
      Buffer.allocUnsafeSlow(CHUNK_BYTES),
      0,
      CHUNK_BYTES,
      position,
    )
    if (bytesRead === 0) break
    const chunk = buffer.subarray(0, bytesRead)
    onChunk?.(chunk)
    position += bytesRead
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      take(chunk.subarray(start, end))
      yield cut(true)
      start = end + 1
    }
    take(chunk.subarray(start))
  }
  if (bytes > 0) yield cut(false)
}
