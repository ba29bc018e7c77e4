// What passes through the gateway is what would have come without it.
import { once } from 'node:events'
import Anthropic from '@anthropic-ai/sdk'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ask, KEY, MODEL, openHarness } from '../harness.ts'
import { postOf, rawCaller } from '../raw-caller.ts'
import { rawAnswer, stubUpstream } from '../stub-upstream.ts'

const FAST = { timeScale: 200 }

/** The bytes of an answer's body. */
const bytesOf = async (url: string, init: RequestInit = {}) =>
  Buffer.from(await (await fetch(url, init)).arrayBuffer())

const posted = (body: object): RequestInit => ({
  method: 'POST',
  headers: { 'x-api-key': KEY, 'anthropic-version': '2023-06-01' },
  body: JSON.stringify(body),
})

describe('the official SDK through the gateway', () => {
  it('gets the same message as without it', async () => {
    await using gate = await openHarness({ emulator: FAST })
    const direct = new Anthropic({ baseURL: gate.emulator.url, apiKey: KEY })
    const request = ask('Hello.', { output: 37 })
    const through = await gate.client().messages.create(request).withResponse()
    const without = await direct.messages.create(request)
    expect({ ...through.data, id: '' }).toEqual({ ...without, id: '' })
    expect(through.request_id).toMatch(/^req_/)
    expect(through.response.headers.get('x-headgate-request-id')).toMatch(/^hg_/)
    expect(Number(through.response.headers.get('x-headgate-queued-ms'))).toBeLessThan(50)
  })

  it('gets the same stream as without it', async () => {
    await using gate = await openHarness({ emulator: FAST })
    const direct = new Anthropic({ baseURL: gate.emulator.url, apiKey: KEY })
    const request = ask('Hello.', { output: 300 })
    const through = await gate.client().messages.stream(request).finalMessage()
    const without = await direct.messages.stream(request).finalMessage()
    expect({ ...through, id: '' }).toEqual({ ...without, id: '' })
    const events = await gate.client().messages.create({ ...request, stream: true })
    const kinds = new Set<string>()
    for await (const event of events) kinds.add(event.type)
    expect([...kinds]).toEqual(expect.arrayContaining(['message_start', 'message_stop']))
  })

  it('reaches the endpoints beside messages', async () => {
    await using gate = await openHarness({ emulator: FAST })
    const client = gate.client()
    const { messages, model } = ask('Hello.')
    const counted = await client.messages.countTokens({ model, messages })
    expect(counted.input_tokens).toBeGreaterThan(0)
    expect((await client.models.list()).data.map(({ id }) => id)).toContain(MODEL)
    expect((await client.models.retrieve(MODEL)).id).toBe(MODEL)
    const batch = await client.messages.batches.create({
      requests: [{ custom_id: 'one', params: ask('Hello.') }],
    })
    expect((await client.messages.batches.retrieve(batch.id)).request_counts.processing).toBe(1)
    expect((await client.messages.batches.list()).data).toHaveLength(1)
    expect((await client.beta.files.list()).data).toEqual([])
    expect(gate.emulator.report().totals.auxiliaryRequests).toBe(7)
    await gate.idle()
  })

  it('reaches messages under every path that clients use', async () => {
    await using gate = await openHarness({ emulator: FAST })
    const paths = ['/messages', '/v1/messages?beta=true', '/anthropic/v1/messages']
    for (const path of paths) {
      const response = await fetch(gate.url + path, posted(ask('Hello.', { output: 3 })))
      expect([path, response.status]).toEqual([path, 200])
    }
    expect(gate.emulator.report().totals.admitted).toBe(3)
    const hello = await fetch(`${gate.url}/api/hello`, { method: 'HEAD' })
    expect(hello.status).toBe(200)
  })
})

