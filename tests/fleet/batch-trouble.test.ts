// What the provider, or the way to it, may do to batches: on virtual time, up to the emulator.
import { afterEach, describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/core/random.ts'
import { BatchOutOfReach } from '../../src/fleet/batch/batch-record.ts'
import {
  closeEmulators,
  cutShort,
  HOUR_MS,
  indexes,
  open,
  payload,
  reasons,
  refusal,
  retold,
  some,
  upTo,
} from './virtual-batches.ts'

afterEach(closeEmulators)

describe('trouble', () => {
  it('with an answer that got lost makes no second batch', async () => {
    const { results, meet, emulator, madeBatches } = await open()
    let lost = 0
    meet((method, _path, send) => {
      if (method !== 'POST' || lost++ > 0) return null
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

  it('that lasts leaves a batch in doubt until it is known that there is none: nothing is paid for it', async () => {
    const { results, meet, clock, madeBatches } = await open()
    const backAt = clock.now() + 3 * HOUR_MS
    meet(() => (clock.now() < backAt ? Promise.reject(new Error('connect ECONNREFUSED')) : null))
    const given = await results([{ ...payload(0), worstNanoUsd: 500 }])
    expect(clock.now()).toBeGreaterThan(backAt)
    expect(madeBatches()).toBe(1)
    expect(reasons(given)).toEqual({ 0: ['batch_not_submitted', true] })
    expect(given.map(({ costNanoUsd }) => costNanoUsd)).toEqual([0])
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
    const pending = journal.pending
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
    const pending = journal.pending
    expect(indexes(await results([], { pending }))).toEqual(upTo(3))
    expect(madeBatches()).toBe(1)
  })

  it('of a batch that is not there keeps it: another key may find it', async () => {
    const { results, meet, journal } = await open()
    meet((method) => (method === 'GET' ? refusal(404, 'not_found_error') : null))
    await expect(results(some(2))).rejects.toMatchObject({ status: 404 })
    meet(() => null)
    expect(reasons(await results([], { pending: journal.pending }))).toEqual({
      0: 'answered',
      1: 'answered',
    })
  })

  it('of a batch that is not there after a month leaves a reason for each payload', async () => {
    const { results, clock, journal } = await open()
    const payloads = upTo(2).map((index) => ({ id: `row ${index}`, index, worstNanoUsd: 10 }))
    const sentAt = clock.now() - 30 * 24 * HOUR_MS
    const gone = { name: 'hg_old', batchId: 'msgbatch_old', payloads, size: 2, sentAt }
    const lost = await results([], { pending: [gone] })
    expect(reasons(lost)).toEqual({ 0: ['batch_gone', true], 1: ['batch_gone', true] })
    expect(lost.map(({ costNanoUsd }) => costNanoUsd)).toEqual([10, 10])
    expect(journal.lines).toEqual(['ended 2'])
  })

  it('with single results leaves a reason for those', async () => {
    const { results, meet } = await open()
    meet((_method, path, send) => {
      if (!path.endsWith('/results')) return null
      return send().then((answer) => retold(answer, (text) => `{${text}`))
    })
    const given = await results(some(3))
    expect(indexes(given)).toEqual(upTo(3))
    const failed = given.filter(({ kind }) => kind === 'failed')
    expect(failed).toMatchObject([
      { costNanoUsd: null, error: { type: 'batch_without_result', isRetryable: true } },
    ])
  })

  it('with what says that a batch was created makes no second one', async () => {
    const { results, meet, emulator, madeBatches } = await open()
    meet((method, _path, send) =>
      method === 'POST' ? send().then((answer) => retold(answer, () => '{"id":"msgb')) : null,
    )
    expect(indexes(await results(some(5)))).toEqual(upTo(5))
    expect(madeBatches()).toBe(1)
    expect(emulator.report().totals.batchRequests).toBe(5)
  })

  it('of results that end too early is made good', async () => {
    const { results, meet } = await open()
    let reads = 0
    meet((_method, path, send) => {
      if (!path.endsWith('/results') || ++reads > 3) return null
      return send().then((answer) => retold(answer, (text) => text.slice(0, reads * 1000)))
    })
    expect(Object.values(reasons(await results(some(20))))).toEqual(upTo(20).map(() => 'answered'))
    expect(reads).toBe(4)
  })

  it('of results that nobody asked for, or that come twice, changes nothing', async () => {
    const { results, meet } = await open()
    meet((_method, path, send) => {
      if (!path.endsWith('/results')) return null
      const more = (text: string): string =>
        text + text + text.replaceAll(/"custom_id":"(\w+)-/g, '"custom_id":"$1-9')
      return send().then((answer) => retold(answer, more))
    })
    const given = await results(some(10))
    expect(given.map(({ index }) => index).sort((a, b) => a - b)).toEqual(upTo(10))
  })

  it('of a batch that cannot be found for a while is waited out', async () => {
    const { results, meet } = await open()
    let looks = 0
    meet((method) => (method === 'GET' && ++looks <= 3 ? refusal(404, 'not_found_error') : null))
    expect(reasons(await results(some(2)))).toEqual({ 0: 'answered', 1: 'answered' })
  })

  it('of a batch that never ends is given up after two days', async () => {
    const { results, clock } = await open({ batchMs: 90 * HOUR_MS, batchExpiryMs: 100 * HOUR_MS })
    const startedAt = clock.now()
    const lost = await results([{ ...payload(0), worstNanoUsd: 500 }])
    expect(lost).toMatchObject([
      { costNanoUsd: 500, error: { type: 'batch_overdue', isRetryable: true } },
    ])
    expect(clock.now() - startedAt).toBeLessThan(49 * HOUR_MS)
  })

  it('that nothing comes about in costs nothing, when it lasts', async () => {
    const { results, meet, clock } = await open()
    const startedAt = clock.now()
    meet((method) => (method === 'POST' ? refusal(500) : null))
    expect(await results([{ ...payload(0), worstNanoUsd: 500 }])).toMatchObject([
      { costNanoUsd: 0, error: { type: 'api_error', isRetryable: true } },
    ])
    expect(clock.now() - startedAt).toBeLessThan(3 * HOUR_MS)
  })

  it.each([400, 403, 404, 413])(
    'with a batch says nothing of its requests (%i)',
    async (status) => {
      const { results, meet } = await open()
      meet(() => refusal(status, 'no_batches'))
      expect(await results(some(2))).toMatchObject(
        upTo(2).map((index) => ({
          index,
          costNanoUsd: 0,
          error: { status, type: 'no_batches', isRetryable: true },
        })),
      )
    },
  )

  it('of a queue that stays full gives payloads back after a day', async () => {
    const { results, meet, clock } = await open()
    const startedAt = clock.now()
    meet(() => refusal(429, 'rate_limit_error'))
    expect(await results(some(1))).toMatchObject([
      { costNanoUsd: 0, error: { type: 'rate_limit_error', isRetryable: true } },
    ])
    expect(clock.now() - startedAt).toBeGreaterThan(24 * HOUR_MS)
    expect(clock.now() - startedAt).toBeLessThan(25 * HOUR_MS)
  })

  it('of clocks that are minutes apart makes no second batch', async () => {
    const { results, meet, madeBatches } = await open()
    const earlier = (text: string): string =>
      text.replaceAll(/"created_at":"([^"]+)"/g, (_, at: string) => {
        const behind = new Date(Date.parse(at) - 150_000).toISOString()
        return `"created_at":"${behind}"`
      })
    meet((method, _path, send) =>
      method === 'POST'
        ? send().then(() => refusal(500))
        : send().then((answer) => retold(answer, earlier)),
    )
    expect(Object.values(reasons(await results(some(3))))).toEqual(upTo(3).map(() => 'answered'))
    expect(madeBatches()).toBe(1)
  })

  it('of a batch that is listed late makes no second one', async () => {
    const { results, meet, madeBatches } = await open()
    let lists = 0
    const nothing = '{"data":[],"has_more":false,"last_id":null}'
    meet((method, path, send) => {
      if (method === 'POST') return send().then(() => refusal(500))
      if (!path.includes('?') || ++lists > 1) return null
      return send().then((answer) => retold(answer, () => nothing))
    })
    expect(Object.values(reasons(await results(some(3))))).toEqual(upTo(3).map(() => 'answered'))
    expect(madeBatches()).toBe(1)
  })

  it('with answers that lead elsewhere is no answer', async () => {
    const { results, meet, events } = await open()
    let elsewhere = 0
    meet((method) => (method === 'GET' && ++elsewhere <= 2 ? refusal(302) : null))
    expect(reasons(await results(some(1)))).toEqual({ 0: 'answered' })
    const delays = events.filter((event) => event.kind === 'batch_delayed')
    expect(delays.map(({ error }) => error.type)).toEqual(['no_answer', 'no_answer'])
  })

  it('with the key that only results tell of has its status', async () => {
    const { results, meet } = await open()
    const unknownKey = (text: string): string =>
      text.replace(
        /"result":.*/,
        '"result":{"type":"errored","error":{"error":{"type":"authentication_error","message":"no"}}}}',
      )
    meet((_method, path, send) =>
      path.endsWith('/results') ? send().then((answer) => retold(answer, unknownKey)) : null,
    )
    expect(await results(some(1))).toMatchObject([{ error: { status: 401, isRetryable: false } }])
  })
})
