import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OutputEstimator, type OutputFigure } from './output-estimator.ts'

const build = (figure: OutputFigure = 'mean') =>
  new OutputEstimator({ figure, maxModels: 10, maxFlows: 20 })

/** Lengths from 100 to 40,000 tokens of which half are under 200: a long tail. */
const LONG_TAILED = Array.from({ length: 199 }, (_, index) => 100 / (1 - (index + 0.5) / 199))
const MEAN = LONG_TAILED.reduce((sum, tokens) => sum + tokens, 0) / LONG_TAILED.length

/** Records each length once in an order that mixes short and long, several times over. */
function teach(estimator: OutputEstimator, lengths: readonly number[], rounds: number) {
  for (let step = 0; step < lengths.length * rounds; step++) {
    estimator.learn('m', 'f', lengths[(step * 71) % lengths.length] ?? 0)
  }
}

describe('OutputEstimator', () => {
  test('expects about 500 tokens before anything is known', () => {
    for (const figure of ['mean', 0.6] as const) {
      expect(Math.abs(build(figure).remaining('m', 'f', 0) - 500)).toBeLessThan(60)
    }
  })

  test('reserves over many outputs what they sum up to, though they have a long tail', () => {
    const estimator = build()
    teach(estimator, LONG_TAILED, 5)
    let reserved = 0
    for (let step = 0; step < LONG_TAILED.length; step++) {
      reserved += estimator.remaining('m', 'f', 0)
      estimator.learn('m', 'f', LONG_TAILED[(step * 71) % LONG_TAILED.length] ?? 0)
    }
    expect(Math.abs(reserved / (MEAN * LONG_TAILED.length) - 1)).toBeLessThan(0.15)
  })

  test('gives the quantile that it is set to', () => {
    for (const quantile of [0.25, 0.5, 0.75]) {
      const estimator = build(quantile)
      for (let step = 0; step < 2000; step++) estimator.learn('m', 'f', ((step * 71) % 1000) + 1)
      const expected = quantile * 1000
      expect(Math.abs(estimator.remaining('m', 'f', 0) / expected - 1)).toBeLessThan(0.15)
    }
  })

  test('expects more of an output that has already passed the usual length', () => {
    const estimator = build()
    teach(estimator, LONG_TAILED, 3)
    const atStart = estimator.remaining('m', 'f', 0)
    expect(1000 + estimator.remaining('m', 'f', 1000)).toBeGreaterThan(atStart * 2)
  })

  test('expects little more when all outputs end at about the same length', () => {
    const estimator = build()
    for (let answer = 0; answer < 400; answer++) estimator.learn('m', 'f', 300)
    expect(estimator.remaining('m', 'f', 290)).toBeLessThan(60)
    expect(estimator.remaining('m', 'f', 290)).toBeGreaterThan(5)
  })

  test('expects half as much again of an output longer than any known one', () => {
    const estimator = build()
    for (let answer = 0; answer < 2000; answer++) estimator.learn('m', 'f', 100)
    expect(estimator.remaining('m', 'f', 10_000)).toBe(5000)
  })

  test('follows a flow whose outputs become longer', () => {
    const estimator = build()
    for (let answer = 0; answer < 300; answer++) estimator.learn('m', 'f', 100)
    for (let answer = 0; answer < 150; answer++) estimator.learn('m', 'f', 2000)
    expect(Math.abs(estimator.remaining('m', 'f', 0) / 2000 - 1)).toBeLessThan(0.2)
  })

  test('tells flows apart, and starts a new one from its model', () => {
    const estimator = build()
    for (let answer = 0; answer < 200; answer++) {
      estimator.learn('m', 'short', 40)
      estimator.learn('m', 'long', 4000)
    }
    expect(estimator.remaining('m', 'short', 0)).toBeLessThan(400)
    expect(estimator.remaining('m', 'long', 0)).toBeGreaterThan(3000)
    expect(Math.abs(estimator.remaining('m', 'new', 0) / 2020 - 1)).toBeLessThan(0.15)
  })

  test('is finite and not negative, whatever has been recorded', () => {
    const tokens = fc.nat({ max: 100_000_000 })
    const figures = fc.constantFrom<OutputFigure>('mean', 0, 0.5, 0.9, 1)
    fc.assert(
      fc.property(
        figures,
        fc.array(tokens, { maxLength: 40 }),
        tokens,
        (figure, known, produced) => {
          const estimator = build(figure)
          for (const length of known) estimator.learn('m', 'f', length)
          const remaining = estimator.remaining('m', 'f', produced)
          expect(Number.isFinite(remaining)).toBe(true)
          expect(remaining).toBeGreaterThanOrEqual(0)
        },
      ),
    )
  })
})
