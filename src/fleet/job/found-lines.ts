// What is in a file of lines before anything is written to it. Owns: telling what a kill has left of a line from
// a file that is somebody else's. Must not know: what lines say. It changes nothing.
import { type FileHandle, open } from 'node:fs/promises'
import { linesOf } from './lines.ts'
import { foreign, JobError, unreadable, unwritable } from './problem.ts'

export interface LinesForm {
  readonly path: string
  /** How the line of a number begins, without which it is none of these. */
  readonly beginning: (line: number) => string
  /** @throws JobError for a line that should not be there */
  readonly onLine: (bytes: Buffer, number: number) => void
}

export interface FoundLines {
  readonly path: string
  /** Null where there is none. */
  readonly file: FileHandle | null
  /** Up to here are whole lines; behind it may be what was written of one. */
  readonly end: number
  /** False where somebody's editor has taken the end of the last line away. */
  readonly isEnded: boolean
}

/** Nothing that is longer could be read. */
const LONGEST_BYTES = 256 * 1024 * 1024

/**
 * Reads the file, if there is one, and hands over each of its lines. Whoever calls closes it.
 *
 * @throws JobError when it cannot be opened or read, when it is of something else, and whatever `onLine` throws
 */
export async function findLines(form: LinesForm): Promise<FoundLines> {
  const { path } = form
  const file = await opened(path)
  if (!file) return { path, file, end: 0, isEnded: true }
  try {
    return { path, file, ...(await read(file, form)) }
  } catch (error) {
    await file.close()
    throw error instanceof JobError ? error : unreadable('run', path, error)
  }
}

async function read(
  file: FileHandle,
  { path, beginning, onLine }: LinesForm,
): Promise<Pick<FoundLines, 'end' | 'isEnded'>> {
  let end = 0
  for await (const line of linesOf(file, { longestBytes: LONGEST_BYTES })) {
    const { bytes, number, offset, isWhole } = line
    if (!bytes) throw foreign(path, number)
    if (!isWhole && !isRecord(bytes)) {
      if (!isTornOf(bytes, beginning(number))) throw foreign(path, number)
      break
    }
    if (bytes.length > 0) onLine(bytes, number)
    end = offset + bytes.length + (isWhole ? 1 : 0)
    if (!isWhole) return { end, isEnded: false }
  }
  return { end, isEnded: true }
}

async function opened(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r+')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw unwritable(path, error)
  }
}

/** Whether a line without an end is all of a record, rather than what was written of one. */
function isRecord(bytes: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null
  } catch {
    return false
  }
}

/** Whether it was to become a line that begins so. A power cut may leave zeros of it. */
function isTornOf(bytes: Buffer, beginning: string): boolean {
  if (bytes.every((byte) => byte <= 0x20)) return true
  const wanted = Buffer.from(beginning)
  const length = Math.min(wanted.length, bytes.length)
  return bytes.subarray(0, length).equals(wanted.subarray(0, length))
}
