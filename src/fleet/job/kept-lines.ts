// A file of lines that survives whatever ends its writer. Owns: cutting off a line that was torn, and writing
// whole lines only. Must not know: what they say, or when they are to be on the disk.
import { type FileHandle, open, rm } from 'node:fs/promises'
import type { FoundLines } from './found-lines.ts'
import { JobError, unwritable } from './problem.ts'

export class KeptLines {
  readonly path: string
  /** Whether there was no such file before. */
  readonly #isNew: boolean
  readonly #file: FileHandle
  /** Up to here the file has whole lines. */
  #end: number
  /** Settles with the last write that was begun. */
  #written: Promise<unknown> = Promise.resolve()

  private constructor(path: string, file: FileHandle, end: number, isNew: boolean) {
    this.path = path
    this.#file = file
    this.#end = end
    this.#isNew = isNew
  }

  /**
   * Makes the file where there is none, and cuts off what is no whole line.
   *
   * @throws JobError when it cannot be written; then it is closed, and none is left that was not there
   */
  static async open({ path, file, end, isEnded }: FoundLines): Promise<KeptLines> {
    const made = file ?? (await translated(path, open(path, 'wx+')))
    const kept = new KeptLines(path, made, end, file === null)
    try {
      await kept.#cut()
      // Nothing is missing of what the line says.
      if (!isEnded) await kept.#append('\n')
      return kept
    } catch (error) {
      await kept.undo()
      throw error
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

  /** @throws JobError when the device fails, and when somebody has removed the file */
  async sync(): Promise<void> {
    await translated(this.path, this.#file.datasync())
    const { nlink } = await translated(this.path, this.#file.stat())
    if (nlink === 0)
      throw new JobError('run', [
        `${this.path}: was removed while it was written: run the same command again`,
      ])
  }

  /** @throws JobError when the device fails */
  async clear(): Promise<void> {
    this.#end = 0
    await this.#cut()
    await this.sync()
  }

  /** What was asked for is written first. @throws JobError when the device fails; it is closed all the same */
  async close(): Promise<void> {
    await this.#written
    try {
      // What a failed write has left is no line.
      await this.#cut()
    } finally {
      await this.#file.close()
    }
  }

  /** Closes it, and takes it away if it was not there before. */
  async undo(): Promise<void> {
    await this.#file.close()
    if (this.#isNew) await rm(this.path, { force: true })
  }

  async #append(text: string): Promise<void> {
    const bytes = Buffer.from(text)
    // Always behind the last whole line: what a failed write has left is written over.
    for (let done = 0; done < bytes.length; ) {
      const writing = this.#file.write(bytes, done, undefined, this.#end + done)
      done += (await translated(this.path, writing)).bytesWritten
    }
    this.#end += bytes.length
  }

  async #cut(): Promise<void> {
    await translated(this.path, this.#file.truncate(this.#end))
  }
}

async function translated<T>(path: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation
  } catch (error) {
    throw unwritable(path, error)
  }
}
