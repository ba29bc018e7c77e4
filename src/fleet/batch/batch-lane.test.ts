import { afterEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../core/clock.ts'
import { seededRandom } from '../../core/random.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from '../../emulator/emulator.ts'
import { costOf, Prices } from '../../ledger/prices.ts'
import type { Call, CallAnswer } from './batch-api.ts'
import { BatchLane, type BatchRun } from './batch-lane.ts'
import {
  type BatchEvent,
  type BatchJournal,
  BatchOutOfReach,
  type PendingBatch,
} from './batch-record.ts'
import type { BatchResult } from './batch-result.ts'
import type { BatchSize, PlacedPayload } from './draft.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const MODEL = 'claude-sonnet-5'

/** A token's cost is a whole number of nano-dollars, also at half the price. */
const PRICES = new Prices([{ match: 'claude-sonnet-*', input: 2_000_000, output: 10_000_000 }])

/** What happens to a call before it is sent, or instead; it may send it first. */
type Trouble = (
  method: string,
  path: string,
  send: () => Promise<CallAnswer>,
) => Promise<CallAnswer> | null

const running: Emulator[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((emulator) => emulator.close()))
})

/** A lane and an emulator on one virtual clock. It moves on when nothing is under way between them. */
async function open(settings: EmulatorOptions = {}, size: Partial<BatchSize> = {}) {
  const clock = new VirtualClock(1_800_000_000_000)
  const emulator = await startEmulator({ clock, random: seededRandom(5), settings })
  running.push(emulator)
  const calls: { readonly call: string; readonly at: number }[] = []
  const events: BatchEvent[] = []
  const journal = new MemoryJournal()
  let underWay = 0
  let trouble: Trouble = () => null

  const send = async (method: string, path: string, body: Buffer | null): Promise<CallAnswer> => {
    const answer = await fetch(emulator.url + path, {
      method,
      headers: { 'x-api-key': 'k' },
      ...(body && { body: new Uint8Array(body) }),
    })
    const bytes = new Uint8Array(await answer.arrayBuffer())
    return answerOf(answer.status, bytes, Object.fromEntries(answer.headers))
  }
  const call: Call = async (method, path, body) => {
    calls.push({ call: `${method} ${path.replace(/msgbatch_\w+/, ':id')}`, at: clock.now() })
    underWay++
    try {
      const sent = () => send(method, path, body)
      return await (trouble(method, path, sent) ?? sent())
    } finally {
      underWay--
    }
  }
  const lane = new BatchLane({
    call,
    clock,
    random: seededRandom(9),
    prices: PRICES,
    size,
    onEvent: (event) => events.push(event),
  })

  /** Lets time pass until the promise is settled. */
  async function settled<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const end = (): void => {
      isSettled = true
    }
    promise.then(end, end)
    while (!isSettled) {
      await new Promise((resolve) => setImmediate(resolve))
      if (underWay === 0 && !isSettled) clock.step()
    }
    return promise
  }
  const dispatch = (payloads: readonly PlacedPayload[], run: Partial<BatchRun> = {}) =>
    lane.dispatch(payloads, { journal, ...run })
  const results = (payloads: readonly PlacedPayload[], run: Partial<BatchRun> = {}) =>
    settled(gathered(dispatch(payloads, run)))
  return {
    clock,
    lane,
    emulator,
    calls,
    events,
    journal,
    dispatch,
    results,
    settled,
    meet: (next: Trouble) => {
      trouble = next
    },
    madeBatches: () => calls.filter((it) => it.call === CREATE).length,
  }
}

const CREATE = 'POST /v1/messages/batches'

class MemoryJournal implements BatchJournal {
  readonly lines: string[] = []
  readonly pending = new Map<number, PendingBatch>()

  async submitting(batch: PendingBatch): Promise<void> {
    this.#write('submitting', batch)
  }

  async submitted(batch: PendingBatch): Promise<void> {
    this.#write('submitted', batch)
  }

  async ended(batch: PendingBatch): Promise<void> {
    this.#write('ended', batch)
    this.pending.delete(batch.sentAt)
  }

