import fc from 'fast-check'
import { expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { Generation } from './generation.ts'

const START_AT = 1_800_000_000_000

function record(
  totalTokens: number,
  tokensPerSecond = 80,
  takes: (step: number) => boolean = () => true,
) {
  const clock = new VirtualClock(START_AT)
  const steps: { at: number; tokens: number }[] = []
  const seen = { begunAt: 0, doneAt: 0 }
  const generation = new Generation(clock, { ttftMs: 600, tokensPerSecond }, totalTokens, {
    begun: () => {
      seen.begunAt = clock.now() - START_AT
    },
    generated: (tokens) => {
      steps.push({ at: clock.now() - START_AT, tokens })
      return takes(steps.length)
    },
    done: () => {
      seen.doneAt = clock.now() - START_AT
    },
  })
  return { clock, steps, seen, generation }
}

it('begins with the first token and keeps its pace to the end', () => {
  const { clock, steps, seen } = record(81)
  clock.advanceTo(START_AT + 10_000)
  expect(seen.begunAt).toBe(600)
  expect(seen.doneAt).toBeCloseTo(1600)
  expect(steps[0]).toEqual({ at: 600, tokens: 1 })
  expect(steps).toHaveLength(21)
})

it('generates exactly its tokens at any pace, and ends on time', () => {
  fc.assert(
    fc.property(
      fc.nat(3000),
      fc.double({ min: 0.5, max: 1e6, noNaN: true }),
      (totalTokens, tokensPerSecond) => {
        const { clock, steps, seen } = record(totalTokens, tokensPerSecond)
        clock.advanceTo(START_AT + 1e8)
        expect(steps.reduce((sum, step) => sum + step.tokens, 0)).toBe(totalTokens)
        const expectedMs = 600 + (Math.max(0, totalTokens - 1) * 1000) / tokensPerSecond
        expect(Math.abs(seen.doneAt - expectedMs)).toBeLessThan(0.01)
      },
    ),
  )
})

it('waits while its reader is slow, and then delivers what fell due in one step', () => {
  const { clock, steps, seen, generation } = record(81, 80, (step) => step !== 1)
  clock.advanceTo(START_AT + 1100)
  expect(steps).toHaveLength(1)
  generation.resume()
  clock.step()
  expect(steps[1]).toEqual({ at: 500 + 600, tokens: 40 })
  clock.advanceTo(START_AT + 5000)
  expect(seen.doneAt).toBeCloseTo(1600)
})

it('does nothing more once stopped', () => {
  const { clock, steps, seen, generation } = record(81)
  clock.advanceTo(START_AT + 700)
  const heard = steps.length
  generation.stop()
  generation.resume()
  clock.advanceTo(START_AT + 5000)
  expect(steps).toHaveLength(heard)
  expect(seen.doneAt).toBe(0)
  expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
})
