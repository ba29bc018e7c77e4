// Callers that go away, at every point of a call, and callers that read slowly.
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ask, type Harness, openHarness, until } from '../harness.ts'
import { atOnce } from '../limits.ts'
import { postOf, type RawCaller, rawCaller } from '../raw-caller.ts'
import { type Stub, stubUpstream } from '../stub-upstream.ts'

/** An upstream that answers each request only when told to, and a gateway that sends one at a time. */
async function openHeld(concurrency = 1) {
  const answers: (() => void)[] = []
  const stub = await stubUpstream((response) => {
    answers.push(() => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
  })
  const gate = await openHarness({ upstream: stub.url, anthropic: atOnce(concurrency) })
  return {
    stub,
    gate,
    answerNext: async () => {
      await until(() => answers.length > 0)
      answers.shift()?.()
    },
    async [Symbol.asyncDispose]() {
      await gate[Symbol.asyncDispose]()
      await stub[Symbol.asyncDispose]()
    },
  }
}

/** A caller whose request with this text has been sent, and stands in line when this resolves. */
async function inLine(gate: Harness, text: string, queued: number): Promise<RawCaller> {
  const caller = await rawCaller(gate.url)
  caller.write(postOf('/v1/messages', ask(text)))
  await until(async () => (await gate.status()).queued === queued)
  return caller
}

/** The texts of the requests that went upstream, in order. */
const textsOf = (stub: Stub): string[] =>
  stub.received.map(({ body }) => /"content":"(\w+)"/.exec(body.toString())?.[1] ?? '')

describe('a caller that leaves while it waits', () => {
  it('leaves the line at once, and is never sent', async () => {
    await using held = await openHeld()
    const { gate, stub } = held
    const first = await inLine(gate, 'first', 0)
    const second = await inLine(gate, 'second', 1)
    const third = await inLine(gate, 'third', 2)
    second.hangUp()
    await until(async () => (await gate.status()).queued === 1)
    expect(gate.of('cancelled')).toHaveLength(1)
    await held.answerNext()
    await first.saw('200 OK')
    await held.answerNext()
    await third.saw('200 OK')
    expect(textsOf(stub)).toEqual(['first', 'third'])
    await gate.idle()
  })

  it('gets its old place back when it posts the same again', async () => {
    await using held = await openHeld()
    const { gate, stub } = held
    await inLine(gate, 'first', 0)
    const gone = await inLine(gate, 'early', 1)
    await inLine(gate, 'later', 2)
    gone.hangUp()
    await until(async () => (await gate.status()).queued === 1)
    await inLine(gate, 'latest', 2)
    await inLine(gate, 'early', 3)
    for (let count = 0; count < 4; count++) await held.answerNext()
    await gate.idle()
    expect(textsOf(stub)).toEqual(['first', 'early', 'later', 'latest'])
  })

  it('gets it back once, and only for the same body and flow', async () => {
    await using held = await openHeld()
    const { gate, stub } = held
    await inLine(gate, 'first', 0)
    const gone = await inLine(gate, 'early', 1)
    await inLine(gate, 'later', 2)
    gone.hangUp()
    await until(async () => (await gate.status()).queued === 1)
    await inLine(gate, 'other', 2)
    await inLine(gate, 'early', 3)
    await inLine(gate, 'early', 4)
    for (let count = 0; count < 5; count++) await held.answerNext()
    await gate.idle()
    expect(textsOf(stub)).toEqual(['first', 'early', 'later', 'other', 'early'])
  })

  it('before its body has come whole leaves nothing', async () => {
    await using held = await openHeld()
    const { gate } = held
    const caller = await rawCaller(gate.url)
    caller.write(postOf('/v1/messages', ask('x'), { 'content-length': '5000' }))
    await until(() => gate.wired.gateway.bodyBytes > 0)
    caller.hangUp()
    await gate.idle()
    expect(gate.happenings).toEqual([])
  })
})

describe('a caller that leaves after its request was sent', () => {
  it('ends the request upstream at once, and the next one’s turn has come', async () => {
    await using held = await openHeld()
    const { gate, stub } = held
    const first = await inLine(gate, 'first', 0)
    await until(() => stub.received.length === 1)
    const second = await inLine(gate, 'second', 1)
    const [upstreamSocket] = stub.open
    first.hangUp()
    await until(() => upstreamSocket?.destroyed === true)
    await until(() => stub.received.length === 2)
    expect(gate.of('settled')[0]).toMatchObject({ outcome: 'abandoned' })
    second.hangUp()
    await gate.idle()
  })

  it('in the middle of an upload ends it upstream', async () => {
    await using stub = await stubUpstream(() => {})
    await using gate = await openHarness({ upstream: stub.url })
    const caller = await rawCaller(gate.url)
    caller.write(postOf('/v1/files', 'x'.repeat(1000), { 'content-length': '5000000' }))
    await until(() => [...stub.open].some(({ bytesRead }) => bytesRead > 1000))
    caller.hangUp()
    await until(() => stub.open.size === 0)
    expect(stub.received).toEqual([])
    await gate.idle()
    expect(gate.of('failed')).toEqual([])
  })

  it('in the middle of a stream ends it upstream', async () => {
    await using gate = await openHarness({ speed: 10, emulator: { tokensPerSecond: 20 } })
    const stop = new AbortController()
    const stream = await gate
      .client()
      .messages.create({ ...ask('x', { output: 900 }), stream: true }, { signal: stop.signal })
    let seen = 0
    for await (const event of stream) {
      if (event.type === 'content_block_delta' && ++seen === 3) stop.abort()
    }
    await until(() => gate.emulator.report().inFlight === 0)
    await gate.idle()
    const [settled] = gate.of('settled')
    expect(settled).toMatchObject({ outcome: 'abandoned', status: 200 })
    expect(settled?.actual.input_tokens).toBeGreaterThan(0)
    expect(gate.emulator.report().totals.outputTokens).toBeLessThan(200)
  })

  it('while the request waits to be sent again leaves the line', async () => {
    await using stub = await stubUpstream((response) =>
      response.writeHead(429, { 'retry-after': '3000' }).end('{}'),
    )
    await using gate = await openHarness({ upstream: stub.url, queue: { maxWaitMs: 3_600_000 } })
    const caller = await inLine(gate, 'x', 1)
    caller.hangUp()
    await gate.idle()
    expect(gate.of('cancelled')).toHaveLength(1)
  })
})

describe('a caller that reads slowly', () => {
  const CHUNK = Buffer.alloc(64 * 1024, 'x')
  const CHUNKS = 1500

  it('holds the upstream back, and in the end has it all', async () => {
    let written = 0
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const more = (): void => {
        while (written < CHUNKS) {
          written++
          if (!response.write(CHUNK)) return
        }
        response.end()
      }
      response.on('drain', more)
      more()
    })
    await using gate = await openHarness({ upstream: stub.url })
    const { hostname, port } = new URL(gate.url)
    const socket = connect(Number(port), hostname)
    const rssBefore = process.memoryUsage().rss
    let bytes = 0
    socket.pause()
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    socket.write(postOf('/v1/messages', { ...ask('x'), stream: true }, { connection: 'close' }))
    // It stands still when the buffers on the way are full.
    let last = -1
    await until(() => {
      const stands = written > 0 && written === last
      last = written
      return stands
    })
    expect(written).toBeLessThan(CHUNKS / 2)
    expect(process.memoryUsage().rss - rssBefore).toBeLessThan(64 * 2 ** 20)
    socket.resume()
    await until(() => socket.closed)
    expect(bytes).toBeGreaterThan(CHUNK.length * CHUNKS)
    await gate.idle()
    expect(gate.of('settled')[0]).toMatchObject({ outcome: 'answered', status: 200 })
  })

  it('and leaves then lets go of everything', async () => {
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const more = (): void => {
        while (response.write(CHUNK));
      }
      response.on('drain', more)
      more()
    })
    await using gate = await openHarness({ upstream: stub.url })
    const { hostname, port } = new URL(gate.url)
    const socket = connect(Number(port), hostname)
    socket.pause()
    socket.on('error', () => {})
    socket.write(postOf('/v1/messages', { ...ask('x'), stream: true }))
    await until(() => gate.wired.dispatcher.size === 1 && stub.received.length === 1)
    socket.resetAndDestroy()
    await until(() => stub.open.size === 0)
    await gate.idle()
    expect(gate.of('settled')[0]).toMatchObject({ outcome: 'abandoned' })
  })
})
