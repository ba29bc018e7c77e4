import Anthropic, { APIError, BadRequestError, RateLimitError } from '@anthropic-ai/sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { seededRandom } from '../core/random.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from './emulator.ts'

const running: Emulator[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((emulator) => emulator.close()))
})

/** Time stands still, save where a test moves it. */
async function open(settings: EmulatorOptions = {}) {
  const clock = new VirtualClock(1_800_000_000_000)
  const emulator = await startEmulator({ clock, random: seededRandom(3), settings })
  running.push(emulator)
  const anthropic = new Anthropic({ baseURL: emulator.url, apiKey: 'k', maxRetries: 0 })
  return {
    emulator,
    batches: anthropic.messages.batches,
    pass: (ms: number) => clock.advanceTo(clock.now() + ms),
  }
}

const SHORT = { model: 'm', max_tokens: 1, messages: [] }

const request = (custom_id: string, content = '[[emulate output=7]]') => ({
  custom_id,
  params: {
    model: 'claude-sonnet-5',
    max_tokens: 50,
    messages: [{ role: 'user' as const, content }],
  },
})

async function failureOf(promise: Promise<unknown>): Promise<APIError> {
  const failure = await promise.catch((error: unknown) => error)
  if (failure instanceof APIError) return failure
  throw new Error('expected an error of the API')
}

describe('with the official SDK', () => {
  it('is created, watched, and read when it has ended', async () => {
    const { batches, pass } = await open()
    const created = await batches.create({
      requests: [request('a'), request('b', '[[emulate fault=batch-error]]')],
    })
    expect(created).toEqual({
      id: expect.stringMatching(/^msgbatch_01/),
      type: 'message_batch',
      processing_status: 'in_progress',
      request_counts: { processing: 2, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
      created_at: '2027-01-15T08:00:00.000Z',
      expires_at: '2027-01-16T08:00:00.000Z',
      ended_at: null,
      archived_at: null,
      cancel_initiated_at: null,
      results_url: null,
    })
    pass(60_000)
    expect(await batches.retrieve(created.id)).toMatchObject({
      processing_status: 'ended',
      request_counts: { processing: 0, succeeded: 1, errored: 1 },
      ended_at: '2027-01-15T08:01:00.000Z',
    })
    const results = new Map<string, unknown>()
    for await (const { custom_id, result } of await batches.results(created.id)) {
      results.set(custom_id, result)
    }
    expect([...results.keys()].sort()).toEqual(['a', 'b'])
    expect(results.get('a')).toMatchObject({
      type: 'succeeded',
      message: {
        type: 'message',
        content: [{ type: 'text', text: 'the gate lets each one pass in' }],
        stop_reason: 'end_turn',
        usage: { output_tokens: 7, service_tier: 'batch' },
      },
    })
    expect(results.get('b')).toMatchObject({
      type: 'errored',
      error: { type: 'error', error: { type: 'api_error' } },
    })
  })

  it('is cancelled while it is under way, and deleted when it has ended', async () => {
    const { batches, pass } = await open()
    const { id } = await batches.create({ requests: [request('a')] })
    expect(await failureOf(batches.delete(id))).toBeInstanceOf(BadRequestError)
    expect(await batches.cancel(id)).toMatchObject({
      processing_status: 'canceling',
      cancel_initiated_at: '2027-01-15T08:00:00.000Z',
    })
    pass(1000)
    expect(await batches.retrieve(id)).toMatchObject({
      processing_status: 'ended',
      request_counts: { canceled: 1 },
    })
    expect((await failureOf(batches.cancel(id))).status).toBe(400)
    expect(await batches.delete(id)).toEqual({ id, type: 'message_batch_deleted' })
    expect((await failureOf(batches.retrieve(id))).status).toBe(404)
  })

  it('is listed page by page, newest first', async () => {
    const { batches } = await open()
    const ids: string[] = []
    for (let index = 0; index < 5; index++) {
      ids.unshift((await batches.create({ requests: [request('a')] })).id)
    }
    const listed: string[] = []
    for await (const { id } of batches.list({ limit: 2 })) listed.push(id)
    expect(listed).toEqual(ids)
    const before = await batches.list({ limit: 2, before_id: ids[3] ?? '' })
    expect(before.data.map(({ id }) => id)).toEqual(ids.slice(1, 3))
    expect(before.has_more).toBe(true)
  })
})

describe('a batch is refused', () => {
  it.each([
    ['without requests', [], /^400 .*requests/],
    ['with an id that is none', [request('a b')], /requests\.0\.custom_id: String should match/],
    ['with an id of 65 letters', [request('x'.repeat(65))], /requests\.0\.custom_id/],
    ['with an id twice', [request('a'), request('b'), request('a')], /unique/],
    [
      'with too many requests',
      Array.from({ length: 100_001 }, (_, i) => ({ ...request(`r${i}`), params: SHORT })),
      /requests/,
    ],
  ])('%s', async (_case, requests, message) => {
    const { batches } = await open()
    const failure = await failureOf(batches.create({ requests }))
    expect(failure).toBeInstanceOf(BadRequestError)
    expect(failure.message).toMatch(message)
  })

  it('while the queue has no room for it', async () => {
    const { batches, pass } = await open({ batchQueue: 3 })
    await batches.create({ requests: [request('a'), request('b')] })
    const two = { requests: [request('c'), request('d')] }
    expect(await failureOf(batches.create(two))).toBeInstanceOf(RateLimitError)
    pass(60_000)
    expect(await batches.create(two)).toMatchObject({ processing_status: 'in_progress' })
  })

  it('with more calls than the pool has in a minute', async () => {
    const { batches } = await open({ poolRequests: { batches: 1 } })
    const { id } = await batches.create({ requests: [request('a')] })
    expect((await failureOf(batches.retrieve(id))).headers?.get('retry-after')).toBe('60')
  })

  it('its results before it has ended', async () => {
    const { emulator, batches } = await open()
    const { id } = await batches.create({ requests: [request('a')] })
    const answer = await fetch(`${emulator.url}/v1/messages/batches/${id}/results`, {
      headers: { 'x-api-key': 'k' },
    })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: { type: 'invalid_request_error' } })
  })
})
