import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { seededRandom } from '../core/random.ts'
import { type BatchedRequest, planRequest, resultLine } from './batch-request.ts'
import type { Batch } from './batches.ts'
import { type EmulatorOptions, resolveEmulatorSettings } from './settings.ts'
import { World } from './world.ts'

const ALICE = { key: 'alice', organization: 'acme' }
const EVE = { key: 'eve', organization: 'other' }
const MODEL = 'claude-sonnet-5'

function open(options: EmulatorOptions = {}) {
  const clock = new VirtualClock(1_800_000_000_000)
  const world = new World(resolveEmulatorSettings(options), clock, seededRandom(7))
  const plan = (id: string, text = '[[emulate output=9]]', more: object = {}): BatchedRequest =>
    planRequest(
      {
        custom_id: id,
        params: {
          model: MODEL,
          max_tokens: 100,
          messages: [{ role: 'user', content: text }],
          ...more,
        },
      },
      world.faults,
    )
  const create = (...requests: BatchedRequest[]): Batch => world.batches.create(ALICE, requests)
  const pass = (ms: number): void => clock.advanceTo(clock.now() + ms)
  return { world, plan, create, pass }
}

const many = (count: number, plan: (id: string) => BatchedRequest) =>
  Array.from({ length: count }, (_, index) => plan(`r${index}`))

/** What became of each request, by its id. */
const outcomes = ({ results }: Batch) =>
  Object.fromEntries(results.map(({ customId, outcome }) => [customId, outcome.type]))

const counted = (batch: Batch) => {
  const counts: Record<string, number> = {}
  for (const { outcome } of batch.results) counts[outcome.type] = (counts[outcome.type] ?? 0) + 1
  return counts
}

describe('a batch', () => {
  it('ends after its time, not an instant earlier', () => {
    const { create, plan, pass } = open({ batchMs: 1000 })
    const batch = create(plan('a'), plan('b'))
    pass(999)
    expect(batch).toMatchObject({ endedAt: null, results: [] })
    pass(1)
    expect(batch.endedAt).toBe(batch.createdAt + 1000)
    expect(outcomes(batch)).toEqual({ a: 'succeeded', b: 'succeeded' })
  })

  it('is as many times as fast as everything else', () => {
    const { create, plan, pass } = open({ batchMs: 60_000, timeScale: 60 })
    const batch = create(plan('a'))
    expect(batch.expiresAt - batch.createdAt).toBe(86_400_000 / 60)
    pass(1000)
    expect(batch.endedAt).not.toBeNull()
  })

  it('that takes no time is processed all the same', () => {
    const { create, plan, pass } = open({ batchMs: 0 })
    const batch = create(plan('a'))
    pass(0)
    expect(outcomes(batch)).toEqual({ a: 'succeeded' })
  })

  it('gives its results in another order', () => {
    const { create, plan, pass } = open()
    const batch = create(...many(50, plan))
    pass(60_000)
    const ids = batch.results.map(({ customId }) => customId)
    expect(new Set(ids).size).toBe(50)
    expect(ids).not.toEqual(many(50, plan).map(({ customId }) => customId))
  })

  it('takes nothing of the limits of its model, and is billed at half the price', () => {
    const { world, create, plan, pass } = open()
    const before = world.provider.modelHeaders(ALICE, MODEL)
    create(plan('a'), plan('b'), plan('c', 'x', { max_tokens: 0 }))
    pass(60_000)
    expect(world.provider.modelHeaders(ALICE, MODEL)).toMatchObject({
      'anthropic-ratelimit-requests-remaining': before['anthropic-ratelimit-requests-remaining'],
      'anthropic-ratelimit-tokens-remaining': before['anthropic-ratelimit-tokens-remaining'],
    })
    const { bills, totals } = world.provider.report()
    expect(bills).toEqual([
      expect.objectContaining({
        model: MODEL,
        serviceTier: 'batch',
        priceFactor: 0.5,
        outputTokens: 18,
      }),
    ])
    expect(bills[0]?.inputTokens).toBeGreaterThan(0)
    expect(totals).toMatchObject({ requests: 0, batchRequests: 2 })
  })

  it('shares the prompt cache of its organization', () => {
    const { world, create, plan, pass } = open()
    const block = { type: 'text', text: 'gate '.repeat(3000), cache_control: { type: 'ephemeral' } }
    create(plan('a', 'x', { system: [block] }), plan('b', 'y', { system: [block] }))
    pass(60_000)
    const [bill] = world.provider.report().bills
    expect(bill?.cacheWriteTokens).toBeGreaterThan(1024)
    expect(bill?.cacheReadTokens).toBe(bill?.cacheWriteTokens)
  })

  it('belongs to its organization alone', () => {
    const { world, create, plan } = open()
    const first = create(plan('a'), plan('b'))
    const second = create(plan('c'))
    expect(world.batches.allOf(ALICE)).toEqual([second, first])
    expect(world.batches.queued(ALICE)).toBe(3)
    expect(world.batches.find(EVE, first.id)).toBeNull()
    expect(world.batches.queued(EVE)).toBe(0)
  })
})

