// What goes as batches, on virtual time, up to the emulator: one result each, when batches are looked at, and what
// the journal hears.
import { afterEach, describe, expect, it } from 'vitest'
import type { Emulator } from '../../src/emulator/emulator.ts'
import type { BatchJournal } from '../../src/fleet/batch/batch-record.ts'
import { costOf } from '../../src/ledger/prices.ts'
import {
  CREATE,
  closeEmulators,
  HOUR_MS,
  indexes,
  MINUTE_MS,
  open,
  PRICES,
  payload,
  reasons,
  refusal,
  retold,
  some,
  until,
  upTo,
} from './virtual-batches.ts'

afterEach(closeEmulators)

/** What the provider would charge, by its own report. */
const billed = ({ bills }: ReturnType<Emulator['report']>): number =>
  bills.reduce((sum, { model, serviceTier, ...tokens }) => {
    const price = PRICES.priceOf('anthropic', model, 0)
    if (!price) throw new Error(`no price for ${model}`)
    return sum + costOf(price, tokens, { isBatch: serviceTier === 'batch' })
  }, 0)

const withoutUsage = (text: string): string =>
  text.replace(/"input_tokens":\d+/g, '"input_tokens":-1')

describe('a job', () => {
  it('gets one answer for each payload, at half the price', async () => {
    const { results, emulator, madeBatches } = await open({}, { requests: 10 })
    const answers = await results(some(25))
    expect(indexes(answers)).toEqual(upTo(25))
    expect(madeBatches()).toBe(3)
    const cost = answers.reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? Number.NaN), 0)
    expect(cost).toBe(billed(emulator.report()))
    expect(emulator.report().totals).toMatchObject({ requests: 0, batchRequests: 25 })
    expect(answers[0]).toMatchObject({
      kind: 'answered',
      via: 'batch',
      batchId: expect.stringMatching(/^msgbatch_/),
      attempts: 1,
      response: { type: 'message', usage: { service_tier: 'batch' } },
    })
    const [first] = answers
    expect(first?.id).toBe(`row ${first?.index}`)
    expect(first?.costUsd).toBe((first?.costNanoUsd ?? 0) / 1e9)
    expect(first?.latencyMs).toBeGreaterThanOrEqual(MINUTE_MS)
  })

  it('says what became of every other payload, and that it cost nothing', async () => {
    const { results } = await open({ batchExpiryMs: 2 * MINUTE_MS })
    const failing = await results([
      payload(0),
      payload(1, '[[emulate fault=batch-error]]'),
      payload(2, '[[emulate fault=batch-expiry]]'),
      payload(3, '', 'row 3', { max_tokens: 0 }),
    ])
    expect(reasons(failing)).toEqual({
      0: 'answered',
      1: ['api_error', true],
      2: ['batch_expired', true],
      3: ['invalid_request_error', false],
    })
    const costs = failing.filter(({ kind }) => kind === 'failed').map((it) => it.costNanoUsd)
    expect(costs).toEqual([0, 0, 0])
  })

  it('whose prices are not known has costs that are not known', async () => {
    const { results } = await open()
    const unpriced = payload(0, '', 'row 0', { model: 'claude-opus-99' })
    expect(await results([unpriced])).toMatchObject([
      {
        kind: 'answered',
        costNanoUsd: null,
        costUsd: null,
        tokens: { output: expect.any(Number) },
      },
    ])
  })

  it.each([
    [false, 2],
    [true, 0],
  ])(
    'whose first batch ends last has its results in order, if it asks for that: %s',
    async (inOrder, position) => {
      const { results, meet } = await open({}, { requests: 1 })
      const path: string[] = []
      meet((_method, asked) => {
        if (!asked.includes('/msgbatch_')) return null
        path.push(asked)
        const looksAtFirst = path.filter((it) => it === path[0]).length
        return asked === path[0] && looksAtFirst <= 6 ? refusal(500) : null
      })
      const order = (await results(some(3), { inOrder })).map(({ index }) => index)
      expect(order.indexOf(0)).toBe(position)
    },
  )

  it('that is not told what an answer has used counts the most that it can have been', async () => {
    const { results, meet } = await open()
    meet((_method, path, send) =>
      path.endsWith('/results') ? send().then((answer) => retold(answer, withoutUsage)) : null,
    )
    const told = await results([{ ...payload(0), worstNanoUsd: 7_000 }])
    expect(told.map(({ tokens, costNanoUsd, costUsd }) => [tokens, costNanoUsd, costUsd])).toEqual([
      [null, 7_000, 0.000_007],
    ])
  })

  it('that another model has answered, of no known price, counts the most that it can have been', async () => {
    const { results, meet } = await open()
    const other = (text: string): string => text.replaceAll('claude-sonnet-5', 'claude-opus-99')
    meet((_method, path, send) =>
      path.endsWith('/results') ? send().then((answer) => retold(answer, other)) : null,
    )
    expect(await results([{ ...payload(0), worstNanoUsd: 7_000 }])).toMatchObject([
      { costNanoUsd: 7_000, costUsd: 0.000_007, tokens: { output: expect.any(Number) } },
    ])
  })

  it('of nothing needs no call', async () => {
    const { results, calls } = await open()
    expect(await results([])).toEqual([])
    expect(calls).toEqual([])
  })

  it('has few batches under way at once, and spares the provider', async () => {
    const { results, calls, emulator } = await open({ batchMs: HOUR_MS }, { requests: 1 })
    expect(indexes(await results(some(30)))).toEqual(upTo(30))
    const created = calls.filter(({ call }) => call === CREATE).map(({ at }) => at)
    const began = created[0] ?? 0
    expect(created.filter((at) => at < began + HOUR_MS)).toHaveLength(20)
    const minutes = emulator.report().minutes.map((minute) => minute.auxiliaryRequests)
    // A step every three seconds, and a step that ends a batch has two calls.
    expect(Math.max(...minutes)).toBeLessThanOrEqual(40)
  })
})

