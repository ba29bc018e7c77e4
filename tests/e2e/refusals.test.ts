// What the gateway itself refuses: in Anthropic's shape, so that the SDK raises its own exceptions,
// and with the connection left as HTTP wants it.
import {
  APIConnectionError,
  APIError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { ask, failureOf, KEY, MODEL, openHarness, until } from '../harness.ts'
import { atOnce, perMinute } from '../limits.ts'
import { postOf, rawCaller } from '../raw-caller.ts'
import { stubUpstream } from '../stub-upstream.ts'

const MIB = 1024 * 1024

/** A request whose body has so many bytes. */
function sized(bytes: number) {
  const bare = { ...ask('x'), system: '' }
  return { ...bare, system: 'x'.repeat(bytes - JSON.stringify(bare).length) }
}

async function apiErrorOf(promise: Promise<unknown>): Promise<APIError> {
  const error = await failureOf(promise)
  if (!(error instanceof APIError)) throw error
  return error
}

describe('a path that nobody serves', () => {
  it('is 404 in the provider’s shape', async () => {
    await using gate = await openHarness()
    const client = gate.client({ baseURL: `${gate.url}/elsewhere` })
    const error = await apiErrorOf(client.messages.create(ask('x')))
    expect(error).toBeInstanceOf(NotFoundError)
    expect(error.error).toMatchObject({ type: 'error', error: { type: 'not_found_error' } })
    expect(error.headers?.get('x-should-retry')).toBe('false')
    expect(error.message).toContain('/elsewhere/v1/messages')
  })

  it('never leaves the upstream’s own origin', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url })
    const targets = ['http://evil/v1/messages', '//evil/v1/messages', '/v1/../etc', '/anthropic//x']
    for (const target of targets) {
      const caller = await rawCaller(gate.url)
      caller.write(`GET ${target} HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n`)
      await caller.closed()
      expect(caller.text).toMatch(/^HTTP\/1\.1 404 /)
    }
    expect(stub.received).toEqual([])
  })
})

describe('a header of Headgate’s that makes no sense', () => {
  it.each([
    ['x-headgate-lane', 'urgent'],
    ['x-headgate-max-wait', 'soon'],
    ['x-headgate-deadline', 'tomorrow-ish'],
  ])('%s: %s is 400 and named', async (name, value) => {
    await using gate = await openHarness()
    const client = gate.client({ defaultHeaders: { [name]: value } })
    const error = await apiErrorOf(client.messages.create(ask('x')))
    expect(error).toBeInstanceOf(BadRequestError)
    expect(error.error).toMatchObject({ error: { type: 'invalid_request_error' } })
    expect(error.message).toContain(name)
    expect(error.message).toContain(value)
    expect(gate.emulator.report().totals.requests).toBe(0)
  })
})

describe('a body over the provider’s maximum', () => {
  it('is 413 to the SDK, at its declared length', async () => {
    await using gate = await openHarness()
    const error = await apiErrorOf(gate.client().messages.create(sized(32 * MIB + 1)))
    expect(error.status).toBe(413)
    expect(error.error).toMatchObject({ error: { type: 'request_too_large' } })
    await gate.idle()
    expect(gate.emulator.report().totals.requests).toBe(0)
  })

  it('is 413 when it comes in chunks of no declared length', async () => {
    await using gate = await openHarness()
    let sent = 0
    const endless = new ReadableStream({
      pull(controller) {
        sent += MIB
        controller.enqueue(Buffer.alloc(MIB, 'x'))
        if (sent >= 40 * MIB) controller.close()
      },
    })
    const response = await fetch(`${gate.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': KEY },
      body: endless,
      duplex: 'half',
    })
    expect(response.status).toBe(413)
    expect(await response.json()).toMatchObject({ error: { type: 'request_too_large' } })
    await gate.idle()
  })

  it('ends its connection, which cannot be read any further', async () => {
    // A caller that never sends what it has declared is not waited for.
    await using gate = await openHarness({ speed: 50 })
    const caller = await rawCaller(gate.url)
    const head = postOf('/v1/messages', '', { 'content-length': String(64 * MIB) })
    caller.write(head)
    await caller.saw('request_too_large')
    expect(caller.text.toLowerCase()).toContain('connection: close')
    await caller.closed()
  })

  it('is heard by a caller that sends it all before it listens', async () => {
    await using gate = await openHarness()
    const caller = await rawCaller(gate.url)
    caller.socket.pause()
    const body = 'x'.repeat(40 * MIB)
    caller.write(postOf('/v1/messages', body))
    await until(() => caller.socket.writableLength === 0)
    caller.socket.resume()
    await caller.saw('request_too_large')
    await caller.closed()
  })

  it('passes to the last byte', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url })
    const response = await fetch(`${gate.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': KEY },
      body: Buffer.alloc(32 * MIB, ' '),
    })
    expect(response.status).toBe(200)
    expect(stub.received[0]?.body.length).toBe(32 * MIB)
    await response.text()
    await gate.idle()
  })
})

describe('when the memory for bodies is full', () => {
  it('further requests are 503 until some of it is free again', async () => {
    await using stub = await stubUpstream(() => {})
    await using gate = await openHarness({
      upstream: stub.url,
      maxBodyMemoryBytes: 2 * MIB,
      anthropic: atOnce(1),
    })
    const holders = Array.from({ length: 3 }, () => new AbortController())
    const held = holders.map(({ signal }) =>
      failureOf(gate.client().messages.create(sized(600_000), { signal })),
    )
    await until(() => gate.wired.gateway.bodyBytes > 3 * 590_000)
    const error = await apiErrorOf(gate.client().messages.create(sized(600_000)))
    expect(error).toBeInstanceOf(InternalServerError)
    expect(error.status).toBe(503)
    expect(error.error).toMatchObject({ error: { type: 'api_error' } })
    expect(error.headers?.get('x-should-retry')).toBe('true')
    holders[1]?.abort()
    await until(() => gate.wired.gateway.bodyBytes < 2 * 610_000)
    const recovered = new AbortController()
    const again = failureOf(
      gate.client().messages.create(sized(600_000), { signal: recovered.signal }),
    )
    await until(() => gate.wired.gateway.bodyBytes > 3 * 590_000)
    for (const holder of [...holders, recovered]) holder.abort()
    await Promise.all([...held, again])
    await gate.idle()
  })
})

