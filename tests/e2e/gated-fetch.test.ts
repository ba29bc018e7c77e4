// The gated fetch is a fetch: what comes and goes through it is what would have without it. That calls wait
// their turn through every door alike is shown in queueing.test.ts and provider-says-no.test.ts.
import { gzipSync } from 'node:zlib'
import Anthropic, { toFile } from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import type { Gate } from '../../src/library/gate.ts'
import { gatedFetch } from '../../src/library/gated-fetch.ts'
import { openLibrary } from '../doors.ts'
import { ask, failureOf, KEY, MODEL, until } from '../harness.ts'
import { atOnce, perMinute } from '../limits.ts'
import { rawAnswer, stubUpstream } from '../stub-upstream.ts'

const FAST = { ttftMs: 0, tokensPerSecond: 5000 }

const posted = (body: RequestInit['body'], more: RequestInit = {}): RequestInit => ({
  method: 'POST',
  headers: { 'x-api-key': KEY, 'anthropic-version': '2023-06-01' },
  body: body ?? null,
  ...more,
})

const bodyOf = (text: string): string => JSON.stringify(ask(text))

describe('the official SDK', () => {
  it('gets the same message and the same stream as without it', async () => {
    await using door = await openLibrary({ emulator: FAST })
    const direct = new Anthropic({ baseURL: door.url, apiKey: KEY })
    const request = ask('Hello.', { output: 37 })
    const through = await door.client().messages.create(request).withResponse()
    expect({ ...through.data, id: '' }).toEqual({
      ...(await direct.messages.create(request)),
      id: '',
    })
    expect(through.request_id).toMatch(/^req_/)
    expect(through.response.headers.get('x-headgate-request-id')).toMatch(/^hg_/)
    expect(Number(through.response.headers.get('x-headgate-queued-ms'))).toBeLessThan(100)
    const streamed = await door.client().messages.stream(request).finalMessage()
    const without = await direct.messages.stream(request).finalMessage()
    expect({ ...streamed, id: '' }).toEqual({ ...without, id: '' })
    await door.idle()
    expect(door.of('settled').map(({ outcome }) => outcome)).toEqual(['answered', 'answered'])
  })

  it('reaches the endpoints beside messages', async () => {
    await using door = await openLibrary({ emulator: FAST })
    const client = door.client()
    const { messages, model } = ask('Hello.')
    expect((await client.messages.countTokens({ model, messages })).input_tokens).toBeGreaterThan(0)
    expect((await client.models.list()).data.map(({ id }) => id)).toContain(MODEL)
    const batch = await client.messages.batches.create({
      requests: [{ custom_id: 'one', params: ask('Hello.') }],
    })
    expect((await client.messages.batches.retrieve(batch.id)).request_counts.processing).toBe(1)
    await door.idle()
    expect(door.of('settled')).toHaveLength(4)
  })

  it('uploads files', async () => {
    await using stub = await stubUpstream((response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"file_1"}'),
    )
    await using door = await openLibrary({ upstream: stub.url })
    const file = await toFile(Buffer.alloc(300_000, 'ab'), 'letters.txt')
    expect(await door.client().beta.files.upload({ file })).toMatchObject({ id: 'file_1' })
    const [received] = stub.received
    expect(received?.headers['content-type']).toMatch(/^multipart\/form-data; boundary=/)
    expect(received?.body.length).toBeGreaterThan(300_000)
    await door.idle()
  })
})

const EVENTS = Buffer.from(
  [
    'event: message_start\r\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}\r\n\r\n',
    'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"żółć 🧵"}}\n\n',
    'event: message_delta\rdata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}\r\r',
    'data: no name, no end',
  ].join(''),
)