const EVENTS = Buffer.from(
  [
    'event: message_start\r\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}\r\n\r\n',
    ': a comment\r\n\r\n',
    'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"żółć 🧵"}}\n\n',
    'event: message_delta\rdata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}\r\r',
    'data: no name, no end',
  ].join(''),
)

const MESSAGE = Buffer.from(
  '{ "id":"msg_1",\r\n\t"content":[{"type":"text","text":"żółć 🧵"}] , "usage":{"input_tokens":3,"output_tokens":5} }\n\n',
)

const chunked = (part: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')])

const headOf = (type: string, framing: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${framing}\r\n\r\n`

describe('bytes', () => {
  it.each([1, 2, 3, 7])('of a stream cut every %i bytes arrive as they were', async (size) => {
    const parts = Array.from({ length: Math.ceil(EVENTS.length / size) }, (_, index) =>
      chunked(EVENTS.subarray(index * size, (index + 1) * size)),
    )
    await using stub = await rawAnswer(
      headOf('text/event-stream', 'Transfer-Encoding: chunked'),
      ...parts,
      '0\r\n\r\n',
    )
    await using gate = await openHarness({ upstream: stub.url })
    const body = await bytesOf(`${gate.url}/v1/messages`, posted({ ...ask('x'), stream: true }))
    expect(body.equals(EVENTS)).toBe(true)
    await gate.idle()
    expect(gate.of('settled')[0]).toMatchObject({
      outcome: 'answered',
      actual: { input_tokens: 3, output_tokens: 5 },
    })
  })

  it('of a JSON answer arrive as they were, whichever way it is framed', async () => {
    const framings = [
      [headOf('application/json', 'Transfer-Encoding: chunked'), chunked(MESSAGE), '0\r\n\r\n'],
      [headOf('application/json', `Content-Length: ${MESSAGE.length}`), MESSAGE],
      [headOf('application/json', 'Connection: close'), MESSAGE],
    ]
    for (const framing of framings) {
      await using stub = await rawAnswer(...framing)
      await using gate = await openHarness({ upstream: stub.url })
      const body = await bytesOf(`${gate.url}/v1/messages`, posted(ask('x')))
      expect(body.equals(MESSAGE)).toBe(true)
      await gate.idle()
      expect(gate.of('settled')[0]?.actual).toMatchObject({ input_tokens: 3, output_tokens: 5 })
    }
  })

  it('of a request arrive upstream as they were, JSON or not', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url })
    const bodies = ['{ "model" : "claude-sonnet-5",\r\n"x":"żółć 🧵" }\n', 'not JSON \u0000', '']
    for (const body of bodies)
      await bytesOf(`${gate.url}/v1/messages`, {
        method: 'POST',
        body,
        headers: { 'x-api-key': 'k' },
      })
    expect(stub.received.map(({ body }) => body.toString('utf8'))).toEqual(bodies)
  })

  it('of an upload that is not read pass as a stream, whole', async () => {
    await using stub = await stubUpstream((response, { body }) =>
      response.end(JSON.stringify({ bytes: body.length })),
    )
    await using gate = await openHarness({ upstream: stub.url })
    const upload = Buffer.alloc(9_000_000, 'ab')
    const answer = await bytesOf(`${gate.url}/v1/files`, {
      method: 'POST',
      headers: { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' },
      body: upload,
    })
    expect(JSON.parse(answer.toString())).toEqual({ bytes: upload.length })
    expect(stub.received[0]?.body.equals(upload)).toBe(true)
    expect(stub.received[0]?.headers['content-length']).toBe(String(upload.length))
    await gate.idle()
  })

  it('of a stream arrive as soon as they come', async () => {
    const first = 'event: ping\ndata: {"type": "ping"}\n\n'
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(first)
    })
    await using gate = await openHarness({ upstream: stub.url })
    const caller = await rawCaller(gate.url)
    caller.write(postOf('/v1/messages', { ...ask('x'), stream: true }))
    await caller.saw(first)
    caller.hangUp()
    await gate.idle()
  })
})

describe('headers', () => {
  it('that are the gateway’s or of one connection do not go upstream', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url })
    const caller = await rawCaller(gate.url)
    const headers = {
      'X-Headgate-Flow': 'agent-1',
      'X-Headgate-Lane': 'high',
      'x-headgate-unknown': 'x',
      'Accept-Encoding': 'gzip, br',
      Connection: 'x-mine, close',
      'X-Mine': 'of this connection',
      'Keep-Alive': 'timeout=5',
      TE: 'trailers',
      Expect: '100-continue',
      'Proxy-Authorization': 'Basic eA==',
      'Anthropic-Beta': 'one,two',
      'X-Custom': 'kept as it is: żółć',
    }
    caller.write(Buffer.from(postOf('/v1/messages', ask('x'), headers)))
    await caller.closed()
    const [request] = stub.received
    const names = request?.rawHeaders.filter((_, index) => index % 2 === 0) ?? []
    expect(names.map((name) => name.toLowerCase()).sort()).toEqual([
      'accept-encoding',
      'anthropic-beta',
      'anthropic-version',
      'connection',
      'content-length',
      'content-type',
      'host',
      'x-api-key',
      'x-custom',
    ])
    expect(request?.headers).toMatchObject({
      'accept-encoding': 'identity',
      connection: 'keep-alive',
      host: new URL(stub.url).host,
      'anthropic-beta': 'one,two',
    })
    const custom = Buffer.from(String(request?.headers['x-custom']), 'latin1').toString('utf8')
    expect(custom).toBe('kept as it is: żółć')
    expect(names).toContain('Anthropic-Beta')
  })

  it('of one connection do not come back, all others do', async () => {
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, {
        'content-type': 'application/json',
        connection: 'keep-alive, x-hop',
        'x-hop': '1',
        'proxy-authenticate': 'Basic',
        'request-id': 'req_1',
        'anthropic-ratelimit-requests-limit': '50',
        'set-cookie': ['a=1', 'b=2'],
      })
      response.end('{}')
    })
    await using gate = await openHarness({ upstream: stub.url })
    const { headers } = await fetch(`${gate.url}/v1/messages`, posted(ask('x')))
    expect(headers.get('x-hop')).toBeNull()
    expect(headers.get('proxy-authenticate')).toBeNull()
    expect(headers.get('request-id')).toBe('req_1')
    expect(headers.get('anthropic-ratelimit-requests-limit')).toBe('50')
    expect(headers.getSetCookie()).toEqual(['a=1', 'b=2'])
  })

  it('of any other name and value arrive upstream unchanged', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url })
    const caller = await rawCaller(gate.url)
    const token = fc.string({
      unit: fc.constantFrom(...'abcXYZ09-_!~'),
      minLength: 1,
      maxLength: 20,
    })
    const value = fc.string({ unit: fc.constantFrom(...'abc ~"\\;,=é', '\t'), maxLength: 40 })
    const extra = fc.array(
      fc.tuple(
        token.map((name) => `p-${name}`),
        value.map((text) => text.trim()),
      ),
      { maxLength: 8 },
    )
    await fc.assert(
      fc.asyncProperty(extra, async (pairs) => {
        const before = stub.received.length
        const lines = pairs.map(([name, text]) => `${name}: ${text}\r\n`).join('')
        const answered = once(caller.socket, 'data')
        const head = 'GET /v1/models HTTP/1.1\r\nhost: g\r\nanthropic-version: 1\r\n'
        caller.write(Buffer.from(`${head}${lines}\r\n`, 'latin1'))
        await answered
        const raw = stub.received[before]?.rawHeaders ?? []
        const came = raw.flatMap((name, index) =>
          index % 2 === 0 && name.startsWith('p-') ? [[name, raw[index + 1]]] : [],
        )
        expect(came).toEqual(pairs)
      }),
      { numRuns: 60 },
    )
    caller.hangUp()
    await gate.idle()
  })
})
