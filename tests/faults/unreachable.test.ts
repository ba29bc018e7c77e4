// A provider that is not there, hangs, or hangs up before it has answered.
import { APIConnectionError, APIError, InternalServerError } from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { ask, failureOf, openHarness, until } from '../harness.ts'
import { outputAnHour, remainingOf } from '../limits.ts'
import { postOf, rawCaller } from '../raw-caller.ts'
import { deadUrl, rawUpstream, stubUpstream } from '../stub-upstream.ts'

/** Back-offs of seconds pass in milliseconds. */
const speed = 100

/** A configured limit on output, to see what is charged. */
const AN_HOURS = 100_000

const MESSAGE = JSON.stringify({
  type: 'message',
  content: [],
  usage: { input_tokens: 3, output_tokens: 5 },
})

describe('a provider that cannot be reached', () => {
  it('is tried a few times, then is 502, and costs nothing', async () => {
    const upstream = await deadUrl()
    await using gate = await openHarness({ speed, upstream, anthropic: outputAnHour(AN_HOURS) })
    const error = await failureOf(gate.client().messages.create(ask('x')))
    if (!(error instanceof InternalServerError)) throw error
    expect(error.status).toBe(502)
    expect(error.error).toMatchObject({ error: { type: 'api_error' } })
    expect(error.headers.get('retry-after')).toBe('1')
    expect(error.message).toContain('could not reach anthropic (ECONNREFUSED)')
    expect(gate.of('bounced').map(({ reason }) => reason)).toEqual(Array(3).fill('connection'))
    expect(gate.of('refused')[0]?.facts.attempts).toBe(4)
    await gate.idle()
    expect(remainingOf(await gate.status()) ?? AN_HOURS).toBe(AN_HOURS)
    expect(gate.of('failed')).toEqual([])
  })

  it('serves those who waited as soon as it is back', async () => {
    const url = await deadUrl()
    await using gate = await openHarness({ speed: 20, upstream: url })
    const answer = gate.client().messages.create(ask('x'))
    await until(() => gate.of('bounced').length >= 1)
    await using back = await rawUpstreamAt(url)
    expect((await answer).usage.output_tokens).toBe(5)
    expect(back.served()).toBe(1)
    await gate.idle()
  })

  it('is 502 at once to an upload, which can be sent only once', async () => {
    await using gate = await openHarness({ speed, upstream: await deadUrl() })
    const error = await failureOf(
      gate.client().messages.batches.create({ requests: [{ custom_id: '1', params: ask('x') }] }),
    )
    expect(error).toBeInstanceOf(InternalServerError)
    expect(gate.of('bounced')).toEqual([])
    await gate.idle()
  })
})

describe('a provider that accepts and says nothing', () => {
  it('is 504 after its time, charged in full, and not asked again', async () => {
    await using stub = await stubUpstream(() => {})
    await using gate = await openHarness({
      upstream: stub.url,
      anthropic: outputAnHour(AN_HOURS),
      upstreamTimeouts: { firstByteTimeoutMs: 300, idleTimeoutMs: 300 },
    })
    const failed = failureOf(gate.client().messages.create(ask('x')))
    await until(() => stub.received.length === 1)
    const reserved = AN_HOURS - (remainingOf(await gate.status()) ?? AN_HOURS)
    const error = await failed
    if (!(error instanceof InternalServerError)) throw error
    expect(reserved).toBeGreaterThan(0)
    expect(remainingOf(await gate.status())).toBe(AN_HOURS - reserved)
    expect(error.status).toBe(504)
    expect(error.error).toMatchObject({ error: { type: 'timeout_error' } })
    expect(error.headers.get('x-should-retry')).toBe('true')
    expect(stub.received).toHaveLength(1)
    await until(() => stub.open.size === 0)
    await gate.idle()
  })

  it('in the middle of a stream breaks it off with an error event', async () => {
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: ping\ndata: {"type": "ping"}\n\n')
    })
    await using gate = await openHarness({
      upstream: stub.url,
      upstreamTimeouts: { firstByteTimeoutMs: 300, idleTimeoutMs: 300 },
    })
    const error = await failureOf(gate.client().messages.stream(ask('x')).finalMessage())
    if (!(error instanceof APIError)) throw error
    expect(error.error).toMatchObject({ error: { type: 'timeout_error' } })
    await gate.idle()
    expect(gate.of('settled')[0]).toMatchObject({ outcome: 'broken', status: 200 })
  })
})