const chunked = (part: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')])

describe('bytes', () => {
  it.each([1, 3, 7])('of a stream cut every %i bytes arrive as they were', async (size) => {
    const parts = Array.from({ length: Math.ceil(EVENTS.length / size) }, (_, index) =>
      chunked(EVENTS.subarray(index * size, (index + 1) * size)),
    )
    const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n'
    await using stub = await rawAnswer(
      `${head}Transfer-Encoding: chunked\r\n\r\n`,
      ...parts,
      '0\r\n\r\n',
    )
    await using door = await openLibrary({ upstream: stub.url })
    const response = await door.fetch(`${door.url}/v1/messages`, posted(bodyOf('x')))
    expect(Buffer.from(await response.arrayBuffer()).equals(EVENTS)).toBe(true)
    await door.idle()
    expect(door.of('settled')[0]).toMatchObject({
      outcome: 'answered',
      actual: { input_tokens: 3, output_tokens: 5 },
    })
  })

  const text = `${bodyOf('żółć 🧵')}\n`
  const bytes = Buffer.from(text)
  const bodies: [string, () => RequestInit['body']][] = [
    ['a string', () => text],
    ['bytes', () => new Uint8Array(bytes)],
    ['a view of bytes', () => new DataView(new Uint8Array(bytes).buffer)],
    ['a buffer', () => new Uint8Array(bytes).buffer],
    ['a blob', () => new Blob([bytes])],
    ['a stream', () => new Blob([bytes]).stream()],
  ]

  it.each(bodies)('of a request whose body is %s arrive as they were', async (_name, body) => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using door = await openLibrary({ upstream: stub.url })
    const init = posted(body(), { duplex: 'half' })
    await (await door.fetch(`${door.url}/v1/messages`, init)).text()
    await (
      await door.fetch(new Request(`${door.url}/v1/files`, posted(body(), { duplex: 'half' })))
    ).text()
    expect(stub.received.map((received) => received.body.equals(bytes))).toEqual([true, true])
    expect(stub.received[0]?.headers['content-length']).toBe(String(bytes.length))
    await door.idle()
    expect(door.of('settled')[0]?.facts.model).toBe(MODEL)
  })

  it.each(['gzip', 'GZIP'])(
    'of an answer that is packed (%s) unasked are unpacked, as by any fetch',
    async (packing) => {
      const message = '{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}'
      await using stub = await stubUpstream((response) =>
        response
          .writeHead(200, { 'content-type': 'application/json', 'content-encoding': packing })
          .end(gzipSync(message)),
      )
      await using door = await openLibrary({ upstream: stub.url })
      const response = await door.fetch(`${door.url}/v1/messages`, posted(bodyOf('x')))
      expect(await response.text()).toBe(message)
      await door.idle()
    },
  )

  it('of a body over the provider’s maximum are 413, and are not read on', async () => {
    await using door = await openLibrary({ emulator: FAST })
    let isCancelled = false
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(2 ** 20)),
      cancel() {
        isCancelled = true
      },
    })
    const init = posted(endless, { duplex: 'half' })
    const response = await door.fetch(`${door.url}/v1/messages`, init)
    expect(response.status).toBe(413)
    expect(await response.json()).toMatchObject({ error: { type: 'request_too_large' } })
    await until(() => isCancelled)
    expect(door.emulator.report().totals.requests).toBe(0)
  })

  it('that a body’s own stream fails to give are its own failure', async () => {
    await using door = await openLibrary({ emulator: FAST })
    const broken = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new Error('the file has gone')),
    })
    const answer = door.fetch(`${door.url}/v1/messages`, posted(broken, { duplex: 'half' }))
    expect(await failureOf(answer)).toMatchObject({ message: 'the file has gone' })
    await door.idle()
  })
})

