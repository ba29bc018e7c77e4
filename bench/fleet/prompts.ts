// Prompts with the sizes of a real trace, in a file as headgate run takes it. Owns: their text. Must not
// know: who sends them.
//
// Each asks the emulator for an answer as long as the trace says; whoever sends it sees no more of that than
// of any text.
import { closeSync, openSync, writeSync } from 'node:fs'
import { seededRandom } from '../../src/core/random.ts'
import { countTokens } from '../../src/emulator/tokenizer.ts'
import { readTrace } from '../scheduling/traces.ts'

export const TRACE = 'azure-conv-2023'
export const MODEL = 'claude-fable-5'
/** What somebody would write who knows that answers are short: the trace's longest has 1,000 tokens. */
export const MAX_TOKENS = 1024

export interface Sizes {
  readonly inputTokens: number
  readonly outputTokens: number
}

/** So many rows of the trace, from a row on, and round again. */
export function sizesOf(folder: string, count: number, from = 0): Sizes[] {
  const rows = readTrace(folder, TRACE)
  return Array.from({ length: count }, (_, index) => {
    const row = rows[(from + index) % rows.length]
    return {
      inputTokens: Math.max(1, Number(row?.input_tokens)),
      outputTokens: Math.max(1, Number(row?.output_tokens)),
    }
  })
}

interface Sort {
  readonly text: string
  readonly bytesPerToken: number
}

const LETTERS = 'etaoinshrdlucmfwypvbgk'
/** Longer than the longest prompt. */
const TEXT_BYTES = 200_000

export class PromptWriter {
  readonly #random: () => number
  readonly #sorts: readonly Sort[]

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    // Of every ten prompts six are prose, three are code and one is figures: bytes a token differ.
    const [prose, code, figures] = [
      this.#sortOf(() => `${this.#word(1, 9)}${this.#random() < 0.12 ? ',' : ''} `),
      this.#sortOf(() => `${this.#word(2, 12)}(${this.#word(1, 5)}) `),
      this.#sortOf(() => `${Math.floor(this.#random() * 1e5)} ${this.#word(2, 5)} `),
    ]
    this.#sorts = [prose, prose, prose, prose, prose, prose, code, code, code, figures]
  }

  /** The parameters of a request of these sizes. */
  params({ inputTokens, outputTokens }: Sizes) {
    const content = `${this.#text(inputTokens)} [[emulate output=${outputTokens}]]`
    return { model: MODEL, max_tokens: MAX_TOKENS, messages: [{ role: 'user' as const, content }] }
  }

  /** A file with a prompt for each size, one a line. */
  write(path: string, sizes: readonly Sizes[]): void {
    const file = openSync(path, 'w')
    for (const [index, size] of sizes.entries())
      writeSync(file, `${JSON.stringify({ id: `prompt-${index}`, params: this.params(size) })}\n`)
    closeSync(file)
  }

  #text(tokens: number): string {
    const sort = this.#sorts[Math.floor(this.#random() * this.#sorts.length)]
    if (!sort) throw new Error('there is no sort of text')
    const length = Math.max(1, Math.round(tokens * sort.bytesPerToken))
    const from = Math.floor(this.#random() * (TEXT_BYTES - length))
    return sort.text.slice(from, from + length)
  }

  #word(least: number, most: number): string {
    const length = least + Math.floor(this.#random() * (most - least + 1))
    let word = ''
    while (word.length < length) word += LETTERS[Math.floor(this.#random() * LETTERS.length)]
    return word
  }

  #sortOf(piece: () => string): Sort {
    let text = ''
    while (text.length < TEXT_BYTES) text += piece()
    return { text, bytesPerToken: text.length / countTokens(text) }
  }
}
