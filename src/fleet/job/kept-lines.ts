// A file of lines that survives whatever ends its writer. Owns: cutting off a line that was torn, and
// writing whole lines only. Must not know: what they say, or when they are to be on the disk.
import { type FileHandle, open } from 'node:fs/promises'
import { linesOf } from './lines.ts'
import { JobError, reasonOf } from './problem.ts'

export class KeptLines {
  readonly path: string
  readonly #file: FileHandle
  /** Up to here the file has whole lines. */
  #end = 0
  /** Settles with the last write that was begun. */
  #written: Promise<unknown> = Promise.resolve()

  private constructor(path: string, file: FileHandle) {
    this.path = path
    this.#file = file
  }

  /**
   * Opens the file, or makes it, and hands over each of its lines.
   *
   * @throws JobError when it cannot be opened or read, and whatever `onLine` throws
   */
  static async open(
    path: string,
    onLine: (bytes: Buffer, number: number) => void,
  ): Promise<KeptLines> {
    const file = await opened(path)
    const kept = new KeptLines(path, file)
    try {
      for await (const { bytes, number, offset, isWhole } of linesOf(file, ANY_LENGTH)) {
        const length = bytes?.length ?? 0
        if (!isWhole) {
          if (!bytes || !isRecord(bytes)) break
          // Somebody's editor has left out its end: nothing is missing of what it says.
          kept.#end = offset + length
          await kept.#append('\n')
          onLine(bytes, number)
          break
        }
        kept.#end = offset + length + 1
        if (bytes && length > 0) onLine(bytes, number)
      }
      // A line whose writer died in the midst of it.
      await file.truncate(kept.#end)
      return kept
    } catch (error) {
      await file.close()
      throw error instanceof JobError ? error : unwritable(path, error)
    }
  }

  /**
   * Behind this and a kill of the process the lines are there; behind a power cut only once `sync` is done.
   * One write after the other, whoever asks.
   *
   * @throws JobError when they cannot be written
   */
  write(text: string): Promise<void> {
    const written = this.#written.then(() => this.#append(text))
    // Whoever has asked is told of what goes wrong; the next one tries.
    this.#written = written.catch(() => {})
    return written
  }

  async #append(text: string): Promise<void> {
    const bytes = Buffer.from(text)
    // Always behind the last whole line: what a failed write has left is written over.
    for (let done = 0; done < bytes.length; ) {
      const writing = this.#file.write(bytes, done, undefined, this.#end + done)
      done += (await this.#translated(writing)).bytesWritten
    }
    this.#end += bytes.length
  }

  /** @throws JobError when the device fails */
  async sync(): Promise<void> {
    await this.#translated(this.#file.datasync())
  }

  /** @throws JobError when the device fails */
  async clear(): Promise<void> {
    await this.#translated(this.#file.truncate(0))
    this.#end = 0
    await this.sync()
  }

  async close(): Promise<void> {
    try {
      // What a failed write has left is no line.
      await this.#translated(this.#file.truncate(this.#end))
    } finally {
      await this.#file.close()
    }
  }

  async #translated<T>(operation: Promise<T>): Promise<T> {
    try {
      return await operation
    } catch (error) {
      throw unwritable(this.path, error)
    }
  }
}

const ANY_LENGTH = { longestBytes: Number.POSITIVE_INFINITY }

const unwritable = (path: string, error: unknown): JobError =>
  new JobError('run', [`${path}: cannot be written: ${reasonOf(error)}`], error)

async function opened(path: string): Promise<FileHandle> {
  let file: FileHandle
  try {
    file = await open(path, 'r+').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
        return open(path, 'wx+')
      throw error
    })
  } catch (error) {
    throw unwritable(path, error)
  }
  const stat = await file.stat()
  if (stat.isFile()) return file
  await file.close()
  throw new JobError('input', [`${path}: is not a file: answers cannot be kept in it`])
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
