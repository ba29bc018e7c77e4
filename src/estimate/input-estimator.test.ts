import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InputEstimator } from './input-estimator.ts'

const build = () => new InputEstimator({ maxModels: 10, maxFlows: 20 })

/** Answers to prompts of 8 KB with a fixed ratio. */
function teach(estimator: InputEstimator, flow: string, bytesPerToken: number, answers: number) {
  for (let answer = 0; answer < answers; answer++) {
    estimator.learn('m', flow, 8000, 8000 / bytesPerToken)
  }
}

describe('InputEstimator', () => {
  test('guesses an unknown model a little high', () => {
    const bytesPerToken = 1 / build().tokensPerByte('unknown', 'f')
    expect(bytesPerToken).toBeGreaterThan(2.3)
    expect(bytesPerToken).toBeLessThan(2.7)
  })

  test('comes within three per cent of a flow after five answers', () => {
    const estimator = build()
    teach(estimator, 'f', 4.2, 5)
    expect(Math.abs(estimator.tokensPerByte('m', 'f') * 4.2 - 1)).toBeLessThan(0.03)
  })

  test('tells flows of one model apart', () => {
    const estimator = build()
    for (let round = 0; round < 20; round++) {
      teach(estimator, 'prose', 4.5, 1)
      teach(estimator, 'json', 2.5, 1)
    }
    expect(estimator.tokensPerByte('m', 'prose') * 4.5).toBeCloseTo(1, 1)
    expect(estimator.tokensPerByte('m', 'json') * 2.5).toBeCloseTo(1, 1)
  })

  test('starts a new flow from what its model has shown', () => {
    const estimator = build()
    teach(estimator, 'old', 4, 50)
    expect(estimator.tokensPerByte('m', 'new') * 4).toBeCloseTo(1, 1)
  })

  test('follows a flow whose text changes', () => {
    const estimator = build()
    teach(estimator, 'f', 4.5, 200)
    teach(estimator, 'f', 2.5, 60)
    expect(Math.abs(estimator.tokensPerByte('m', 'f') * 2.5 - 1)).toBeLessThan(0.05)
  })

  test('lets one huge prompt not outvote the ordinary ones for long', () => {
    const estimator = build()
    estimator.learn('m', 'f', 4_000_000, 2_000_000)
    teach(estimator, 'f', 4, 60)
    expect(Math.abs(estimator.tokensPerByte('m', 'f') * 4 - 1)).toBeLessThan(0.06)
  })

  test('hardly moves for one absurd report', () => {
    const estimator = build()
    teach(estimator, 'f', 4, 50)
    estimator.learn('m', 'f', 8000, 90_000_000)
    expect(estimator.tokensPerByte('m', 'f') * 4).toBeLessThan(1.25)
    estimator.learn('m', 'f', 8_000_000, 1)
    expect(estimator.tokensPerByte('m', 'f') * 4).toBeGreaterThan(0.7)
  })

  test('keeps pairs of names apart whose text runs together', () => {
    const estimator = build()
    for (let answer = 0; answer < 20; answer++) estimator.learn('ab', 'c', 8000, 4000)
    const untaught = build().tokensPerByte('a', 'bc')
    expect(estimator.tokensPerByte('a', 'bc')).toBe(untaught)
  })

  test('forgets the least used flow when there are too many', () => {
    const estimator = build()
    teach(estimator, 'first', 5, 50)
    const learnt = estimator.tokensPerByte('m', 'first')
    for (let flow = 0; flow < 100; flow++) teach(estimator, `flow ${flow}`, 2.5, 3)
    expect(estimator.tokensPerByte('m', 'first')).toBeGreaterThan(learnt * 1.5)
  })

  test('stays within believable bounds, whatever is reported', () => {
    const reports = fc.array(fc.tuple(fc.double(), fc.double()), { maxLength: 50 })
    fc.assert(
      fc.property(reports, (each) => {
        const estimator = build()
        for (const [bytes, tokens] of each) estimator.learn('m', 'f', bytes, tokens)
        const ratio = estimator.tokensPerByte('m', 'f')
        expect(ratio).toBeGreaterThanOrEqual(0.01)
        expect(ratio).toBeLessThanOrEqual(2)
      }),
    )
  })
})
