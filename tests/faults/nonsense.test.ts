// Upstreams that answer what no provider would. Callers get an error or the bytes as they are, the
// gateway goes on, and nothing is left behind.
import { APIError } from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { ask, failureOf, KEY, openHarness } from '../harness.ts'
import { rawAnswer } from '../stub-upstream.ts'

const speed = 100

const send = (url: string, more: object = {}) =>
  fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': KEY },
    body: JSON.stringify({ ...ask('x'), ...more }),
  })

const JSON_200 = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n'
const SSE_200 = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n'

describe('an upstream that does not speak HTTP', () => {
  const answers = [
    ['another protocol', '220 mail.example ESMTP\r\n'],
    ['bytes', Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
    ['an upgrade', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['a bad length', 'HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n'],
    ['a header without end', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}`],
  ] as const

  it.each(answers)('but %s is 502', async (_name, bytes) => {
    await using stub = await rawAnswer(bytes)
    await using gate = await openHarness({ speed, upstream: stub.url })
    const error = await failureOf(gate.client().messages.create(ask('x')))
    if (!(error instanceof APIError)) throw error
    expect(error.status).toBe(502)
    expect(error.error).toMatchObject({ error: { type: 'api_error' } })
    await gate.idle()
    expect(gate.of('failed')).toEqual([])
  })
})

describe('an answer whose body makes no sense', () => {
  const bodies = ['<html>\u0000{"type":"mess', '{"usage":"many"}', '{"usage":', 'null', '']

  it.each(bodies)('arrives as it is: %j', async (body) => {
    await using stub = await rawAnswer(JSON_200, body)
    await using gate = await openHarness({ upstream: stub.url })
    const response = await send(gate.url)
    expect(response.status).toBe(200)
    expect(await response.text()).toBe(body)
    await gate.idle()
    expect(gate.of('settled')[0]).toMatchObject({ outcome: 'answered' })
    // It says nothing of its cost, so what was reserved is charged.
    expect(gate.of('settled')[0]?.actual.output_tokens).toBeGreaterThan(0)
    expect(gate.of('failed')).toEqual([])
  })

  const streams = [
    ['without events', 'no events at all'],
    ['with half an event', 'event: message_start\ndata: {"type":"message_start"\n\n'],
    [
      'with events of other shapes',
      'event: message_start\ndata: {"message":null}\n\nevent: message_delta\ndata: []\n\n',
    ],
    ['with a line that does not end', `data: ${'x'.repeat(100_000)}`],
    ['with lines of no meaning', '\uFEFF:\n\n\n\n:::::\ndata\nevent\n\n'],
  ] as const

  it.each(streams)('arrives as it is, as a stream %s', async (_name, body) => {
    await using stub = await rawAnswer(SSE_200, body)
    await using gate = await openHarness({ upstream: stub.url })
    const bytes = Buffer.from(await (await send(gate.url, { stream: true })).arrayBuffer())
    expect(bytes.equals(Buffer.from(body))).toBe(true)
    await gate.idle()
    expect(gate.of('failed')).toEqual([])
  })

  it('from the emulator reaches the SDK, which says so itself', async () => {
    await using gate = await openHarness({ speed })
    const garbage = gate.client().messages.create(ask('x', { output: 3, fault: 'garbage' }))
    expect(await failureOf(garbage)).toBeInstanceOf(Error)
    await gate.idle()
  })
})

describe('headers that make no sense', () => {
  it('beyond Latin-1 arrive byte for byte', async () => {
    await using stub = await rawAnswer(
      Buffer.from('HTTP/1.1 200 OK\r\nx-note: → żółć 🧵\r\ncontent-length: 2\r\n\r\n{}'),
    )
    await using gate = await openHarness({ upstream: stub.url })
    const response = await send(gate.url)
    expect(response.status).toBe(200)
    const note = response.headers.get('x-note') ?? ''
    expect(Buffer.from(note, 'latin1').toString('utf8')).toBe('→ żółć 🧵')
    await response.text()
    await gate.idle()
  })

  it('about limits and waits are not believed', async () => {
    const headers = [
      'HTTP/1.1 200 OK',
      'content-type: application/json',
      'content-length: 2',
      'anthropic-ratelimit-requests-limit: -5',
      'anthropic-ratelimit-requests-remaining: NaN',
      'anthropic-ratelimit-requests-reset: never',
      'anthropic-ratelimit-input-tokens-limit: 0',
      'anthropic-ratelimit-input-tokens-remaining: 0',
      'anthropic-ratelimit-input-tokens-reset: 2026-11-22T00:00:00Z',
      'anthropic-ratelimit-output-tokens-limit: 1e999',
      'anthropic-ratelimit-output-tokens-remaining: 99999999999999999999',
      'retry-after: soon',
    ]
    await using stub = await rawAnswer(`${headers.join('\r\n')}\r\n\r\n{}`)
    await using gate = await openHarness({ upstream: stub.url })
    for (let count = 0; count < 3; count++) expect((await send(gate.url)).status).toBe(200)
    await gate.idle()
    expect(gate.of('failed')).toEqual([])
  })
})
