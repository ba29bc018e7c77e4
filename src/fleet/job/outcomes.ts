// The outcomes of a run on their way to the disk. Owns: that each counts only once it is there, and what is said
// of those that could not be kept. Must not know: how prompts are sent, or what ends a run.
import type { Clock } from '../../core/clock.ts'
import type { Answered, Failed } from '../payload.ts'
import { GroupedLines } from './grouped-lines.ts'
import type { JobFiles } from './job-files.ts'
import { answerLine, badLine, failureLine } from './records.ts'
import type { Standing } from './standing.ts'

export interface OutcomesOptions {
  readonly files: JobFiles
  readonly clock: Clock
  /** Told once for each file. What could not be written stays in memory, and is tried again at the end. */
  readonly failed: (error: unknown) => void
}

export class Outcomes {
  readonly #standing: Standing
  readonly #run: number
  readonly #answers: GroupedLines
  readonly #failures: GroupedLines
  readonly #failed: (error: unknown) => void
  /** Lines on their way to the disk. */
  readonly #unkept = new Set<number>()

  constructor({ files, clock, failed }: OutcomesOptions) {
    this.#standing = files.history.standing
    this.#run = files.run
    this.#answers = new GroupedLines({ lines: files.answers, clock, failed })
    this.#failures = new GroupedLines({ lines: files.failures, clock, failed })
    this.#failed = failed
  }

  /** Whether a line has its outcome, be it on the disk or not. */
  has(line: number): boolean {
    return this.#unkept.has(line) || !this.#standing.isOpen(line)
  }

  /** Resolves when there is room for the next one. */
  async keep(line: number, result: Answered | Failed): Promise<void> {
    if (this.has(line)) throw new Error(`line ${line} was answered twice`)
    if (result.kind === 'answered') {
      this.#unkept.add(line)
      this.#answers.append(answerLine(result), () => {
        this.#unkept.delete(line)
        this.#standing.answer(line, result)
      })
      await this.#answers.room()
    } else await this.#fail(line, failureLine(result, this.#place(line)), result)
  }

  /** @param why the line is no prompt */
  async keepBad(line: number, id: string, why: string): Promise<void> {
    const nothing = { costNanoUsd: 0, tokens: null }
    await this.#fail(line, badLine(id, why, this.#place(line)), nothing)
  }

  /** Resolves when all are on the disk: false where that cannot be. */
  async flush(): Promise<boolean> {
    return (await this.#answers.flush()) && (await this.#failures.flush())
  }

  /** Writes what is left, and closes the files. Returns a line for each of them that has not taken all. */
  async close(): Promise<readonly string[]> {
    const problems: string[] = []
    for (const [lines, what] of [
      [this.#answers, 'answers'],
      [this.#failures, 'failures'],
    ] as const) {
      await lines.close().catch(this.#failed)
      if (lines.waiting > 0)
        problems.push(
          `${lines.waiting} ${what} could not be kept: these prompts will be sent again`,
        )
    }
    return problems
  }

  async #fail(line: number, text: string, spent: Pick<Failed, 'costNanoUsd' | 'tokens'>) {
    this.#unkept.add(line)
    this.#failures.append(text, () => {
      this.#unkept.delete(line)
      this.#standing.fail(line, spent)
    })
    await this.#failures.room()
  }

  #place(line: number): { readonly line: number; readonly run: number } {
    return { line, run: this.#run }
  }
}
