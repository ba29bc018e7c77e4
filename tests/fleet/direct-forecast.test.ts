// How long what is left of a job takes one by one, with the dispatcher and the gate of the product.
import { expect, it } from 'vitest'
import type { Limit } from '../../src/core/limit.ts'
import { DirectForecast } from '../../src/fleet/direct-forecast.ts'
import { bodyOf, messageRequest } from '../../src/fleet/message-request.ts'
import { answer, MODEL, payloads, VirtualJob } from './virtual-job.ts'

const MINUTE_MS = 60_000

const TERMS = { apiKey: 'key', base: null, lane: 'low', flow: 'job', weight: 1 } as const

const aMinute = (dimension: 'requests' | 'output_tokens', amount: number): Limit => ({
  algorithm: 'token_bucket',
  dimension,
  amount,
  windowMs: MINUTE_MS,
  source: 'configured',
})

function begin(limits: readonly Limit[], output = 0) {
  const job = new VirtualJob({ limits, script: () => answer(1000, 10, output) })
  const { dispatcher } = job
  const forecast = new DirectForecast({ dispatcher, limitsOf: () => limits })
  const minutes = async (left: number, model = MODEL): Promise<number> => {
    const [params] = payloads(1, { model, max_tokens: 3000 })
    if (!params) throw new Error('there is one')
    const request = messageRequest(bodyOf(params), TERMS, job.clock.now())
    return (await forecast.directMs(request, model, left)) / MINUTE_MS
  }
  return { job, minutes }
}

it('is what configured limits allow before anything was sent', async () => {
  const { minutes } = begin([aMinute('requests', 600)])
  expect(await minutes(18_000)).toBe(29)
  expect(await minutes(600)).toBe(0)
})

it('is what the smallest quota allows where nothing is known', async () => {
  const { minutes } = begin([])
  expect(await minutes(18_000)).toBe(360)
})

it('counts from what is left of the limits', async () => {
  const { job, minutes } = begin([aMinute('requests', 600)])
  await job.resultsOf(payloads(300))
  const used = await minutes(18_000)
  expect(used).toBeGreaterThan(29)
  expect(used).toBeLessThan(29.6)
})

it('knows better what answers take once there were some', async () => {
  const { job, minutes } = begin([aMinute('output_tokens', 10_000)], 20)
  const before = await minutes(18_000)
  await job.resultsOf(payloads(300))
  const after = await minutes(18_000)
  expect(before).toBeGreaterThan(500)
  expect(after).toBeLessThan(before / 4)
})

it('shares what is left among models as they came so far', async () => {
  const { minutes } = begin([aMinute('requests', 600)])
  expect(await minutes(18_000, 'claude-sonnet-5')).toBe(29)
  expect(await minutes(18_000, 'claude-opus-5')).toBe(14)
})