describe('single requests', () => {
  it.each([
    ['a missing field', { messages: undefined }, 'invalid_request_error', /messages: Field requir/],
    ['a stream', { stream: true }, 'invalid_request_error', /^stream: /],
    ['no answer', { max_tokens: 0 }, 'invalid_request_error', /^max_tokens: /],
    ['a model of someone else', { model: 'gpt-5' }, 'not_found_error', /^model: gpt-5$/],
    ['a named fault', { system: '[[emulate fault=batch-error]]' }, 'api_error', /Internal/],
  ])('that want %s fail alone', (_case, more, type, message) => {
    const { create, plan, pass } = open()
    const batch = create(plan('good'), plan('bad', 'x', more))
    pass(60_000)
    expect(outcomes(batch)).toEqual({ good: 'succeeded', bad: 'errored' })
    const bad = batch.results.find(({ customId }) => customId === 'bad')
    expect(bad && JSON.parse(resultLine(bad))).toEqual({
      custom_id: 'bad',
      result: {
        type: 'errored',
        error: {
          type: 'error',
          error: { type, message: expect.stringMatching(message), details: null },
          request_id: expect.stringMatching(/^req_/),
        },
      },
    })
  })

  it('fail at the rate that is set, unless they are spared', () => {
    const { world, create, plan, pass } = open()
    world.faults.change({ batchErrorRate: 1 })
    const batch = create(plan('a'), plan('b', '[[emulate output=2 fault=none]]'))
    pass(60_000)
    expect(outcomes(batch)).toEqual({ a: 'errored', b: 'succeeded' })
    expect(world.provider.report().bills[0]?.outputTokens).toBe(2)
  })

  it('are not touched by faults of messages', () => {
    const { world, create, plan, pass } = open()
    world.faults.change({ overloadRate: 1 })
    const batch = create(plan('a', '[[emulate output=2 fault=hang]]'))
    pass(60_000)
    expect(outcomes(batch)).toEqual({ a: 'succeeded' })
  })
})

describe('expiry', () => {
  it('leaves out what did not have its turn, unbilled', () => {
    const { world, create, plan, pass } = open({ batchMs: 4000, batchExpiryMs: 1000 })
    const batch = create(...many(8, plan))
    pass(1000)
    expect(batch.endedAt).toBe(batch.expiresAt)
    expect(counted(batch)).toEqual({ succeeded: 2, expired: 6 })
    expect(world.provider.report().totals.batchRequests).toBe(2)
  })

  it('comes for a batch that has one stuck request', () => {
    const { create, plan, pass } = open({ batchMs: 1000 })
    const batch = create(plan('a'), plan('b', '[[emulate fault=batch-expiry]]'))
    pass(86_399_999)
    expect(batch.endedAt).toBeNull()
    pass(1)
    expect(outcomes(batch)).toEqual({ a: 'succeeded', b: 'expired' })
  })
})

describe('a batch that is cancelled', () => {
  it('keeps what was processed, and ends soon', () => {
    const { world, create, plan, pass } = open({ batchMs: 10_000 })
    const batch = create(...many(10, plan))
    pass(3000)
    world.batches.cancel(batch)
    expect(batch).toMatchObject({ cancelledAt: batch.createdAt + 3000, endedAt: null })
    pass(1000)
    expect(batch.endedAt).toBe(batch.createdAt + 4000)
    expect(counted(batch)).toEqual({ succeeded: 3, canceled: 7 })
  })

  it('stays as it is when it is cancelled again, or has ended', () => {
    const { world, create, plan, pass } = open({ batchMs: 10_000 })
    const batch = create(...many(10, plan))
    world.batches.cancel(batch)
    pass(1000)
    const { results } = batch
    world.batches.cancel(batch)
    pass(100_000)
    expect(batch.cancelledAt).toBe(batch.createdAt)
    expect(batch.results).toBe(results)
  })
})

describe('the emulator', () => {
  it('forgets all batches when it is reset, and processes none of them', () => {
    const { world, create, plan, pass } = open()
    create(plan('a'))
    world.reset()
    pass(60_000)
    expect(world.batches.allOf(ALICE)).toEqual([])
    expect(world.provider.report().totals.batchRequests).toBe(0)
  })

  it('forgets the oldest batches that have ended when it holds too many results', () => {
    const { world, plan, pass } = open()
    const large = Array.from({ length: 100_000 }, () => plan('same'))
    const create = () => world.batches.create(ALICE, large)
    const first = create()
    world.batches.cancel(first)
    pass(1000)
    for (let index = 0; index < 4; index++) create()
    expect(world.batches.find(ALICE, first.id)).toBe(first)
    const sixth = create()
    expect(world.batches.find(ALICE, first.id)).toBeNull()
    create()
    // What is under way is never forgotten.
    expect(world.batches.allOf(ALICE)).toHaveLength(6)
    expect(world.batches.find(ALICE, sixth.id)).toBe(sixth)
    world.batches.close()
  })
})
