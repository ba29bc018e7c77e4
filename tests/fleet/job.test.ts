import { describe, expect, it } from 'vitest'
import type { Limit } from '../../src/core/limit.ts'
import type { FleetResult, PayloadInput } from '../../src/fleet/payload.ts'
import { Purse } from '../../src/fleet/purse.ts'
import { all, answer, MODEL, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const perMinute = (amount: number): Limit => ({
  algorithm: 'token_bucket',
  dimension: 'requests',
  amount,
  windowMs: 60_000,
  source: 'configured',
})

const DAY_MS = 86_400_000

const perDay = (amount: number): Limit => ({
  algorithm: 'token_bucket',
  dimension: 'tokens',
  amount,
  windowMs: DAY_MS,
  source: 'configured',
})

const idsOf = (results: readonly FleetResult[]): string[] =>
  results.flatMap((result) => ('id' in result ? [result.id] : []))

const timeout = (afterMs: number): Reply => ({
  kind: 'failure',
  failure: 'timeout',
  afterMs,
  billed: null,
})

describe('payloads and results', () => {
  it('gives each payload its answer, its tokens and its price, whatever form it was written in', async () => {
    const job = new VirtualJob({ script: () => answer(1000, 10, 20) })
    const [params] = payloads(1)
    if (!params) throw new Error('there is one')
    const inputs: PayloadInput[] = [
      params,
      { params },
      { id: 'mine', params },
      { custom_id: 'b', params },
    ]
    const results = await job.resultsOf(inputs)
    expect(idsOf(results)).toEqual(['0', '1', 'mine', 'b'])
    expect(results[2]).toEqual({
      kind: 'answered',
      id: 'mine',
      index: 2,
      attempts: 1,
      latencyMs: expect.closeTo(1000, 3),
      tokens: { input: 10, cacheRead: 0, cacheWrite: 0, output: 20 },
      costNanoUsd: 330_000,
      costUsd: 0.00033,
      response: expect.objectContaining({ type: 'message' }),
    })
  })

  it('says of each bad payload what is wrong, and sends the others', async () => {
    const job = new VirtualJob({ script: () => answer(10) })
    const [good] = payloads(1)
    if (!good) throw new Error('there is one')
    const inputs = JSON.parse(
      JSON.stringify([
        { model: MODEL, messages: [] },
        'hello',
        { id: 'x', params: { model: '' } },
        good,
      ]),
    )
    const results = await job.resultsOf(inputs)
    const told = results.map((result) =>
      result.kind === 'failed' ? result.error.message : result.kind,
    )
    expect(told.sort()).toEqual([
      'This payload was not sent: it is no object.',
      'This payload was not sent: max_tokens is no whole number.',
      'This payload was not sent: model is empty; max_tokens is no whole number; messages is no list.',
      'answered',
    ])
    expect(job.sentAt).toHaveLength(1)
  })

  it('gives results as they are ready, or as payloads came', async () => {
    const script = ({ max_tokens }: { max_tokens: number }) => answer(max_tokens)
    const inputs = [300, 200, 100].flatMap((max_tokens) => payloads(1, { max_tokens }))
    const ready = await new VirtualJob({ script }).resultsOf(inputs)
    const inOrder = await new VirtualJob({ script, run: { order: 'submission' } }).resultsOf(inputs)
    expect(idsOf(ready)).toEqual(['2', '1', '0'])
    expect(idsOf(inOrder)).toEqual(['0', '1', '2'])
  })

  it('gives them in order even where the first of them is tried again and again', async () => {
    const isFirst = ({ messages }: { messages: readonly unknown[] }) =>
      JSON.stringify(messages).includes('prompt 0"')
    let tries = 0
    const job = new VirtualJob({
      script: (params) => (isFirst(params) && tries++ < 3 ? timeout(100) : answer(100)),
      run: { order: 'submission', maxInFlight: 2 },
    })
    const results = await job.resultsOf(payloads(20))
    expect(idsOf(results)).toEqual(Array.from({ length: 20 }, (_, index) => String(index)))
    expect(results[0]).toMatchObject({ kind: 'answered', attempts: 4 })
  })

  it('takes no more from its source than are under way, and waits for a slow reader', async () => {
    let taken = 0
    function* source() {
      for (const payload of payloads(200)) {
        taken++
        yield payload
      }
    }
    const job = new VirtualJob({ script: () => answer(50), run: { maxInFlight: 5 } })
    const read = async (): Promise<number> => {
      let count = 0
      let furthest = 0
      for await (const _ of job.run(source()).results(null)) {
        await new Promise<void>((resolve) => job.clock.schedule(job.clock.now() + 1000, resolve))
        furthest = Math.max(furthest, taken - ++count)
      }
      expect(count).toBe(200)
      return furthest
    }
    // One is in the reader's hands, and one may have been taken for the next place.
    expect(await job.drive(read())).toBeLessThanOrEqual(5 + 2)
    expect(job.mostInFlight).toBe(5)
  })

  it('finishes what it has taken before it throws what its source throws', async () => {
    const job = new VirtualJob({ script: () => answer(500) })
    function* source() {
      yield* payloads(3)
      throw new Error('the file is gone')
    }
    const results: FleetResult[] = []
    const read = async () => {
      for await (const result of job.run(source()).results(null)) results.push(result)
    }
    await expect(job.drive(read())).rejects.toThrow('the file is gone')
    expect(results).toHaveLength(3)
  })

  it('ends what is under way, and its source, when nobody reads any more', async () => {
    let isReturned = false
    function* source() {
      try {
        yield* payloads(100)
      } finally {
        isReturned = true
      }
    }
    const job = new VirtualJob({
      script: (_, nth) => answer(nth === 0 ? 10 : 100_000),
      run: { maxInFlight: 8 },
    })
    const read = async () => {
      for await (const _ of job.run(source()).results(null)) break
    }
    await job.drive(read())
    expect({ isReturned, inFlight: job.inFlight, left: job.dispatcher.size }).toEqual({
      isReturned: true,
      inFlight: 0,
      left: 0,
    })
  })

  it('ends the job with what a listener throws', async () => {
    const job = new VirtualJob({
      script: () => timeout(10),
      run: {
        onEvent: ({ kind }) => {
          if (kind === 'attempt_failed') throw new Error('the log is full')
        },
      },
    })
    await expect(job.resultsOf(payloads(10))).rejects.toThrow('the log is full')
    expect({ inFlight: job.inFlight, left: job.dispatcher.size }).toEqual({ inFlight: 0, left: 0 })
  })

  it('throws the reason of a signal at once', async () => {
    const job = new VirtualJob({ script: () => answer(100_000), limits: [perMinute(2)] })
    const controller = new AbortController()
    const reading = all(job.run(payloads(10)).results(controller.signal))
    job.clock.schedule(job.clock.now() + 1000, () => controller.abort(new Error('enough')))
    await expect(job.drive(reading)).rejects.toThrow('enough')
    expect({ inFlight: job.inFlight, left: job.dispatcher.size }).toEqual({ inFlight: 0, left: 0 })
  })
})

describe('what was under way when a job was left', () => {
  it('counts at its worst, and what stood in line costs nothing', async () => {
    const job = new VirtualJob({ script: () => answer(100_000), limits: [perMinute(2)] })
    const purse = new Purse(1e9)
    const controller = new AbortController()
    const reading = all(job.run(payloads(10), { purse }).results(controller.signal))
    job.clock.schedule(job.clock.now() + 1000, () => controller.abort(new Error('enough')))
    await expect(job.drive(reading)).rejects.toThrow('enough')
    expect(job.sentAt).toHaveLength(2)
    const first = new Purse(Number.POSITIVE_INFINITY)
    const alone = new VirtualJob({ script: () => answer(100_000), limits: [perMinute(2)] })
    const leaving = new AbortController()
    const one = all(alone.run(payloads(1), { purse: first }).results(leaving.signal))
    alone.clock.schedule(alone.clock.now() + 1000, () => leaving.abort(new Error('enough')))
    await expect(alone.drive(one)).rejects.toThrow('enough')
    expect(first.spent).toBeGreaterThan(0)
    expect([purse.spent, purse.hasSetAside]).toEqual([2 * first.spent, false])
  })
})

describe('how many are under way', () => {
  it('follows the rate of the limits and the latency of answers, and tells the arithmetic', async () => {
    const job = new VirtualJob({ limits: [perMinute(372)], script: () => answer(4000) })
    const results = await job.resultsOf(payloads(3000))
    expect(results.filter(({ kind }) => kind === 'answered')).toHaveLength(3000)
    const tookMs = job.clock.now() - (job.sentAt[0] ?? 0)
    const leastMs = ((3000 - 372) / 372) * 60_000 + 4000
    expect(tookMs).toBeLessThan(leastMs * 1.03)
    const told = job.eventsOf('in_flight')
    expect(told[0]).toMatchObject({ chosen: 8, because: 'nothing is measured yet' })
    expect(told.at(-1)?.because).toMatch(
      /^rate 6\.\d\/s × latency 4\.0 s = 2[4-7]\.\d; 3 more in line$/,
    )
    expect(told.at(-1)?.chosen).toBeGreaterThanOrEqual(28)
    expect(told.at(-1)?.chosen).toBeLessThanOrEqual(31)
    // Few changes: nobody wants a line for every answer.
    expect(told.length).toBeLessThan(20)
  })

  it('is no more than the slots there are, and a few in line', async () => {
    const slots: Limit = {
      algorithm: 'concurrency',
      dimension: 'concurrency',
      amount: 10,
      source: 'configured',
    }
    const job = new VirtualJob({ limits: [perMinute(6000), slots], script: () => answer(2000) })
    await job.resultsOf(payloads(300))
    expect(job.mostInFlight).toBe(10)
    expect(job.eventsOf('in_flight').at(-1)).toMatchObject({
      chosen: 12,
      because: expect.stringMatching(/, but 10 at once are the most; 2 more in line$/),
    })
  })

  it('grows while answers come where no limit is known', async () => {
    const job = new VirtualJob({ script: () => answer(1500) })
    await job.resultsOf(payloads(400))
    expect(job.eventsOf('in_flight').map(({ chosen }) => chosen)).toEqual([8, 16, 32, 64])
  })
})

describe('two jobs in one line', () => {
  it('share turns by their weights', async () => {
    const job = new VirtualJob({ limits: [perMinute(60)], script: () => answer(500) })
    const terms = { apiKey: 'key', base: null, lane: 'low' } as const
    const counts = { light: 0, heavy: 0 }
    const stop = new AbortController()
    const work = async (flow: 'light' | 'heavy', weight: number): Promise<void> => {
      const run = job.run(payloads(5000), { terms: { ...terms, flow, weight } })
      for await (const _ of run.results(stop.signal)) counts[flow]++
    }
    // The burst of the first minute goes to whoever is there.
    job.clock.schedule(job.clock.now() + 60 * 60_000, () =>
      stop.abort(new Error('an hour is over')),
    )
    const both = Promise.all([work('light', 1), work('heavy', 2)])
    await expect(job.drive(both)).rejects.toThrow('an hour is over')
    expect(counts.light + counts.heavy).toBeGreaterThan(3500)
    expect(counts.heavy / counts.light).toBeGreaterThan(1.85)
    expect(counts.heavy / counts.light).toBeLessThan(2.15)
  })
})

describe('trying again', () => {
  it('tries each payload so often, and tells what each attempt cost', async () => {
    const job = new VirtualJob({
      script: () => timeout(1000),
      retries: { perPayload: 2, perMinute: 100 },
    })
    const [result] = await job.resultsOf(payloads(1))
    const worst = result?.kind === 'failed' ? (result.costNanoUsd ?? 0) / 3 : 0
    expect(result).toMatchObject({
      kind: 'failed',
      attempts: 3,
      error: { status: null, type: 'upstream_timeout', isRetryable: true },
    })
    // 100 tokens of output, and no more tokens of input than bytes.
    expect(worst).toBeGreaterThan(100 * 15_000)
    expect(worst).toBeLessThan(100 * 15_000 + 100 * 3000)
    expect(job.eventsOf('attempt_failed').map(({ retryAt }) => retryAt !== null)).toEqual([
      true,
      true,
      false,
    ])
    expect(job.eventsOf('attempt_failed').map(({ costNanoUsd }) => costNanoUsd)).toEqual([
      worst,
      worst,
      worst,
    ])
  })

  it('does not try again what cannot succeed', async () => {
    const script = (): Reply => ({
      kind: 'error',
      afterMs: 10,
      status: 401,
      type: 'authentication_error',
    })
    const [result] = await new VirtualJob({ script }).resultsOf(payloads(1))
    expect(result).toMatchObject({
      kind: 'failed',
      attempts: 1,
      costNanoUsd: 0,
      error: {
        status: 401,
        type: 'authentication_error',
        message: 'this is an authentication_error',
        isRetryable: false,
      },
    })
  })

  it('shares its retries of a minute: what finds none waits, and nothing is lost', async () => {
    const failed = new Set<string>()
    const job = new VirtualJob({
      script: ({ messages }) => {
        const key = JSON.stringify(messages)
        if (failed.has(key)) return answer(100)
        failed.add(key)
        return timeout(100)
      },
      retries: { perPayload: 3, perMinute: 5 },
      run: { maxInFlight: 50 },
    })
    const results = await job.resultsOf(payloads(23))
    expect(results.map(({ kind }) => kind)).toEqual(Array(23).fill('answered'))
    // Five of twenty-three in each minute: the last ones in the fifth.
    const [first = 0, ...others] = job.sentAt.slice(23)
    const last = (others.at(-1) ?? 0) - first
    expect(last).toBeGreaterThan(4 * 60_000 - 2000)
    expect(last).toBeLessThan(4 * 60_000 + 2000)
    expect(job.eventsOf('held').every(({ by }) => by === 'retries')).toBe(true)
    expect(job.eventsOf('held')).toHaveLength(18)
  })
})

describe('long windows', () => {
  const tokens = () => answer(1000, 100, 100)

  it('are waited for', async () => {
    const job = new VirtualJob({ limits: [perDay(2000)], script: tokens })
    const results = await job.resultsOf(payloads(20))
    expect(results.filter(({ kind }) => kind === 'answered')).toHaveLength(20)
    expect(job.clock.now() - (job.sentAt[0] ?? 0)).toBeGreaterThan(0.7 * DAY_MS)
  })

  it('end the job when it is told to stop, with what binds and when to go on', async () => {
    const job = new VirtualJob({
      limits: [perDay(2000)],
      script: tokens,
      run: { longWindows: 'stop', maxInFlight: 4 },
    })
    const results = await job.resultsOf(payloads(20))
    const last = results.at(-1)
    expect(last).toMatchObject({ kind: 'quota_exhausted', limit: '2000 tokens per 86400 s' })
    const answered = results.filter(({ kind }) => kind === 'answered')
    // Each takes two hundred; how many that makes depends on what it was taken for before.
    expect(answered.length).toBeGreaterThanOrEqual(6)
    expect(answered).toHaveLength(results.length - 1)
    expect(job.sentAt).toHaveLength(answered.length)
    expect(job.clock.now() - (job.sentAt[0] ?? 0)).toBeLessThan(60_000)
    const waits = last?.kind === 'quota_exhausted' ? last.resumeAt - job.clock.now() : 0
    expect(waits).toBeGreaterThan(0)
    expect(waits).toBeLessThan(DAY_MS)
    expect(job.dispatcher.size).toBe(0)
  })

  it('last to the end of a job that keeps a pace', async () => {
    const job = new VirtualJob({
      limits: [perDay(2000)],
      script: tokens,
      run: { longWindows: 'pace', count: 20, maxInFlight: 1 },
    })
    const results = await job.resultsOf(payloads(20))
    expect(results.filter(({ kind }) => kind === 'answered')).toHaveLength(20)
    const gaps = job.sentAt.slice(2).map((at, index) => at - (job.sentAt[index + 1] ?? 0))
    // 4000 tokens, of which 2000 are there: a day, in nineteen steps.
    const evenly = DAY_MS / 19
    expect(Math.min(...gaps)).toBeGreaterThan(evenly * 0.85)
    expect(Math.max(...gaps)).toBeLessThan(evenly * 1.25)
    const held = job.eventsOf('held')
    expect(held.length).toBeGreaterThanOrEqual(15)
    expect(new Set(held.map(({ by }) => by))).toEqual(new Set(['pace']))
  })
})
