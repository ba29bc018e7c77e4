import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openUsageTap } from './usage.ts'

const STREAM = { 'content-type': 'text/event-stream; charset=utf-8' }
const JSON_ANSWER = { 'content-type': 'application/json' }

const event = (type: string, fields: object): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`

const START = event('message_start', {
  message: {
    usage: {
      input_tokens: 25,
      cache_creation_input_tokens: 456,
      cache_read_input_tokens: 100_000,
      cache_creation: { ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 356 },
      output_tokens: 1,
      service_tier: 'standard',
    },
  },
})
const text = (words: string): string =>
  event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: words } })
const delta = (usage: object, stop: string | null = 'end_turn'): string =>
  event('message_delta', { delta: { stop_reason: stop }, usage })
const STOP = event('message_stop', {})
const PING = 'event: ping\ndata: {"type": "ping"}\n\n'

function tapOf(headers: Record<string, string>, ...chunks: (string | Uint8Array)[]) {
  const tap = openUsageTap(headers)
  for (const chunk of chunks) tap.read(Buffer.from(chunk))
  tap.end()
  return tap
}

test('knows the input from the first event on', () => {
  const tap = tapOf(STREAM, START)
  expect(tap.usage).toEqual({
    inputTokens: 25,
    cacheReadTokens: 100_000,
    cacheWriteTokens: 456,
    cacheWriteHourTokens: 356,
    outputTokens: 1,
  })
  expect(tap.isComplete).toBe(false)
})

test('replaces by cumulative counts, and never by null', () => {
  const first = delta({ output_tokens: 7, input_tokens: null, cache_read_input_tokens: null }, null)
  const tap = tapOf(STREAM, START, PING, first)
  expect(tap.isComplete).toBe(false)
  tap.read(Buffer.from(delta({ output_tokens: 15, input_tokens: 30 })))
  expect(tap.usage).toMatchObject({
    inputTokens: 30,
    outputTokens: 15,
    cacheReadTokens: 100_000,
    cacheWriteHourTokens: 356,
  })
  expect(tap.isComplete).toBe(true)
})

test('counts what a cut stream has produced so far', () => {
  const tap = tapOf(STREAM, START, text('a'.repeat(300)), text('b'.repeat(300)))
  expect(tap.usage?.outputTokens).toBe(1)
  expect(tap.isComplete).toBe(false)
  expect(tap.producedTokens).toBe(200)
})

test('does not count signatures as produced', () => {
  const signature = { type: 'signature_delta', signature: 'x'.repeat(3000) }
  const tap = tapOf(STREAM, START, event('content_block_delta', { index: 0, delta: signature }))
  expect(tap.producedTokens).toBe(0)
})

test('notices an error inside a stream', () => {
  const error = event('error', { error: { type: 'overloaded_error', message: 'Overloaded' } })
  const tap = tapOf(STREAM, START, error)
  expect(tap).toMatchObject({ hasFailed: true, isComplete: false })
})

test('adds server-side compaction, which the totals leave out', () => {
  const iterations = [
    {
      type: 'compaction',
      input_tokens: 5000,
      output_tokens: 300,
      cache_creation_input_tokens: null,
    },
    { type: 'message', input_tokens: 25, output_tokens: 15 },
  ]
  const tap = tapOf(STREAM, START, delta({ output_tokens: 15, iterations }))
  expect(tap.usage).toMatchObject({ inputTokens: 5025, outputTokens: 315 })
})

test('reads the same however a stream is cut into chunks', () => {
  const bytes = Buffer.from(
    [START, text('Grüße, 世界'), PING, delta({ output_tokens: 15 }), STOP].join(''),
  )
  const whole = tapOf(STREAM, bytes)
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (cuts) => {
      const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length]
      const tap = tapOf(STREAM, ...edges.slice(1).map((end, i) => bytes.subarray(edges[i], end)))
      expect([tap.usage, tap.producedTokens, tap.isComplete]).toEqual([
        whole.usage,
        whole.producedTokens,
        true,
      ])
    }),
  )
})

test('stops reading a line that never ends, and keeps what it knows', () => {
  const tap = tapOf(STREAM, START, 'event: x\ndata: ')
  const chunk = Buffer.alloc(1024 * 1024, 'a')
  for (let megabytes = 0; megabytes < 12; megabytes++) tap.read(chunk)
  tap.read(Buffer.from(`\n\n${delta({ output_tokens: 15 })}`))
  expect(tap.usage?.inputTokens).toBe(25)
  expect(tap.isComplete).toBe(false)
})

test('reads the usage of a whole answer', () => {
  const answer = JSON.stringify({
    type: 'message',
    content: [{ type: 'text', text: 'say "usage": {"input_tokens": 9}' }],
    usage: { input_tokens: 50, output_tokens: 812, cache_read_input_tokens: null },
  })
  const tap = tapOf(JSON_ANSWER, answer.slice(0, 30), answer.slice(30))
  expect(tap.usage).toEqual({
    inputTokens: 50,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 812,
  })
  expect(tap).toMatchObject({ isComplete: true, producedTokens: 0 })
})

test('counts what is no count as 0, save for the input: without that nothing is known', () => {
  const usage = (input: string): string =>
    `{"usage":{"input_tokens":${input},"output_tokens":"9","cache_creation":7}}`
  expect(tapOf(JSON_ANSWER, usage('4')).usage).toMatchObject({
    inputTokens: 4,
    outputTokens: 0,
    cacheWriteHourTokens: 0,
  })
  expect(tapOf(JSON_ANSWER, usage('-4')).usage).toBeNull()
  expect(tapOf(JSON_ANSWER, usage('"many"')).usage).toBeNull()
})

test.each(['-1', '0.5', '1e15', '100000001', '1e400'])(
  'believes nothing of a report that counts %s tokens of anything',
  (absurd) => {
    for (const field of ['input_tokens', 'output_tokens', 'cache_read_input_tokens']) {
      const counts = { input_tokens: '4', output_tokens: '9', [field]: absurd }
      const written = Object.entries(counts).map(([name, value]) => `"${name}":${value}`)
      expect(tapOf(JSON_ANSWER, `{"usage":{${written}}}`).usage).toBeNull()
    }
  },
)

test.each([
  ['a count of tokens', JSON_ANSWER, '{"input_tokens":2095}'],
  ['an error', JSON_ANSWER, '{"type":"error","error":{"type":"api_error"}}'],
  ['half an answer', JSON_ANSWER, '{"usage":{"input_tokens":1}'],
  ['no usage at all', JSON_ANSWER, '{"usage":null}'],
  ['nothing', JSON_ANSWER, ''],
  [
    'a compressed answer',
    { ...JSON_ANSWER, 'content-encoding': 'gzip' },
    '{"usage":{"input_tokens":1}}',
  ],
  ['a file', { 'content-type': 'application/octet-stream' }, '{"usage":{"input_tokens":1}}'],
  ['an answer without a type', {}, '{"usage":{"input_tokens":1}}'],
])('finds no usage in %s', (_, headers, body) => {
  expect(tapOf(headers, body)).toMatchObject({ usage: null, isComplete: false, hasFailed: false })
})

test('does not keep an answer that is longer than any model writes', () => {
  const tap = openUsageTap(JSON_ANSWER)
  tap.read(Buffer.from('{"usage":{"input_tokens":1},"content":"'))
  for (let megabytes = 0; megabytes < 9; megabytes++) tap.read(Buffer.alloc(1024 * 1024, 'a'))
  tap.read(Buffer.from('"}'))
  tap.end()
  expect(tap.usage).toBeNull()
})

test('never fails, whatever passes by', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .constantFrom(START, STOP, 'data: {\n\n', 'event: message_start\n')
      .map((s) => Buffer.from(s)),
  )
  fc.assert(
    fc.property(fc.constantFrom(STREAM, JSON_ANSWER), fc.array(piece), (headers, chunks) => {
      const { usage, producedTokens } = tapOf(headers, ...chunks)
      expect(producedTokens).toBeGreaterThanOrEqual(0)
      for (const tokens of Object.values(usage ?? {})) expect(tokens).toBeGreaterThanOrEqual(0)
    }),
  )
})

test('tells at which price, where the answer says where and how fast it was made', () => {
  const usageOf = (more: object) =>
    tapOf(JSON_ANSWER, JSON.stringify({ usage: { input_tokens: 1, output_tokens: 2, ...more } }))
      .usage
  expect(usageOf({}) ?? {}).not.toHaveProperty('pricePercent')
  expect(usageOf({ inference_geo: 'us' })?.pricePercent).toBe(110)
  expect(usageOf({ inference_geo: 'not_available', speed: 'standard' })?.pricePercent).toBe(100)
  expect(usageOf({ inference_geo: 'us', speed: 'fast' })?.pricePercent).toBe(220)
  const start = event('message_start', {
    message: { usage: { input_tokens: 1, output_tokens: 1, inference_geo: 'us' } },
  })
  expect(tapOf(STREAM, start, delta({ output_tokens: 9 }), STOP).usage).toMatchObject({
    outputTokens: 9,
    pricePercent: 110,
  })
})
