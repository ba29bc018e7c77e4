import { expect, it } from 'vitest'
import { VirtualClock } from '../../core/clock.ts'
import { PolicyInForce } from '../../engine/policy-in-force.ts'
import { readConfig } from '../../engine/program-config.ts'
import { limitsOf } from '../../policy/settings.ts'
import { JobForecast, PromptForecaster } from './estimate.ts'

const { settings } = readConfig(
  {
    providers: {
      anthropic: {
        limits: [{ match: 'claude-haiku-4*', requests: '60/min burst 10', tokens: '1000000/day' }],
      },
    },
  },
  {},
)
const forecaster = new PromptForecaster(
  new VirtualClock(Date.UTC(2026, 10, 20)),
  new PolicyInForce(settings, null).callRules,
)

const asking = (model: string, text: string, max_tokens = 100) => ({
  model,
  max_tokens,
  messages: [{ role: 'user', content: text }],
})

it('expects less of a prompt than it can cost at most', () => {
  const params = asking('claude-haiku-4-5', 'word '.repeat(1000))
  const { expected, cost, limitGroup } = forecaster.forecast(params)
  expect(limitGroup).toBe('claude-haiku-4')
  // 5000 bytes of text: never a token for each, nor one for every ten.
  expect(expected.inputTokens).toBeGreaterThan(500)
  expect(expected.inputTokens).toBeLessThan(5000)
  // A dollar for a million tokens of input, five for as many of output.
  expect(cost?.expected).toBe((expected.inputTokens + 5 * expected.outputTokens) * 1000)
  expect(cost?.worst).toBeGreaterThanOrEqual((5000 + 5 * 100) * 1000)
  expect(cost?.worst).toBe(forecaster.tag(params).worstNanoUsd)
})

it('knows what a batch saves, and where nothing is known of that', () => {
  const { cost, batchCost } = forecaster.forecast(asking('claude-haiku-4-5', 'word '.repeat(100)))
  expect(batchCost?.expected).toBe((cost?.expected ?? Number.NaN) / 2)
  expect(batchCost?.worst).toBe((cost?.worst ?? Number.NaN) / 2)
  expect(forecaster.forecast(asking('claude-of-next-year', 'text')).batchCost).toBeNull()
})

it('adds up what a job takes, and counts what has no price', () => {
  const forecast = new JobForecast()
  const known = asking('claude-haiku-4-5', 'known')
  const one = forecaster.forecast(known)
  for (let prompts = 0; prompts < 70; prompts++) forecast.add(known.model, one)
  const unknown = asking('claude-of-next-year', 'unknown')
  forecast.add(unknown.model, forecaster.forecast(unknown))
  expect(forecast.prompts).toBe(71)
  expect(forecast.expectedNanoUsd).toBe(70 * (one.cost?.expected ?? 0))
  expect(forecast.worstNanoUsd).toBe(70 * (one.cost?.worst ?? 0))
  expect(forecast.batchable).toBe(70)
  expect(forecast.expectedSavingNanoUsd).toBe(forecast.expectedNanoUsd / 2)
  expect(forecast.worstSavingNanoUsd).toBe(forecast.worstNanoUsd / 2)
  expect([...forecast.unpriced]).toEqual([['claude-of-next-year', 1]])
})

it('tells how long the limits make it take at least, where there are any', () => {
  const limits = (group: string) => limitsOf(settings.providers.anthropic.limits, group) ?? []
  const forecast = new JobForecast()
  const one = forecaster.forecast(asking('claude-haiku-4-5', 'short'))
  for (let prompts = 0; prompts < 70; prompts++) forecast.add('claude-haiku-4-5', one)
  // Ten at once, and one a second after that.
  expect(forecast.leastMs(limits)).toBe(60_000)
  const other = new JobForecast()
  other.add('claude-opus-5', forecaster.forecast(asking('claude-opus-5', 'short')))
  expect(other.leastMs(limits)).toBeNull()
})