  #write(what: string, batch: PendingBatch): void {
    this.lines.push(`${what} ${batch.payloads.length}`)
    this.pending.set(batch.sentAt, batch)
  }
}

function answerOf(status: number, bytes: Uint8Array, headers = {}): CallAnswer {
  async function* body() {
    yield bytes
  }
  return { status, headers, body: body() }
}

const refusal = async (status: number, type = 'api_error'): Promise<CallAnswer> =>
  answerOf(status, Buffer.from(JSON.stringify({ error: { type, message: 'no' } })))

const payload = (index: number, text = '', id = `row ${index}`): PlacedPayload => ({
  id,
  index,
  params: {
    model: MODEL,
    max_tokens: 100,
    messages: [{ role: 'user', content: `Row ${index} ${text}` }],
  },
})

const some = (count: number): PlacedPayload[] =>
  Array.from({ length: count }, (_, index) => payload(index))

const indexes = (results: readonly BatchResult[]): number[] =>
  results.map(({ index }) => index).sort((a, b) => a - b)

const reasons = (results: readonly BatchResult[]) =>
  Object.fromEntries(
    results.map((result) => [
      result.index,
      result.kind === 'answered' ? 'answered' : [result.error.type, result.error.isRetryable],
    ]),
  )

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** What the provider would charge, by its own report. */
const billed = ({ bills }: ReturnType<Emulator['report']>): number =>
  bills.reduce((sum, { model, serviceTier, ...tokens }) => {
    const price = PRICES.priceOf('anthropic', model, 0)
    if (!price) throw new Error(`no price for ${model}`)
    return sum + costOf(price, tokens, { isBatch: serviceTier === 'batch' })
  }, 0)

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
      { ...payload(3), params: { ...payload(3).params, max_tokens: 0 } },
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
    const unpriced = { ...payload(0), params: { ...payload(0).params, model: 'claude-opus-99' } }
    expect(await results([unpriced])).toMatchObject([
      {
        kind: 'answered',
        costNanoUsd: null,
        costUsd: null,
        tokens: { output: expect.any(Number) },
      },
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

describe('trouble', () => {
  it('with an answer that got lost makes no second batch', async () => {
    const { results, meet, emulator, madeBatches } = await open()
    let lost = 0
    meet((method, path, send) => {
      if (method !== 'POST' || path.endsWith('/cancel') || lost++ > 0) return null
      return send().then(() => Promise.reject(new Error('socket hang up')))
    })
    expect(indexes(await results(some(5)))).toEqual(upTo(5))
    expect(madeBatches()).toBe(1)
    expect(emulator.report().totals.batchRequests).toBe(5)
  })

  it('that let nothing through is outlasted', async () => {
    const { results, meet, events, emulator, madeBatches } = await open()
    let failures = 0
    meet((method) => {
      if (failures >= 4) return null
      failures++
      return method === 'POST' ? refusal(500) : refusal(529, 'overloaded_error')
    })
    expect(indexes(await results(some(5)))).toEqual(upTo(5))
    expect(emulator.report().totals.batchRequests).toBe(5)
    expect(madeBatches()).toBe(2)
    const delays = events.filter((event) => event.kind === 'batch_delayed')
    expect(delays.map(({ error }) => error.type)).toEqual([
      'api_error',
      'overloaded_error',
      'overloaded_error',
      'overloaded_error',
    ])
  })

  it('that lasts is given up, with the reason', async () => {
    const { results, meet, clock } = await open()
    const startedAt = clock.now()
    meet(() => Promise.reject(new Error('connect ECONNREFUSED')))
    expect(await results(some(2))).toMatchObject(
      upTo(2).map((index) => ({
        index,
        kind: 'failed',
        batchId: null,
        error: { type: 'no_answer', message: 'connect ECONNREFUSED', isRetryable: true },
      })),
    )
    expect(clock.now() - startedAt).toBeGreaterThan(HOUR_MS / 2)
    expect(clock.now() - startedAt).toBeLessThan(2 * HOUR_MS)
  })

  it('of a full queue is waited out', async () => {
    const { results, events, emulator } = await open(
      { batchQueue: 10, batchMs: 3 * HOUR_MS },
      { requests: 10 },
    )
    expect(indexes(await results(some(30)))).toEqual(upTo(30))
    expect(emulator.report().totals.batchRequests).toBe(30)
    const delays = events.filter((event) => event.kind === 'batch_delayed')
    expect(new Set(delays.map(({ error }) => error.type))).toEqual(new Set(['rate_limit_error']))
  })

  it('while results are read gives none twice and leaves none out', async () => {
    const { results, meet } = await open()
    let reads = 0
    meet((_method, path, send) => {
      if (!path.endsWith('/results') || ++reads > 3) return null
      return send().then((answer) => ({ ...answer, body: cutShort(answer.body, reads / 4) }))
    })
    expect(indexes(await results(some(40)))).toEqual(upTo(40))
    expect(reads).toBe(4)
  })

  it.each(upTo(12))(
    'of any kind loses no payload, and pays for none twice (seed %i)',
    async (seed) => {
      const { results, meet, emulator } = await open({}, { requests: 7 })
      const random = seededRandom(seed)
      meet((_method, _path, send) => {
        const drawn = random()
        if (drawn < 0.1) return Promise.reject(new Error('connect ECONNREFUSED'))
        if (drawn < 0.2) return refusal(500)
        if (drawn < 0.25) return refusal(429, 'rate_limit_error')
        if (drawn < 0.35) return send().then(() => Promise.reject(new Error('socket hang up')))
        if (drawn < 0.45)
          return send().then((answer) => ({ ...answer, body: cutShort(answer.body, random()) }))
        return null
      })
      const given = await results(some(40))
      expect(indexes(given)).toEqual(upTo(40))
      expect(given.every(({ kind }) => kind === 'answered')).toBe(true)
      expect(emulator.report().totals.batchRequests).toBe(40)
    },
  )

  it('with the key fails what was not sent, with the provider’s reason', async () => {
    const { results, meet } = await open({}, { requests: 2 })
    meet(() => refusal(401, 'authentication_error'))
    const failures = await results(some(3))
    expect(failures.map((it) => it.kind === 'failed' && it.error)).toEqual(
      upTo(3).map(() => ({
        status: 401,
        type: 'authentication_error',
        message: 'no',
        isRetryable: false,
      })),
    )
  })

  it('with the key keeps what was sent', async () => {
    const { results, meet, journal } = await open()
    meet((method) => (method === 'GET' ? refusal(401, 'authentication_error') : null))
    const failure = await results(some(3)).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(BatchOutOfReach)
    expect(failure).toMatchObject({ code: 'batch_out_of_reach', status: 401 })
    meet(() => null)
    const pending = [...journal.pending.values()]
    expect(indexes(await results([], { pending }))).toEqual(upTo(3))
  })

  it('with the key keeps what may have been sent', async () => {
    const { results, meet, journal, madeBatches } = await open()
    meet((method, _path, send) =>
      method === 'GET'
        ? refusal(401, 'authentication_error')
        : send().then(() => Promise.reject(new Error('socket hang up'))),
    )
    await expect(results(some(3))).rejects.toMatchObject({ batchId: null, status: 401 })
    meet(() => null)
    const pending = [...journal.pending.values()]
    expect(indexes(await results([], { pending }))).toEqual(upTo(3))
    expect(madeBatches()).toBe(1)
  })

  it('of a batch that is gone leaves a reason for each payload', async () => {
    const { results, meet } = await open()
    meet((method) => (method === 'GET' ? refusal(404, 'not_found_error') : null))
    const lost = await results(some(2))
    expect(reasons(lost)).toEqual({ 0: ['batch_gone', true], 1: ['batch_gone', true] })
    expect(lost.map(({ costNanoUsd }) => costNanoUsd)).toEqual([null, null])
  })

  it('with single results leaves a reason for those', async () => {
    const { results, meet } = await open()
    meet((_method, path, send) => {
      if (!path.endsWith('/results')) return null
      return send().then((answer) => ({ ...answer, body: firstLineSpoilt(answer.body) }))
    })
    const given = await results(some(3))
    expect(indexes(given)).toEqual(upTo(3))
    const failed = given.filter(({ kind }) => kind === 'failed')
    expect(failed).toMatchObject([
      { costNanoUsd: null, error: { type: 'batch_without_result', isRetryable: true } },
    ])
  })
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
})

describe('a job that was stopped', () => {
  it('goes on with the batches that it had sent', async () => {
    const { dispatch, results, settled, journal, emulator } = await open(
      { batchMs: HOUR_MS },
      { requests: 4 },
    )
    const first = dispatch(some(10))
    const { value } = await settled(first.next())
    await first.return(undefined)
    const pending = [...journal.pending.values()]
    expect(pending.map(({ payloads }) => payloads.length)).toEqual([4, 4, 2])
    const rest = await results([payload(10)], { pending })
    // The journal says whole batches, so what was taken before comes once more.
    expect(indexes(rest)).toEqual(upTo(11))
    expect(rest.find(({ index }) => index === value?.index)).toMatchObject({ kind: 'answered' })
    expect(emulator.report().totals.batchRequests).toBe(11)
    expect(journal.pending.size).toBe(0)
  })

  it('finds the batch whose creation it did not live to see', async () => {
    const { results, journal, emulator, madeBatches } = await open()
    const killed: BatchJournal = {
      submitting: (batch) => journal.submitting(batch),
      submitted: () => Promise.reject(new Error('killed')),
      ended: (batch) => journal.ended(batch),
    }
    await expect(results(some(3), { journal: killed })).rejects.toThrow('killed')
    const pending = [...journal.pending.values()]
    expect(pending).toMatchObject([{ batchId: null, size: 3 }])
    expect(indexes(await results([], { pending }))).toEqual(upTo(3))
    expect(madeBatches()).toBe(1)
    expect(emulator.report().totals.batchRequests).toBe(3)
  })

  it('does not take another batch for it, and says what was not sent', async () => {
    const { results, clock } = await open()
    await results(some(2))
    const pending = [{ batchId: null, payloads: [payload(7)], size: 1, sentAt: clock.now() }]
    expect(await results([], { pending })).toMatchObject([
      { index: 7, costNanoUsd: 0, error: { type: 'batch_not_submitted', isRetryable: true } },
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
    const pending = [...journal.pending.values()]
    expect(indexes(await results([], { pending }))).toEqual(upTo(3))
    expect(emulator.report().totals.batchRequests).toBe(3)
  })

  it('cancels them only when it is told to, and what was processed is still there', async () => {
    const { results, clock, journal, settled, emulator } = await open({ batchMs: HOUR_MS })
    const stop = new AbortController()
    const run = { signal: stop.signal, cancelOnAbort: true }
    const stopped = results(some(4), run).catch((error: unknown) => error)
    const halfTime = clock.now() + HOUR_MS / 2
    await settled(until(() => clock.now() >= halfTime))
    stop.abort()
    expect(await stopped).toBe(stop.signal.reason)
    const rest = await results([], { pending: [...journal.pending.values()] })
    expect(Object.values(reasons(rest)).map(String).sort()).toEqual([
      'answered',
      'answered',
      'batch_canceled,true',
      'batch_canceled,true',
    ])
    expect(emulator.report().totals.batchRequests).toBe(2)
  })

  it('that came before takes nothing from the source, and calls nobody', async () => {
    const { lane, journal, calls } = await open()
    const stop = new AbortController()
    stop.abort()
    let taken = 0
    function* source() {
      for (const one of some(3)) {
        taken++
        yield one
      }
    }
    const results = lane.dispatch(source(), { journal, signal: stop.signal })
    await expect(results.next()).rejects.toBe(stop.signal.reason)
    expect([taken, calls.length]).toEqual([0, 0])
  })
})

async function* cutShort(body: AsyncIterable<Uint8Array>, share: number) {
  for await (const bytes of body) yield bytes.subarray(0, Math.floor(bytes.length * share))
  throw new Error('socket hang up')
}

async function* firstLineSpoilt(body: AsyncIterable<Uint8Array>) {
  for await (const bytes of body) yield Buffer.from(`{${Buffer.from(bytes).toString()}`)
}

async function gathered<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Looks again on every turn of the event loop; the test's own time limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