describe('looking', () => {
  it('becomes rarer with the age of a batch, and is never late by more than a part of it', async () => {
    const { results, calls, events } = await open({ batchMs: 2 * HOUR_MS })
    await results(some(3))
    const looks = calls.filter(({ call }) => call === 'GET /v1/messages/batches/:id')
    expect(looks.length).toBeLessThan(80)
    const gaps = looks.slice(1).map(({ at }, index) => at - (looks[index]?.at ?? 0))
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(10_000)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(6 * MINUTE_MS)
    const ended = events.find((event) => event.kind === 'batch_ended')
    expect(ended?.tookMs).toBeGreaterThanOrEqual(2 * HOUR_MS)
    expect(ended?.tookMs).toBeLessThan(2 * HOUR_MS + 6 * MINUTE_MS)
  })
})

it('gives two payloads of one id an answer each', async () => {
  const { results } = await open()
  const twins = [payload(0, '', 'twin'), payload(1, '', 'twin')]
  expect(reasons(await results(twins))).toEqual({ 0: 'answered', 1: 'answered' })
})

describe('the journal', () => {
  it('hears of a batch before it is sent, when it exists, and when all results were taken', async () => {
    const { dispatch, journal, calls, settled } = await open()
    const results = dispatch(some(2))
    await settled(results.next())
    expect(journal.lines).toEqual(['submitting 2', 'submitted 2'])
    await settled(results.next())
    expect(journal.lines).toHaveLength(2)
    await settled(results.next())
    expect(journal.lines.at(-1)).toBe('ended 2')
    expect(calls[0]?.call).toBe(CREATE)
  })

  it('that cannot write stops before anything is sent', async () => {
    const { results, journal, calls } = await open()
    const broken: BatchJournal = {
      submitting: () => Promise.reject(new Error('disk full')),
      submitted: (batch) => journal.submitted(batch),
      ended: (batch) => journal.ended(batch),
    }
    await expect(results(some(1), { journal: broken })).rejects.toThrow('disk full')
    expect(calls).toEqual([])
  })

  it('hears that the provider has no room, and of the next try', async () => {
    const { results, meet, journal } = await open()
    let refusals = 0
    meet((method) =>
      method === 'POST' && ++refusals <= 2 ? refusal(429, 'rate_limit_error') : null,
    )
    await results(some(2))
    expect(journal.lines).toEqual([
      ...['submitting 2', 'refused 2', 'submitting 2', 'refused 2', 'submitting 2'],
      ...['submitted 2', 'ended 2'],
    ])
  })
})

describe('an abort', () => {
  it('ends the iteration with its reason, and lets batches go on', async () => {
    const { results, journal, emulator, settled } = await open({ batchMs: HOUR_MS })
    const stop = new AbortController()
    const reason = new Error('enough')
    const stopped = results(some(3), { signal: stop.signal }).catch((error: unknown) => error)
    await settled(until(() => journal.lines.includes('submitted 3')))
    stop.abort(reason)
    expect(await stopped).toBe(reason)
    const pending = journal.pending
    expect(indexes(await results([], { pending }))).toEqual(upTo(3))
    expect(emulator.report().totals.batchRequests).toBe(3)
  })

  it('that came before takes nothing from the source, and calls nobody', async () => {
    const { dispatch, calls } = await open()
    const stop = new AbortController()
    stop.abort()
    let taken = 0
    function* source() {
      for (const one of some(3)) {
        taken++
        yield one
      }
    }
    const results = dispatch(source(), { signal: stop.signal })
    await expect(results.next()).rejects.toBe(stop.signal.reason)
    expect([taken, calls.length]).toEqual([0, 0])
  })
})
