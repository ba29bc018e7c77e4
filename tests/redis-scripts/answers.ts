// What the TypeScript answers, held against what the Lua answers. Must not know: any operation.
import { expect } from 'vitest'

export type Answer = readonly (number | boolean | string)[]

/** One operation on the Lua, and what the TypeScript answered to the same. */
export interface Step {
  readonly op: object
  readonly answer: Answer
}

/** Instants near today are multiples of a quarter of a microsecond. */
const TOLERANCE_MS = 1e-3
const EPOCH = 1e12

export function expectAnswers(
  steps: readonly Step[],
  answers: readonly (readonly string[])[],
  isExact: boolean,
): void {
  for (const [index, { op, answer }] of steps.entries()) {
    const lua = answers[index] ?? []
    const isSame =
      lua.length === answer.length &&
      answer.every((part, i) => isSamePart(part, lua[i] ?? '', isExact))
    if (!isSame)
      expect({ index, op, answer: lua }).toEqual({ index, op, answer: answer.map(String) })
  }
  expect(answers).toHaveLength(steps.length)
}

function isSamePart(expected: number | boolean | string, text: string, isExact: boolean): boolean {
  if (typeof expected !== 'number') return String(expected) === text
  const found = numberOf(text)
  if (expected === found) return true
  if (isExact) return false
  const off = Math.abs(expected - found)
  // V8's exp and pow may differ from those of Lua's C library in the last bit.
  return expected > EPOCH ? off < TOLERANCE_MS : off <= 1e-9 * Math.max(1, Math.abs(expected))
}

function numberOf(text: string): number {
  if (text === 'inf') return Number.POSITIVE_INFINITY
  return text === '-inf' ? Number.NEGATIVE_INFINITY : Number(text)
}
