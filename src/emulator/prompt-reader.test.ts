import { describe, expect, it } from 'vitest'
import { promptBody } from './messages-request.ts'
import { readPrompt } from './prompt-reader.ts'

const EPHEMERAL = { type: 'ephemeral' }

function read(body: object) {
  return readPrompt(promptBody.parse({ model: 'claude-sonnet-4-5', ...body }))
}

const turn = (text: string, isBreakpoint = false) => ({
  role: 'user',
  content: [{ type: 'text', text, ...(isBreakpoint ? { cache_control: EPHEMERAL } : {}) }],
})

describe('readPrompt', () => {
  it('counts text the same as a string and as a block', () => {
    const asText = read({ messages: [{ role: 'user', content: 'some words here' }] })
    expect(asText.tokens).toBe(read({ messages: [turn('some words here')] }).tokens)
    expect(asText.prefixes).toEqual([])
  })

  it('charges images by the piece and tools with a hidden prompt', () => {
    const words = [{ role: 'user', content: 'hi' }]
    const plain = read({ messages: words }).tokens
    const image = { type: 'image', source: { type: 'base64', data: 'A'.repeat(100_000) } }
    const withImage = read({
      messages: [{ role: 'user', content: [image, ...turn('hi').content] }],
    })
    expect(withImage.tokens).toBe(plain + 1600)
    const result = { type: 'tool_result', tool_use_id: 'x', content: [image] }
    const withResult = read({
      messages: [{ role: 'user', content: [result, ...turn('hi').content] }],
    })
    expect(withResult.tokens).toBe(plain + 1603)
    const tools = [{ name: 'look', input_schema: { type: 'object' } }]
    const auto = read({ messages: words, tools }).tokens
    const forced = read({ messages: words, tools, tool_choice: { type: 'any' } }).tokens
    expect(auto).toBeGreaterThan(plain + 496)
    expect(forced).toBe(auto + 92)
  })

  it('knows a prefix again when its breakpoint has moved on', () => {
    const first = read({ messages: [turn('one', true)] }).prefixes
    const second = read({ messages: [turn('one'), turn('two', true)] }).prefixes
    const stored = first.find((prefix) => prefix.ttlMs > 0)
    expect(second).toContainEqual({ ...stored, ttlMs: 0 })
    expect(second.at(-1)?.ttlMs).toBe(300_000)
  })

  it('looks back twenty blocks and no further', () => {
    const turns = Array.from({ length: 40 }, (_, index) => turn(`turn ${index}`, index === 30))
    const { prefixes } = read({ messages: turns })
    expect(prefixes).toHaveLength(21)
    expect(prefixes.at(-1)?.ttlMs).toBe(300_000)
  })

  it('tells prompts apart by model, role, tools and every earlier word', () => {
    const bodies = [
      { messages: [turn('one', true)] },
      { messages: [turn('0ne', true)] },
      { messages: [{ ...turn('one', true), role: 'assistant' }] },
      { messages: [turn('one', true)], tools: [{ name: 'look' }] },
      { messages: [turn('one', true)], system: 'be kind' },
      { messages: [turn('one', true)], model: 'claude-opus-4-5' },
    ]
    const keys = bodies.map((body) => read(body).prefixes.at(-1)?.key)
    expect(new Set(keys).size).toBe(bodies.length)
  })

  it('takes a mark on the request as one behind its last block, and hours where asked', () => {
    const { prefixes } = read({
      messages: [turn('one'), turn('two')],
      cache_control: { type: 'ephemeral', ttl: '1h' },
    })
    expect(prefixes.map((prefix) => prefix.ttlMs)).toEqual([0, 0, 3_600_000])
  })
})
