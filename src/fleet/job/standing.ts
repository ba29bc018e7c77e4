// How far a job is. Owns: what became of each line of its input, and what that cost. Must not know: files,
// or who asks.
import type { TokensUsed } from '../payload.ts'

const OPEN = 0
const ANSWERED = 1
const FAILED = 2

/** What an outcome has used. */
export interface Spent {
  /** Null where it is not known. */
  readonly costNanoUsd: number | null
  readonly tokens: TokensUsed | null
}

export class Standing {
  readonly total: number
  answered = 0
  failed = 0
  /** Nano-dollars of all outcomes. */
  spentNanoUsd = 0
  /** Outcomes whose price is not known: the sum is without them. */
  unpriced = 0
  inputTokens = 0
  outputTokens = 0
  /** Of each line, by its number. */
  readonly #outcomes: Uint8Array
  readonly #started: Uint32Array
  readonly #ended: Uint32Array
  readonly #worst: Float64Array

  /**
   * @param total lines that are to have an outcome
   * @param lineCount of the whole input
   */
  constructor(total: number, lineCount: number) {
    this.total = total
    this.#outcomes = new Uint8Array(lineCount + 1)
    this.#started = new Uint32Array(lineCount + 1)
    this.#ended = new Uint32Array(lineCount + 1)
    this.#worst = new Float64Array(lineCount + 1)
  }

  get open(): number {
    return this.total - this.answered - this.failed
  }

  isOpen(line: number): boolean {
    return this.#outcomes[line] === OPEN
  }

  /** It was about to be sent. @param worstNanoUsd the most that it can cost; null where that is not known */
  start(line: number, worstNanoUsd: number | null): void {
    this.#started[line] = (this.#started[line] ?? 0) + 1
    this.#worst[line] = worstNanoUsd ?? 0
  }

  /** It was not sent after all, or cost nothing. */
  unsend(line: number): void {
    this.#started[line] = Math.max(0, (this.#started[line] ?? 0) - 1)
  }

  answer(line: number, spent: Spent): void {
    this.#outcomes[line] = ANSWERED
    this.answered++
    this.#end(line, spent)
  }

  fail(line: number, spent: Spent): void {
    this.#outcomes[line] = FAILED
    this.failed++
    this.#end(line, spent)
  }

  /** A failure that is not told any more, since the line is to be run again. */
  retried(line: number, costNanoUsd: number): void {
    this.#end(line, { costNanoUsd, tokens: null })
  }

  /** The line has failed, and is to be run again. */
  reopen(line: number): void {
    this.#outcomes[line] = OPEN
    this.failed--
  }

  /** Prompts that were sent, or about to be, when a run was ended from outside, and the most that they cost. */
  lost(): { readonly prompts: number; readonly costNanoUsd: number } {
    let prompts = 0
    let costNanoUsd = 0
    for (const [line, started] of this.#started.entries()) {
      const lost = Math.max(0, started - (this.#ended[line] ?? 0))
      prompts += lost
      costNanoUsd += lost * (this.#worst[line] ?? 0)
    }
    return { prompts, costNanoUsd }
  }

  #end(line: number, { costNanoUsd, tokens }: Spent): void {
    this.#ended[line] = (this.#ended[line] ?? 0) + 1
    this.spentNanoUsd += costNanoUsd ?? 0
    if (costNanoUsd === null) this.unpriced++
    if (!tokens) return
    this.inputTokens += tokens.input + tokens.cacheRead + tokens.cacheWrite
    this.outputTokens += tokens.output
  }
}
