// Lines that are on the disk before they count. Owns: writing them in groups, since each sync takes as long
// as many lines do. Must not know: what they say.
import type { Clock, Timer } from '../../core/clock.ts'
import type { KeptLines } from './kept-lines.ts'

interface Pending {
  readonly text: string
  readonly kept: () => void
}

export interface GroupedLinesOptions {
  readonly lines: Pick<KeptLines, 'write' | 'sync' | 'close'>
  readonly clock: Clock
  /** Told once. What could not be written stays in memory, and is tried again at the end. */
  readonly failed: (error: unknown) => void
}

const GROUP_LINES = 64
const GROUP_WITHIN_MS = 50

export class GroupedLines {
  readonly #options: GroupedLinesOptions
  #pending: Pending[] = []
  #timer: Timer | null = null
  #writing: Promise<void> | null = null
  #hasFailed = false
  /** Only the one that closes it writes any more. */
  #isClosing = false

  constructor(options: GroupedLinesOptions) {
    this.#options = options
  }

  /** How many lines are not on the disk. */
  get waiting(): number {
    return this.#pending.length
  }

  /** @param kept called when the line is on the disk */
  append(text: string, kept: () => void): void {
    this.#pending.push({ text, kept })
    if (this.#hasFailed || this.#writing !== null) return
    if (this.#pending.length >= GROUP_LINES) this.#begin()
    else this.#arm()
  }

  /** Resolves when there is room for more lines: whoever waits for it keeps the memory bounded. */
  async room(): Promise<void> {
    while (this.#writing !== null && this.#pending.length >= GROUP_LINES) await this.#writing
  }

  /** Resolves when all is on the disk: false where that cannot be, or is left to whoever closes it. */
  async flush(): Promise<boolean> {
    while (this.#pending.length > 0 && !this.#hasFailed && !this.#isClosing) {
      this.#begin()
      await this.#writing
    }
    return this.#pending.length === 0
  }

  /** Writes what is left. @throws what keeps it from being written; `waiting` says how much was not */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#timer?.cancel()
    await this.#writing
    try {
      while (this.#pending.length > 0) await this.#writeGroup()
    } finally {
      await this.#options.lines.close()
    }
  }

  #arm(): void {
    const { clock } = this.#options
    this.#timer ??= clock.schedule(clock.now() + GROUP_WITHIN_MS, () => this.#begin())
  }

  #begin(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#writing ??= this.#write()
  }

  async #write(): Promise<void> {
    try {
      await this.#writeGroup()
    } catch (error) {
      this.#hasFailed = true
      this.#options.failed(error)
      return
    } finally {
      this.#writing = null
    }
    if (this.#isClosing) return
    if (this.#pending.length >= GROUP_LINES) this.#begin()
    else if (this.#pending.length > 0) this.#arm()
  }

  async #writeGroup(): Promise<void> {
    const { lines } = this.#options
    const group = this.#pending.slice(0, GROUP_LINES)
    await lines.write(group.map(({ text }) => text).join(''))
    await lines.sync()
    this.#pending = this.#pending.slice(group.length)
    for (const { kept } of group) kept()
  }
}
