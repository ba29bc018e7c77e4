// Clients that would give up on silence are shown life, each in the way that it understands. The
// clock runs five hundred times as fast: a minute is 120 ms.
import type { ServerResponse } from 'node:http'
import { APIError, RateLimitError } from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { ask, failureOf, openHarness, until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { postOf, rawCaller } from '../raw-caller.ts'
import { type Received, stubUpstream } from '../stub-upstream.ts'

const PING = 'event: ping\ndata: {"type": "ping"}\n\n'

const STREAM = [
  'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}\n\n',
  'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
  'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"at last"}}\n\n',
  'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
  'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}\n\n',
  'event: message_stop\ndata: {"type":"message_stop"}\n\n',
].join('')

const FIRST = 'first'

/** The first request keeps the only slot until `release`; the next are answered by `answer`. */
async function openBusy(
  answer: (response: ServerResponse, received: Received) => void,
  maxWaitMs = 3_600_000,
) {
  let release = (): void => {}
  const stub = await stubUpstream((response, received) => {
    if (received.body.includes(`"${FIRST}"`)) release = () => response.end('{}')
    else answer(response, received)
  })
  const gate = await openHarness({
    speed: 500,
    upstream: stub.url,
    anthropic: atOnce(1),
    queue: { maxWaitMs },
  })
  const first = await rawCaller(gate.url)
  first.write(postOf('/v1/messages', ask(FIRST)))
  await until(() => stub.received.length === 1)
  return {
    stub,
    gate,
    release: () => release(),
    async [Symbol.asyncDispose]() {
      await gate[Symbol.asyncDispose]()
      await stub[Symbol.asyncDispose]()
    },
  }
}

const streamed = { 'content-type': 'text/event-stream; charset=utf-8' }

const answerStream = (response: ServerResponse): void => {
  response.writeHead(200, streamed)
  response.end(STREAM)
}

describe('a stream that waits', () => {
  const clients: [string, Record<string, string>, boolean][] = [
    ['the SDK on Node', { 'x-stainless-runtime': 'node', 'x-stainless-timeout': '600' }, true],
    ['the SDK on Bun', { 'x-stainless-runtime': 'bun' }, false],
    ['Claude Code', { 'user-agent': 'claude-cli/2.1.330 (external, cli)' }, false],
    ['Python', { 'x-stainless-lang': 'python', 'x-stainless-timeout': '600' }, true],
  ]

  it.each(clients)(
    'shows %s life as it heeds it, then the answer',
    async (_name, headers, heeds102) => {
      await using busy = await openBusy(answerStream)
      const caller = await rawCaller(busy.gate.url)
      caller.write(postOf('/v1/messages', { ...ask('x'), stream: true }, headers))
      await caller.saw(`${PING}\r\n`)
      const committedAfterMs = busy.gate.clock.now()
      expect(caller.text.includes('HTTP/1.1 102 Processing')).toBe(heeds102)
      expect(caller.text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(1)
      await until(() => (caller.text.match(/event: ping/g)?.length ?? 0) >= 3)
      expect(busy.gate.clock.now() - committedAfterMs).toBeGreaterThan(15_000)
      busy.release()
      await caller.saw('message_stop')
      expect(caller.text).toContain(STREAM)
      expect(caller.text.endsWith('0\r\n\r\n')).toBe(true)
    },
  )

  it('is one message to the SDK all the same', async () => {
    await using busy = await openBusy(answerStream)
    const client = busy.gate.client({ defaultHeaders: { 'user-agent': 'claude-cli/2.1.330' } })
    const stream = client.messages.stream(ask('x'))
    await stream.withResponse()
    expect(busy.stub.received).toHaveLength(1)
    busy.release()
    const message = await stream.finalMessage()
    expect(message.content).toEqual([{ type: 'text', text: 'at last' }])
    expect(message.usage.output_tokens).toBe(2)
  })

  it('hears the provider’s error as an event once it has begun', async () => {
    const body = '{\n "type":"error",\n "error":{"type":"invalid_request_error","message":"no"}\n}'
    await using busy = await openBusy((response) => {
      response.writeHead(400, { 'content-type': 'application/json' }).end(body)
    })
    const client = busy.gate.client({ defaultHeaders: { 'user-agent': 'claude-cli/2.1.330' } })
    const stream = client.messages.stream(ask('x'))
    const failed = failureOf(stream.finalMessage())
    await stream.withResponse()
    busy.release()
    const error = await failed
    if (!(error instanceof APIError)) throw error
    expect(error.error).toEqual(JSON.parse(body))
    await busy.gate.idle()
  })

  it('hears a refusal as an event once it has begun', async () => {
    await using busy = await openBusy(answerStream, 400_000)
    const client = busy.gate.client({ defaultHeaders: { 'user-agent': 'claude-cli/2.1.330' } })
    const error = await failureOf(client.messages.stream(ask('x')).finalMessage())
    if (!(error instanceof APIError)) throw error
    expect(error.error).toMatchObject({ error: { type: 'rate_limit_error' } })
    busy.release()
    await busy.gate.idle()
  })

  it('that was sent at once and refused by the provider is shown life too', async () => {
    let refuses = true
    await using stub = await stubUpstream((response) => {
      if (refuses) response.writeHead(429, { 'retry-after': '400' }).end('{}')
      else answerStream(response)
      refuses = false
    })
    await using gate = await openHarness({
      speed: 500,
      upstream: stub.url,
      queue: { maxWaitMs: 3_600_000 },
    })
    const caller = await rawCaller(gate.url)
    const headers = { 'user-agent': 'claude-cli/2.1.330' }
    caller.write(postOf('/v1/messages', { ...ask('x'), stream: true }, headers))
    await caller.saw('message_stop')
    expect(caller.text.indexOf('event: ping')).toBeGreaterThan(0)
    expect(caller.text.indexOf('event: ping')).toBeLessThan(caller.text.indexOf('message_start'))
    await gate.idle()
  })

  it('is shown nothing where that is switched off', async () => {
    await using stub = await stubUpstream(() => {})
    await using gate = await openHarness({
      speed: 500,
      upstream: stub.url,
      anthropic: atOnce(1),
      queue: { keepalive: 'off', maxWaitMs: 900_000 },
    })
    const held = await rawCaller(gate.url)
    held.write(postOf('/v1/messages', ask(FIRST)))
    await until(() => stub.received.length === 1)
    const caller = await rawCaller(gate.url)
    caller.write(postOf('/v1/messages', { ...ask('x'), stream: true }))
    await caller.saw('\r\n\r\n')
    expect(caller.text).toMatch(/^HTTP\/1\.1 429 /)
  })
})

describe('a plain request that waits', () => {
  const headers = { 'user-agent': 'claude-cli/2.1.330', 'x-claude-code-session-id': 's' }

  it('is asked back before its client gives up, and finds its old place', async () => {
    const answered: string[] = []
    await using busy = await openBusy((response, { body }) => {
      answered.push(/"content":"(\w+)"/.exec(body.toString())?.[1] ?? '')
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
    const { gate } = busy
    const client = gate.client({ defaultHeaders: headers })
    const startedAt = gate.clock.now()
    const error = await failureOf(client.messages.create(ask('early')))
    const waitedMs = gate.clock.now() - startedAt
    if (!(error instanceof RateLimitError)) throw error
    expect(waitedMs).toBeGreaterThan(240_000)
    // Far from its hour. That this is before the client gives up is proved where its patience is known.
    expect(waitedMs).toBeLessThan(600_000)
    expect(Number(error.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    expect(error.headers.get('x-should-retry')).toBe('true')
    const later = client.messages.create(ask('later'))
    await until(async () => (await gate.status()).queued === 1)
    const early = client.messages.create(ask('early'))
    await until(async () => (await gate.status()).queued === 2)
    busy.release()
    await Promise.all([early, later])
    expect(answered).toEqual(['early', 'later'])
  })

  it('is sent no bytes that are not its answer, save to those who heed 102', async () => {
    await using busy = await openBusy((response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
    const node = await rawCaller(busy.gate.url)
    node.write(postOf('/v1/messages', ask('x'), { 'x-stainless-runtime': 'node' }))
    await node.saw('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing')
    const old = await rawCaller(busy.gate.url)
    old.write(postOf('/v1/messages', ask('y')).replace('HTTP/1.1', 'HTTP/1.0'))
    await old.closed()
    expect(old.text).toMatch(/^HTTP\/1\.1 429 /)
    busy.release()
    await node.saw('200 OK')
    expect(node.text.match(/HTTP\/1\.1 200/g)).toHaveLength(1)
    await busy.gate.idle()
  })

  it('that the SDK sends again by itself is answered in the end', async () => {
    await using busy = await openBusy((response) => {
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end('{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}')
    })
    const client = busy.gate.client({ defaultHeaders: headers, maxRetries: 3 })
    const answer = client.messages.create(ask('patient'))
    await until(() => busy.gate.of('refused').length === 1)
    busy.release()
    expect((await answer).type).toBe('message')
  })
})
