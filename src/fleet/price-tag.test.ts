import { describe, expect, it } from 'vitest'
import { Prices } from '../ledger/prices.ts'
import { Subjects } from '../policy/subjects.ts'
import { bodyOf, messageRequest } from './message-request.ts'
import { costOfOutcome, priceTag } from './price-tag.ts'
import { Task } from './task.ts'

const MODEL = 'm'
const TERMS = { apiKey: '', base: null, lane: 'low', flow: '', weight: 1 } as const
/** A nano-dollar for a token that is read, and five for one that is written. */
const RULES = {
  subjects: new Subjects({
    tiers: new Map(),
    defaultTier: null,
    users: new Map(),
    teams: new Map(),
    keys: [],
    warnAt: [],
  }),
  prices: new Prices([{ match: MODEL, input: 1000, output: 5000 }]),
  sendsUnpriced: false,
  fallbacks: [],
  fallbackAfterMs: 0,
}

const messages = [{ role: 'user', content: 'Why?' }]

function requestOf(more: object = {}) {
  const body = bodyOf({ model: MODEL, max_tokens: 1000, messages, ...more })
  return { bytes: body.length, request: messageRequest(body, TERMS, 0) }
}

const tagOf = (more: object = {}) => priceTag(requestOf(more).request, RULES, 0)

describe('the most that a prompt can cost', () => {
  it('has a token for each byte of the whole request, and the longest answer', () => {
    const format = { type: 'json_schema', schema: { a: 'x'.repeat(20_000) } }
    const { request, bytes } = requestOf({ output_config: { format } })
    expect(priceTag(request, RULES, 0)).toEqual({
      limitGroup: MODEL,
      worstNanoUsd: bytes + 5000,
      worstInBatchNanoUsd: Math.ceil((bytes + 5000) / 2),
      isBounded: true,
      pricePercent: 100,
    })
  })

  it('counts an image by its tokens, and not by its bytes', () => {
    const source = { type: 'base64', media_type: 'image/png', data: 'A'.repeat(100_000) }
    const { worstNanoUsd } = tagOf({
      messages: [{ role: 'user', content: [{ type: 'image', source }] }],
    })
    expect(worstNanoUsd).toBeLessThan(20_000)
  })

  it.each([
    ['in the US', { inference_geo: 'us' }, 1.1],
    ['anywhere', { inference_geo: 'global' }, 1],
    ['fast', { speed: 'fast' }, 2],
    ['fast, and in the US', { speed: 'fast', inference_geo: 'us' }, 2.2],
  ])('knows what it costs more to be answered %s', (_, more, times) => {
    const { request, bytes } = requestOf(more)
    expect(priceTag(request, RULES, 0).worstNanoUsd).toBe(
      Math.ceil(((bytes + 5000) * times * 10) / 10),
    )
  })

  it.each([
    ['web_search', { tools: [{ type: 'web_search_20250305', name: 'web_search' }] }],
    ['web_fetch', { tools: [{ type: 'web_fetch_20250910', name: 'web_fetch' }] }],
    ['code_execution', { tools: [{ name: 'mine' }, { type: 'code_execution_20250825' }] }],
    ['a tool of next year', { tools: [{ type: 'telescope_20270101' }] }],
    ['servers of tools', { mcp_servers: [{ type: 'url', url: 'https://tools.example' }] }],
    ['compaction', { context_management: { edits: [{ type: 'compact_20260112' }] } }],
  ])('is not known with %s', (_, more) => {
    expect(tagOf(more)).toMatchObject({ isBounded: false, worstNanoUsd: expect.any(Number) })
  })

  it.each([
    ['none', {}],
    ['null for a list', { tools: null, mcp_servers: null, context_management: null }],
    [
      'its own',
      {
        tools: [
          { name: 'a', input_schema: {} },
          { type: 'custom', name: 'b' },
        ],
      },
    ],
    ['those that it runs itself', { tools: [{ type: 'bash_20250124', name: 'bash' }] }],
    ['no servers', { mcp_servers: [] }],
    ['edits that leave out', { context_management: { edits: [{ type: 'clear_tool_uses_1' }] } }],
  ])('is known with tools such as these: %s', (_, more) => {
    expect(tagOf(more).isBounded).toBe(true)
  })
})

describe('what an answer has cost', () => {
  const usage = {
    inputTokens: 1000,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 0,
  }
  const costOf = (more: object, reported: { readonly pricePercent?: number } = {}) => {
    const { request } = requestOf(more)
    const { pricePercent } = tagOf(more)
    const task = new Task({
      id: 'a',
      index: 0,
      model: MODEL,
      request,
      worstNanoUsd: 0,
      pricePercent,
      takenAt: 0,
    })
    const outcome = { kind: 'answer', response: {}, queuedMs: 0, model: null } as const
    return costOfOutcome(task, { ...outcome, usage: { ...usage, ...reported } }, RULES.prices, 0)
  }

  it('is at the price that it tells of, or else at that of what was asked', () => {
    expect(costOf({})).toBe(1000)
    expect(costOf({}, { pricePercent: 110 })).toBe(1100)
    expect(costOf({ inference_geo: 'us' })).toBe(1100)
    expect(costOf({ speed: 'fast' }, { pricePercent: 100 })).toBe(1000)
  })
})