describe('headers', () => {
  it('that are Headgate’s do not go to the provider, all others do', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using door = await openLibrary({ upstream: stub.url })
    const headers = {
      'x-api-key': KEY,
      'x-headgate-flow': 'agent-1',
      'x-headgate-lane': 'high',
      'accept-encoding': 'gzip, br',
      'anthropic-beta': 'one,two',
      'x-custom': Buffer.from('kept as it is: żółć').toString('latin1'),
    }
    await (await door.fetch(`${door.url}/v1/messages`, posted(bodyOf('x'), { headers }))).text()
    const received = stub.received[0]?.headers ?? {}
    expect(Object.keys(received).filter((name) => name.startsWith('x-headgate'))).toEqual([])
    expect(received).toMatchObject({
      'accept-encoding': 'identity',
      'anthropic-beta': 'one,two',
      host: new URL(stub.url).host,
    })
    expect(Buffer.from(String(received['x-custom']), 'latin1').toString()).toBe(
      'kept as it is: żółć',
    )
    await door.idle()
    expect(door.of('settled')[0]?.facts).toMatchObject({ flow: 'agent-1', lane: 'high' })
  })

  it('that are of the connection, or hold a key of Headgate’s, stay here', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using door = await openLibrary({ upstream: stub.url })
    const headers = {
      'x-api-key': `hgk_${'a'.repeat(43)}`,
      authorization: 'Bearer sk-own',
      connection: 'x-mine',
      'x-mine': '1',
      'x-theirs': '2',
    }
    await (await door.fetch(`${door.url}/v1/messages`, posted(bodyOf('x'), { headers }))).text()
    const received = stub.received[0]?.headers ?? {}
    expect(received).toMatchObject({ authorization: 'Bearer sk-own', 'x-theirs': '2' })
    expect(received).not.toHaveProperty('x-api-key')
    expect(received).not.toHaveProperty('x-mine')
    await door.idle()
  })

  it('with a status that no response can have are an error as of any fetch', async () => {
    await using stub = await stubUpstream((response) => response.writeHead(600).end('odd'))
    await using door = await openLibrary({ upstream: stub.url })
    // A stream is not sent again.
    const body = new Blob(['x']).stream()
    const answer = door.fetch(`${door.url}/v1/files`, posted(body, { duplex: 'half' }))
    const error = await failureOf(answer)
    if (!(error instanceof TypeError)) throw error
    expect(error.cause).toMatchObject({ message: expect.stringContaining('600') })
    await door.idle()
    expect(door.of('settled')).toMatchObject([{ outcome: 'provider_error', status: 600 }])
  })

  it('of the answer come back as they would without it', async () => {
    const utf8 = Buffer.from('żółć').toString('latin1')
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'request-id': 'req_1', 'set-cookie': ['a=1', 'b=2'], 'x-t': utf8 })
      response.end('{}')
    })
    await using door = await openLibrary({ upstream: stub.url })
    const url = `${door.url}/v1/messages`
    const [through, direct] = [
      await door.fetch(url, posted(bodyOf('x'))),
      await fetch(url, posted(bodyOf('x'))),
    ]
    expect(through.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    const own = ['x-headgate-queued-ms', 'x-headgate-request-id']
    const others = [...through.headers].filter(([name]) => !own.includes(name))
    const withoutDate = (headers: readonly [string, string][]) =>
      headers.filter(([name]) => name !== 'date')
    expect(withoutDate(others)).toEqual(withoutDate([...direct.headers]))
    expect([through.status, through.statusText]).toEqual([direct.status, direct.statusText])
    await Promise.all([through.text(), direct.text()])
  })
})

describe('a URL', () => {
  it('that is no provider’s goes to the platform’s fetch, as it is', async () => {
    await using stub = await stubUpstream((response) => response.end('elsewhere'))
    await using door = await openLibrary({ emulator: FAST })
    const calls: unknown[][] = []
    const platform: typeof fetch = (...args) => {
      calls.push(args)
      return fetch(...args)
    }
    const gated = gatedFetch(door.gate, { fetch: platform })
    const init = { method: 'POST', body: 'x' }
    for (const path of ['/', '/v1/chat/completions', '/v1/threads/t/messages', '/elsewhere'])
      expect(await (await gated(stub.url + path, init)).text()).toBe('elsewhere')
    expect(calls.map(([, passed]) => passed)).toEqual([init, init, init, init])
    expect(stub.received).toHaveLength(4)
    await door.idle()
    expect(door.happenings).toEqual([])
  })

  it('is governed below any base that SDKs are given, and sent where it aims', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using configured = await openLibrary({ upstream: `${stub.url}/team/api` })
    const origin = stub.url
    const bases = ['/v1', '/anthropic/v1', '', '/team/api']
    for (const base of bases)
      await (
        await configured.fetch(`${origin}${base}/messages?beta=true`, posted(bodyOf('x')))
      ).text()
    expect(stub.received.map(({ url }) => url)).toEqual(
      bases.map((base) => `${base}/messages?beta=true`),
    )
    await configured.idle()
    expect(configured.of('settled')).toHaveLength(4)
  })

  it('of one origin never gets a credential to another', async () => {
    await using one = await stubUpstream((response) => response.end('{}'))
    await using other = await stubUpstream((response) => response.end('{}'))
    await using door = await openLibrary({
      upstream: one.url,
      anthropic: { apiKey: 'sk-ant-the-gates-own' },
    })
    const aims = [one.url, other.url].map((url) => ({ url, key: `sk-ant-for-${url}` }))
    for (const { url, key } of aims)
      await (
        await door.fetch(
          `${url}/v1/messages`,
          posted(bodyOf('x'), { headers: { 'x-api-key': key } }),
        )
      ).text()
    expect(
      [one, other].map(({ received }) => received.map(({ headers }) => headers['x-api-key'])),
    ).toEqual(aims.map(({ key }) => [key]))
    await door.idle()
    expect(new Set(door.of('settled').map(({ facts }) => facts.resource)).size).toBe(2)
  })

  it('that is none is an error as of any fetch', async () => {
    await using door = await openLibrary({ emulator: FAST })
    expect(await failureOf(door.fetch('/v1/messages'))).toBeInstanceOf(TypeError)
    const broken = door.fetch(`${door.url}/v1/messages`, { body: 'x' })
    expect(await failureOf(broken)).toBeInstanceOf(TypeError)
  })
})