describe('a provider that hangs up before it answers', () => {
  it('is asked again, since nothing has been sent on', async () => {
    let connections = 0
    await using stub = await rawUpstream((socket) => {
      connections++
      socket.once('data', () => {
        if (connections < 3) socket.resetAndDestroy()
        else socket.end(jsonAnswer())
      })
    })
    await using gate = await openHarness({ speed, upstream: stub.url })
    expect((await gate.client().messages.create(ask('x'))).usage.output_tokens).toBe(5)
    expect(gate.of('settled')[0]?.facts.attempts).toBe(3)
    await gate.idle()
  })

  it('each time is 502 in the end', async () => {
    await using stub = await rawUpstream((socket) => {
      socket.once('data', () => socket.destroy())
    })
    await using gate = await openHarness({ speed, upstream: stub.url })
    const error = await failureOf(gate.client().messages.create(ask('x')))
    if (!(error instanceof InternalServerError)) throw error
    expect(error.status).toBe(502)
    expect(error.message).toContain('broke off')
    expect(gate.of('refused')[0]?.facts.attempts).toBe(4)
    await gate.idle()
  })

  it('now and then is not noticed by the SDK', async () => {
    await using gate = await openHarness({
      speed,
      emulator: {
        faults: { connectionResetRate: 0.1 },
        limits: { requests: 1000, inputTokens: 1_000_000, outputTokens: 1_000_000 },
      },
    })
    const client = gate.client()
    const one = () => client.messages.create(ask('x', { output: 3 }))
    const messages = await Promise.all(Array.from({ length: 30 }, one))
    expect(messages).toHaveLength(30)
    expect(gate.emulator.report().totals.failed).toBe(gate.of('bounced').length)
    await gate.idle()
  })
})

describe('a provider that hangs up in the middle of its answer', () => {
  const FIRST =
    'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'

  async function breakingAfter(type: string, ...parts: readonly string[]) {
    const stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': type })
      for (const part of parts) response.write(part)
      setImmediate(() => setImmediate(() => response.destroy()))
    })
    const gate = await openHarness({ speed, upstream: stub.url })
    return { stub, gate }
  }

  it('leaves an error event where the last event was whole', async () => {
    const { stub, gate } = await breakingAfter('text/event-stream', FIRST)
    await using _stub = stub
    await using _gate = gate
    const caller = await rawCaller(gate.url)
    caller.write(postOf('/v1/messages', { ...ask('x'), stream: true }, { connection: 'close' }))
    await caller.closed()
    expect(caller.text).toContain(FIRST)
    expect(caller.text).toMatch(/event: error\ndata: \{"type":"error","error":\{"type":"api_error"/)
    expect(caller.text).toMatch(/\n0\r\n\r\n$/)
    const error = await failureOf(gate.client().messages.stream(ask('x')).finalMessage())
    expect(error).toBeInstanceOf(APIError)
    expect(error).not.toBeInstanceOf(APIConnectionError)
  })

  it('has its connection cut where the last event was not whole', async () => {
    const { stub, gate } = await breakingAfter('text/event-stream', FIRST, 'event: content_bl')
    await using _stub = stub
    await using _gate = gate
    const caller = await rawCaller(gate.url)
    caller.write(postOf('/v1/messages', { ...ask('x'), stream: true }))
    await caller.closed()
    expect(caller.text).toContain('event: content_bl')
    expect(caller.text).not.toContain('event: error')
    expect(caller.text).not.toMatch(/\n0\r\n\r\n$/)
  })

  it('has its connection cut where it is no stream', async () => {
    const { stub, gate } = await breakingAfter('application/json', '{"usage":\n\n')
    await using _stub = stub
    await using _gate = gate
    expect(await failureOf(gate.client().messages.create(ask('x')))).toBeInstanceOf(Error)
    await gate.idle()
    expect(stub.received).toHaveLength(1)
    expect(gate.of('settled')[0]).toMatchObject({ outcome: 'broken', status: 200 })
  })

  it('is charged what was reserved at least: nothing is given back on a guess', async () => {
    let breakOff = (): void => {}
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(FIRST)
      breakOff = () => response.destroy()
    })
    await using gate = await openHarness({ upstream: stub.url, anthropic: outputAnHour(AN_HOURS) })
    const caller = await rawCaller(gate.url)
    caller.write(postOf('/v1/messages', { ...ask('x'), stream: true }))
    await caller.saw(FIRST)
    const leftMeanwhile = remainingOf(await gate.status()) ?? AN_HOURS
    expect(leftMeanwhile).toBeLessThan(AN_HOURS)
    breakOff()
    await gate.idle()
    expect(gate.of('settled')[0]).toMatchObject({ outcome: 'broken', status: 200 })
    expect(remainingOf(await gate.status())).toBeLessThanOrEqual(leftMeanwhile)
  })
})

const jsonAnswer = (): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${MESSAGE.length}\r\n\r\n${MESSAGE}`

/** Listens where nobody did. */
async function rawUpstreamAt(url: string) {
  const { createServer } = await import('node:http')
  let served = 0
  const server = createServer((request, response) => {
    request.resume()
    served++
    response.writeHead(200, { 'content-type': 'application/json' }).end(MESSAGE)
  })
  await new Promise<void>((resolve) =>
    server.listen(Number(new URL(url).port), '127.0.0.1', resolve),
  )
  return {
    served: () => served,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