describe('a full line', () => {
  it('is a RateLimitError that says how long the line is', async () => {
    await using stub = await stubUpstream(() => {})
    await using gate = await openHarness({
      upstream: stub.url,
      anthropic: atOnce(1),
      queue: { maxQueued: 2 },
    })
    const held = Array.from({ length: 3 }, () => gate.client().messages.create(ask('x')))
    const ended = Promise.allSettled(held)
    await until(async () => (await gate.status()).queued === 2)
    const error = await apiErrorOf(gate.client().messages.create(ask('x')))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error.error).toMatchObject({ error: { type: 'rate_limit_error' } })
    expect(error.headers?.get('x-should-retry')).toBe('true')
    expect(error.message).toMatch(
      /2 ahead in the line for anthropic\/[0-9a-f]{12}\/claude-sonnet-5/,
    )
    expect(error.message).not.toContain(KEY)
    gate.wired.gateway.closeNow()
    await ended
  })
})

describe('a wait that the caller will not bear', () => {
  const wishes: [string, () => Record<string, string>][] = [
    ['x-headgate-max-wait', () => ({ 'x-headgate-max-wait': '5s' })],
    [
      'x-headgate-deadline',
      () => ({ 'x-headgate-deadline': new Date(Date.now() + 5000).toISOString() }),
    ],
  ]

  it.each(wishes)('is refused at once by %s, with the prediction', async (_name, headers) => {
    await using gate = await openHarness({ anthropic: perMinute(1), emulator: { timeScale: 100 } })
    const client = gate.client({ defaultHeaders: headers() })
    await client.messages.create(ask('x', { output: 3 }))
    const error = await apiErrorOf(client.messages.create(ask('x')))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(55)
    expect(Number(error.headers?.get('retry-after'))).toBeLessThanOrEqual(60)
    expect(error.message).toMatch(/bound by 1 requests per 60 s; its turn is expected in (60|59) s/)
    expect(gate.of('refused')[0]?.refusal.reason).toBe('wait_too_long')
    await gate.idle()
  })

  it('is refused when the time is up, where nothing could be predicted', async () => {
    await using stub = await stubUpstream(() => {})
    await using gate = await openHarness({ upstream: stub.url, anthropic: atOnce(1) })
    const held = failureOf(gate.client().messages.create(ask('x')))
    await until(() => stub.received.length === 1)
    const client = gate.client({ defaultHeaders: { 'x-headgate-max-wait': '100ms' } })
    const error = await apiErrorOf(client.messages.create(ask('x')))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error.message).toContain('bound by 1 at once')
    expect(gate.of('refused')[0]).toMatchObject({ refusal: { reason: 'waited_out' } })
    expect(gate.of('refused')[0]?.facts.durationMs).toBeGreaterThanOrEqual(100)
    expect((await gate.status()).queued).toBe(0)
    gate.wired.gateway.closeNow()
    expect(await held).toBeInstanceOf(APIConnectionError)
  })

  it('with no wait at all is refused at once or passes', async () => {
    await using gate = await openHarness({ anthropic: perMinute(1), emulator: { timeScale: 100 } })
    const client = gate.client({ defaultHeaders: { 'x-headgate-max-wait': '0s' } })
    expect((await client.messages.create(ask('x', { output: 3 }))).type).toBe('message')
    expect(await failureOf(client.messages.create(ask('x')))).toBeInstanceOf(RateLimitError)
  })
})

describe('a gateway with a key of its own', () => {
  const own = { apiKey: 'sk-ant-own' }

  it('sends its key in place of whatever the caller sent', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url, anthropic: own })
    const credentials = [
      { 'x-api-key': 'sk-callers' },
      { authorization: 'Bearer sk-callers', 'X-API-Key': 'sk-callers' },
      {},
    ]
    for (const headers of credentials) {
      const body = JSON.stringify({ model: MODEL, max_tokens: 1, messages: [] })
      await fetch(`${gate.url}/v1/messages`, { method: 'POST', headers, body })
    }
    for (const { headers } of stub.received) {
      expect(headers['x-api-key']).toBe('sk-ant-own')
      expect(headers.authorization).toBeUndefined()
      expect(JSON.stringify(headers)).not.toContain('sk-callers')
    }
    const resources = new Set(gate.of('settled').map(({ facts }) => facts.resource))
    expect(resources.size).toBe(1)
  })

  it('does not answer web pages', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url, anthropic: own })
    const client = gate.client({ defaultHeaders: { origin: 'https://page.example' } })
    const error = await apiErrorOf(client.messages.create(ask('x')))
    expect(error).toBeInstanceOf(PermissionDeniedError)
    expect(error.error).toMatchObject({ error: { type: 'permission_error' } })
    expect(stub.received).toEqual([])
  })

  it('leaves web pages to those who send their own keys', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url })
    const client = gate.client({ defaultHeaders: { origin: 'https://page.example' } })
    await client.messages.create(ask('x'))
    expect(stub.received[0]?.headers.origin).toBe('https://page.example')
  })
})