describe('a lease of what a key draws on', () => {
  it('stands in one line with the calls of that key', async () => {
    await using door = await openLibrary({
      emulator: FAST,
      anthropic: { ...atOnce(1), apiKey: KEY },
    })
    const lease = await door.gate.acquire(`anthropic/${MODEL}`, { load: 100 })
    const message = door.client().messages.create(ask('x', { output: 3 }))
    await until(async () => (await door.status()).queued === 1)
    expect(door.emulator.report().totals.requests).toBe(0)
    await lease.settle()
    expect((await message).usage.output_tokens).toBe(3)
    await door.idle()
    expect(door.emulator.report().totals.requests).toBe(1)
  })
})

describe('what Headgate refuses', () => {
  it('is the SDK’s own exception, and says whether to try again', async () => {
    await using stub = await stubUpstream(() => {})
    await using door = await openLibrary({
      upstream: stub.url,
      anthropic: atOnce(1),
      queue: { maxQueued: 1 },
    })
    const stop = new AbortController()
    const { signal } = stop
    const held = [1, 2].map(() => failureOf(door.client().messages.create(ask('x'), { signal })))
    await until(async () => (await door.status()).queued === 1)
    const error = await failureOf(door.client().messages.create(ask('x')))
    if (!(error instanceof Anthropic.RateLimitError)) throw error
    expect(error.error).toMatchObject({ error: { type: 'rate_limit_error' } })
    expect(error.headers.get('x-should-retry')).toBe('true')
    expect(error.message).toContain('1 ahead in the line for anthropic/')
    stop.abort()
    await Promise.all(held)
    await door.idle()
  })

  it('for a limit that frees too late is not tried again, with the SDK’s own retries too', async () => {
    await using door = await openLibrary({
      emulator: FAST,
      config: 'default_tier: t\ntiers: { t: { requests: 1/hour } }\n',
    })
    const client = door.client({ maxRetries: 5 })
    await client.messages.create(ask('x', { output: 1 }))
    const error = await failureOf(client.messages.create(ask('x')))
    if (!(error instanceof Anthropic.RateLimitError)) throw error
    expect(error.headers.get('x-should-retry')).toBe('false')
    expect(Number(error.headers.get('retry-after'))).toBeGreaterThan(3500)
    expect(error.headers.get('x-ratelimit-remaining')).toBe('0')
    expect(door.of('refused')).toHaveLength(1)
    expect(door.emulator.report().totals.requests).toBe(1)
  })

  it.each([
    ['x-headgate-lane', 'urgent'],
    ['x-headgate-max-wait', 'soon'],
    ['x-headgate-user', 'a'.repeat(300)],
  ])('for the header %s: %s is 400 and names it', async (name, value) => {
    await using door = await openLibrary({ emulator: FAST })
    const client = door.client({ defaultHeaders: { [name]: value } })
    const error = await failureOf(client.messages.create(ask('x')))
    expect(error).toBeInstanceOf(Anthropic.BadRequestError)
    expect(String(error)).toContain(name)
    expect(door.emulator.report().totals.requests).toBe(0)
  })

  it('because of the longest wait is said at once, with the prediction', async () => {
    await using door = await openLibrary({ emulator: FAST, anthropic: perMinute(1) })
    const impatient = gatedFetch(door.gate, { maxWaitMs: 5000 })
    const client = door.client({ fetch: impatient })
    await client.messages.create(ask('x', { output: 1 }))
    const error = await failureOf(client.messages.create(ask('x')))
    expect(error).toBeInstanceOf(Anthropic.RateLimitError)
    expect(String(error)).toMatch(/bound by 1 requests per 60 s; its turn is expected in (60|59) s/)
    // A header of the call says more than the option.
    const headers = { 'x-headgate-max-wait': '1h' }
    const stop = new AbortController()
    const waiting = failureOf(client.messages.create(ask('x'), { headers, signal: stop.signal }))
    await until(async () => (await door.status()).queued === 1)
    stop.abort()
    await waiting
  })

  it('of options that make no sense names the option', async () => {
    await using door = await openLibrary({ emulator: FAST })
    expect(() => gatedFetch(door.gate, { maxWaitMs: -1 })).toThrow('maxWaitMs is no time')
    expect(() => gatedFetch(door.gate, { user: '' })).toThrow('user is no name')
    const other: Gate = Object.create(door.gate)
    expect(() => gatedFetch(other)).toThrow('createGate')
  })
})
