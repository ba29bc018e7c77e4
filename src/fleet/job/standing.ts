// How far a job is, and what it has cost. Owns: what became of each line of its input, and the sums. Must not
// know: files, or who asks.
import type { TokensUsed } from '../payload.ts'

const OPEN = 0
const ANSWERED = 1
const FAILED = 2

const IDLE = 0
const BEGUN = 1
const LOST = 2

/** A sending that nobody has any more. */
export interface Loss {
  readonly line: number
  /** The most that it can have cost. */
  readonly costNanoUsd: number
}

/** What an outcome has used, all its sendings together. */
export interface Spent {
  /** Null where it is not known. */
  readonly costNanoUsd: number | null
  readonly tokens: TokensUsed | null
}

/**
 * A line is begun before it is sent: from then on one sending of it may be under way, which can cost its worst.
 * What earlier sendings have cost that failed is added to that. It ends with an outcome or is left without one:
 * both say what all of its sendings have cost, and that counts instead. A run that is killed says neither. What
 * it had begun is lost then, and counts at the most that it can have cost, whatever becomes of the line.
 *
 * So `spentNanoUsd` and `lostNanoUsd` together, once nothing is under way any more, are never less than the
 * provider can have billed, and exactly that where no run was killed and outcomes cost what was billed.
 */
export class Standing {
  readonly total: number
  answered = 0
  failed = 0
  /** Nano-dollars of all outcomes, and of what was left without one. */
  spentNanoUsd = 0
  /** Nano-dollars that lost sendings have cost at most. */
  lostNanoUsd = 0
  /** Outcomes whose price is not known: the sums are without them. */
  unpriced = 0
  inputTokens = 0
  outputTokens = 0
  /** Of each line, by its number. */
  readonly #outcomes: Uint8Array
  readonly #sendings: Uint8Array
  /** The most that a begun line can have cost by now. */
  readonly #worst: Float64Array

  /**
   * @param total lines that are to have an outcome
   * @param lineCount of the whole input
   */
  constructor(total: number, lineCount: number) {
    this.total = total
    this.#outcomes = new Uint8Array(lineCount + 1)
    this.#sendings = new Uint8Array(lineCount + 1)
    this.#worst = new Float64Array(lineCount + 1)
  }

  get open(): number {
    return this.total - this.answered - this.failed
  }

  /** Lines without an outcome that were lost, and have not been begun since. */
  get lost(): number {
    return this.#sendings.reduce((count, sending) => count + (sending === LOST ? 1 : 0), 0)
  }

  isOpen(line: number): boolean {
    return this.#outcomes[line] === OPEN
  }

  /** Whether something of it may be under way. */
  isBegun(line: number): boolean {
    return this.#sendings[line] === BEGUN
  }

  /** It is about to be sent. @param worstNanoUsd of one sending; null where that is not known */
  begin(line: number, worstNanoUsd: number | null): void {
    // It was left, and nobody knew at what cost.
    this.lose(line, this.#worst[line] ?? 0)
    this.#sendings[line] = BEGUN
    this.#worst[line] = worstNanoUsd ?? 0
  }

  /** A sending has failed and may have cost so much, and there may be another one. */
  failAttempt(line: number, costNanoUsd: number): void {
    if (this.isBegun(line)) this.#worst[line] = (this.#worst[line] ?? 0) + costNanoUsd
  }

  /** Nothing of it is under way, and it stays open. @param costNanoUsd of all its sendings */
  leave(line: number, costNanoUsd: number): void {
    this.#end(line)
    this.spentNanoUsd += costNanoUsd
  }

  answer(line: number, spent: Spent): void {
    this.#outcomes[line] = ANSWERED
    this.answered++
    this.#end(line)
    this.#count(spent)
  }

  fail(line: number, spent: Spent): void {
    this.#outcomes[line] = FAILED
    this.failed++
    this.#end(line)
    this.#count(spent)
  }

  /** As if the line had not failed. @param costNanoUsd of that failure; null where it is not known */
  unfail(line: number, costNanoUsd: number | null): void {
    this.#outcomes[line] = OPEN
    this.failed--
    this.spentNanoUsd -= costNanoUsd ?? 0
    if (costNanoUsd === null) this.unpriced--
  }

  /** Nobody has what is begun any more: it is lost. Returns what that was. */
  loseBegun(): readonly Loss[] {
    const losses: Loss[] = []
    for (const [line, worst] of this.#worst.entries()) {
      if (!this.isBegun(line)) continue
      losses.push({ line, costNanoUsd: worst })
      this.lose(line, worst)
    }
    return losses
  }

  /** Nobody has it any more. What is not begun can't be lost, so that it counts once. */
  lose(line: number, costNanoUsd: number): void {
    if (!this.isBegun(line)) return
    this.lostNanoUsd += costNanoUsd
    this.#end(line)
    this.#sendings[line] = LOST
  }

  #end(line: number): void {
    this.#sendings[line] = IDLE
    this.#worst[line] = 0
  }

  #count({ costNanoUsd, tokens }: Spent): void {
    this.spentNanoUsd += costNanoUsd ?? 0
    if (costNanoUsd === null) this.unpriced++
    if (!tokens) return
    this.inputTokens += tokens.input + tokens.cacheRead + tokens.cacheWrite
    this.outputTokens += tokens.output
  }
}
