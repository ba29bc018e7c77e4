// What goes ahead while something else has to wait, on virtual time: other models, what cannot wait for a batch, and
// what is paid for already.
import { describe, expect, it } from 'vitest'
import type { Limit } from '../../src/core/limit.ts'
import { BatchOutOfReach, type PendingBatch } from '../../src/fleet/batch/batch-record.ts'
import type { FleetResult, PayloadInput } from '../../src/fleet/payload.ts'
import { all, answer, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

const perMinute = (amount: number): Limit => ({
  algorithm: 'token_bucket',
  dimension: 'requests',
  amount,
  windowMs: MINUTE_MS,
  source: 'configured',
})

const SLOW = 'claude-opus-4-8'
const FAST = 'claude-haiku-4-5'

/** One of a model with ten answers a minute for four of a model with a thousand. */
const mixed = (count: number): PayloadInput[] =>
  payloads(count).map((params, index) => ({ ...params, model: index % 5 === 0 ? SLOW : FAST }))

const twoModels = (run: { readonly order?: 'submission'; readonly maxInFlight?: number } = {}) =>
  new VirtualJob({
    limitsOf: (resource) => [perMinute(resource.includes('opus') ? 10 : 1000)],
    script: ({ model }) => answer(model === SLOW ? MINUTE_MS : 1000),
    run,
  })

describe('two models in one job', () => {
  it('have room of their own: the slow one keeps the other from nothing, and few of it stand in line', async () => {
    const job = twoModels()
    const startedAt = job.clock.now()
    let mostStanding = 0
    let fastDoneAt = 0
    let fast = 0
    const reading = async () => {
      for await (const result of job.run(mixed(600)).results(null)) {
        const line = await job.dispatcher.store.snapshot()
        const slow = line.find(({ name }) => name.includes('opus'))
        mostStanding = Math.max(mostStanding, slow?.queued ?? 0)
        if (result.kind !== 'answered' || Number(result.id) % 5 === 0) continue
        fast++
        fastDoneAt = job.clock.now()
      }
    }
    await job.drive(reading())
    expect(fast).toBe(480)
    expect(fastDoneAt - startedAt).toBeLessThan(2 * MINUTE_MS)
    expect(mostStanding).toBeLessThanOrEqual(20)
    // A hundred and twenty of the slow one, of which ten go at once.
    expect(job.clock.now() - startedAt).toBeLessThan(13.5 * MINUTE_MS)
    const groups = new Set(job.eventsOf('in_flight').map(({ group }) => group))
    expect(groups).toEqual(new Set(['claude-opus-4', 'claude-haiku-4']))
  })

  it('come to an end in the order in which they were handed in', async () => {
    const job = twoModels({ order: 'submission' })
    const results = await job.resultsOf(mixed(200))
    expect(results.map((result) => 'id' in result && Number(result.id))).toEqual(
      Array.from({ length: 200 }, (_, index) => index),
    )
  })

  it('share a number that somebody has set', async () => {
    const job = twoModels({ maxInFlight: 7 })
    const results = await job.resultsOf(mixed(50))
    expect(results).toHaveLength(50)
    expect(job.mostInFlight).toBe(7)
    expect(job.eventsOf('in_flight')).toMatchObject([{ group: null, chosen: 7 }])
  })

  it('are taken no further ahead than a bound', async () => {
    let taken = 0
    function* endless() {
      for (const params of payloads(100_000)) {
        taken++
        yield { ...params, model: taken === 1 ? FAST : SLOW }
      }
    }
    const job = twoModels()
    const stop = new AbortController()
    job.clock.schedule(job.clock.now() + 5000, () => stop.abort())
    await job.drive(all(job.run(endless(), { stop: stop.signal }).results(null)))
    expect(taken).toBeGreaterThan(100)
    expect(taken).toBeLessThan(1100)
  })
})

const busy = (status: number, type: string): Reply => ({
  kind: 'error',
  afterMs: 100,
  status,
  type,
})

describe('a payload that goes into a batch', () => {
  it('takes along the price that it asks for', async () => {
    const job = new VirtualJob({
      script: () => answer(1000),
      batchScript: () => busy(400, 'invalid_request_error'),
    })
    const submitted: PendingBatch[] = []
    const journal = {
      async submitting(batch: PendingBatch) {
        submitted.push(batch)
      },
      async submitted() {},
      async ended() {},
    }
    const asked = [...payloads(1), ...payloads(1, { inference_geo: 'us', speed: 'fast' })]
    const source = asked.map((params, index) => ({ id: `p${index}`, params, withinMs: DAY_MS }))
    await job.drive(all(job.run(source, { batches: { journal } }).results(null)))
    const percents = submitted.map((batch) =>
      batch.payloads.map(({ pricePercent }) => pricePercent),
    )
    expect(percents).toEqual([[100, 220]])
  })
})

describe('batches that do not come about', () => {
  it('hold up nothing that cannot wait for them', async () => {
    const batched = payloads(20).map((params) => ({ params, withinMs: DAY_MS }))
    const atOnce = payloads(20).map((params, index) => ({
      id: `now-${index}`,
      params,
      withinMs: 0,
    }))
    const job = new VirtualJob({
      script: () => answer(1000),
      batchScript: () => busy(429, 'rate_limit_error'),
    })
    const stop = new AbortController()
    const startedAt = job.clock.now()
    job.clock.schedule(startedAt + 5 * MINUTE_MS, () => stop.abort())
    // The batch is sent, and refused, before the others come.
    async function* source() {
      yield* batched.slice(0, 1)
      await new Promise<void>((resolve) => {
        job.clock.schedule(startedAt + 2 * MINUTE_MS, resolve)
      })
      yield* batched.slice(1)
      yield* atOnce
    }
    const results = await job.drive(all(job.run(source(), { stop: stop.signal }).results(null)))
    const answered = results.filter(({ kind }) => kind === 'answered')
    expect(answered.map((result) => 'id' in result && result.id).toSorted()).toEqual(
      atOnce.map(({ id }) => id).toSorted(),
    )
    expect(Math.max(...job.sentAt) - startedAt).toBeLessThan(3 * MINUTE_MS)
  })

  it('break off nothing that is paid for: what is on its way is waited for, and then the loop throws', async () => {
    const pending: PendingBatch[] = [
      {
        name: 'hg_0000000000',
        batchId: 'msgbatch_1',
        payloads: [{ id: 'before', index: 0, worstNanoUsd: 1000 }],
        size: 1,
        sentAt: 0,
      },
    ]
    const journal = { async submitting() {}, async submitted() {}, async ended() {} }
    const job = new VirtualJob({
      script: () => answer(60_000),
      batchScript: () => busy(403, 'permission_error'),
      run: { maxInFlight: 10 },
    })
    function* endless() {
      for (;;) yield* payloads(100)
    }
    const results: FleetResult[] = []
    const read = async () => {
      const run = job.run(endless(), { batches: { journal, pending } })
      for await (const result of run.results(null)) results.push(result)
    }
    await expect(job.drive(read())).rejects.toBeInstanceOf(BatchOutOfReach)
    expect(job.sentAt.length).toBeGreaterThan(0)
    expect(results.map(({ kind }) => kind)).toEqual(Array(job.sentAt.length).fill('answered'))
    expect(job.dispatcher.size).toBe(0)
  })
})
