// The prompts of a job, in a file of one a line. Owns: the look at all of it before anything is sent, and
// reading it again, a line at a time. Must not know: what has been answered, or how anything is sent.
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import type { Payload } from '../payload.ts'
import { type LineRead, readLine } from './dialects.ts'
import { type Line, linesOf } from './lines.ts'
import { JobError, unreadable } from './problem.ts'

/** What a journal remembers of an input, to know it again. */
export interface InputMark {
  readonly bytes: number
  readonly sha256: string
}

export type InputLine =
  | { readonly kind: 'prompt'; readonly line: number; readonly payload: Payload }
  /** Only where bad lines are skipped. */
  | { readonly kind: 'bad'; readonly line: number; readonly id: string; readonly why: string }

/** The provider takes 32 MB; escapes and a wrapping may make a line somewhat longer. */
const LONGEST_LINE_BYTES = 48 * 1024 * 1024

/** So many mistakes are told one by one: whoever has more mends these first. */
const MOST_TOLD = 20

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])

export class Input implements AsyncDisposable {
  readonly path: string
  readonly #file: FileHandle
  readonly #skipsBad: boolean
  /** Line numbers by the hash of the id: ids may be long, and there may be millions. */
  readonly #lines = new Map<string, number>()
  /** Lines that are no prompts, where those are skipped. */
  readonly #bad = new Set<number>()
  mark: InputMark = { bytes: 0, sha256: '' }
  /** Up to the last one, blank ones included. */
  lineCount = 0
  /** Lines that are to have an outcome: prompts, and bad lines where those are skipped. */
  count = 0

  private constructor(path: string, file: FileHandle, skipsBad: boolean) {
    this.path = path
    this.#file = file
    this.#skipsBad = skipsBad
  }

  /**
   * Reads the whole file once.
   *
   * @param skipsBad whether lines that are no prompts are let through, as such
   * @throws JobError when there is no such file, when it is empty, and for its bad lines
   */
  static async open(path: string, { skipsBad }: { readonly skipsBad: boolean }): Promise<Input> {
    const file = await open(path).catch((error: unknown) => {
      throw unreadable('input', path, error)
    })
    const input = new Input(path, file, skipsBad)
    try {
      await input.#check()
      return input
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** The line that an id is of, or undefined where it is of none. */
  lineOf(id: string): number | undefined {
    return this.#lines.get(hashOf(id))
  }

  isBad(line: number): boolean {
    return this.#bad.has(line)
  }

  /**
   * The lines that are wanted, read when they are taken.
   *
   * @throws JobError when the file has changed since it was checked, and when it can't be read any more
   */
  async *read(isWanted: (line: number) => boolean): AsyncGenerator<InputLine> {
    for await (const line of this.#written()) {
      if (!isWanted(line.number)) continue
      const read = readOf(line)
      const id = read.id ?? String(line.number)
      const first = this.lineOf(id)
      if (read.kind === 'prompt' && first === line.number) {
        yield { kind: 'prompt', line: line.number, payload: { id, params: read.params } }
        continue
      }
      const isKnown = read.kind === 'bad' || (first !== undefined && first < line.number)
      if (!this.#skipsBad || !isKnown) throw changed(this.path)
      const why = read.kind === 'bad' ? read.why : repeats(id, first ?? 0)
      yield { kind: 'bad', line: line.number, id, why }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }

  async #check(): Promise<void> {
    await this.#refuseOthers()
    const hash = createHash('sha256')
    let bytes = 0
    const onChunk = (chunk: Uint8Array): void => {
      hash.update(chunk)
      bytes += chunk.length
    }
    const problems: string[] = []
    for await (const line of this.#written(onChunk)) {
      this.lineCount = line.number
      this.count++
      const why = this.#add(line)
      if (why === null) continue
      this.#bad.add(line.number)
      if (problems.length < MOST_TOLD) problems.push(`${this.path}:${line.number}: ${why}`)
    }
    if (this.count === 0) throw new JobError('input', [`${this.path}: has no prompts in it`])
    const bad = this.#bad.size
    if (bad > MOST_TOLD) problems.push(`${this.path}: and ${bad - MOST_TOLD} more such lines`)
    if (bad > 0 && !this.#skipsBad) throw new JobError('input', problems)
    this.mark = { bytes, sha256: hash.digest('hex') }
  }

  async #refuseOthers(): Promise<void> {
    const stat = await this.#file.stat()
    if (stat.isDirectory())
      throw new JobError('input', [`${this.path}: is a folder: name a file of prompts`])
    // A pipe can be read only once.
    if (!stat.isFile())
      throw new JobError('input', [`${this.path}: is not a file: write the prompts into one`])
  }

  /** What is wrong with the line, or null. */
  #add(line: Line): string | null {
    const read = readOf(line)
    if (read.kind === 'bad') return read.why
    const id = read.id ?? String(line.number)
    const hash = hashOf(id)
    const first = this.#lines.get(hash)
    if (first !== undefined) return repeats(id, first)
    this.#lines.set(hash, line.number)
    return null
  }

  /** The lines that are not blank. */
  async *#written(onChunk: (chunk: Uint8Array) => void = () => {}): AsyncGenerator<Line> {
    const lines = linesOf(this.#file, { longestBytes: LONGEST_LINE_BYTES, onChunk })
    try {
      for await (const line of lines) if (line.bytes === null || !isBlank(line.bytes)) yield line
    } catch (error) {
      throw unreadable('run', this.path, error)
    }
  }
}

function readOf({ number, bytes }: Line): LineRead {
  if (bytes === null)
    return { kind: 'bad', id: null, why: 'is longer than the 48 MiB that a line may have' }
  const isMarked = number === 1 && bytes.subarray(0, 3).equals(BYTE_ORDER_MARK)
  return readLine(isMarked ? bytes.subarray(3) : bytes)
}

const isBlank = (bytes: Buffer): boolean =>
  bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)

const LONGEST_QUOTE = 60

function repeats(id: string, first: number): string {
  const shown = id.length > LONGEST_QUOTE ? `${id.slice(0, LONGEST_QUOTE)}…` : id
  return `has the id ${JSON.stringify(shown)} of line ${first}`
}

/** Too long for two ids to meet by chance, and shorter than many ids. */
const hashOf = (id: string): string => createHash('sha256').update(id).digest('base64').slice(0, 22)

const changed = (path: string): JobError =>
  new JobError('run', [
    `${path}: has been changed while it was run: put it back as it was, and run the same command again`,
  ])
