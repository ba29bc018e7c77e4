// Callers of the gated fetch that go away, read slowly or not at all, and a gate that is closed under them.
import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { createGate, gatedFetch } from '../../src/library/library.ts'
import { type LibraryDoor, openLibrary } from '../doors.ts'
import { ask, failureOf, KEY, until } from '../harness.ts'
import { atOnce, perMinute } from '../limits.ts'
import { type Stub, stubUpstream } from '../stub-upstream.ts'

const JSON_HEADERS = { 'content-type': 'application/json' }

/** An upstream that answers each request only when told to, one at a time. */
async function openHeld(anthropic = atOnce(1)) {
  const answers: (() => void)[] = []
  const stub = await stubUpstream((response) => {
    answers.push(() => response.writeHead(200, JSON_HEADERS).end('{}'))
  })
  const door = await openLibrary({ upstream: stub.url, anthropic })
  return {
    stub,
    door,
    answerNext: async () => {
      await until(() => answers.length > 0)
      answers.shift()?.()
    },
    async [Symbol.asyncDispose]() {
      await door[Symbol.asyncDispose]()
      await stub[Symbol.asyncDispose]()
    },
  }
}

const send = (door: LibraryDoor, text: string, more: RequestInit = {}): Promise<Response> =>
  door.fetch(`${door.url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': KEY },
    body: JSON.stringify(ask(text)),
    ...more,
  })

/** A call that stands in line when this resolves. */
async function inLine(door: LibraryDoor, text: string, queued: number, signal?: AbortSignal) {
  const answer = send(door, text, { signal: signal ?? null })
  const outcome = answer.then(
    (response) => response.text(),
    (error: unknown) => error,
  )
  await until(async () => (await door.status()).queued === queued)
  return { outcome }
}

/** A call whose body passes as it is, and what comes of it: a status, or an error. */
function upload(
  door: LibraryDoor,
  body: NonNullable<RequestInit['body']>,
  more: RequestInit = {},
  maxWait = '1h',
) {
  const headers = {
    'x-api-key': KEY,
    // Others have this path, too.
    'anthropic-version': '2023-06-01',
    'x-headgate-max-wait': maxWait,
  }
  const init: RequestInit = { method: 'POST', headers, body, duplex: 'half', ...more }
  const outcome = door.fetch(`${door.url}/v1/files`, init).then(
    async (response) => {
      await response.text()
      return response.status
    },
    (error: unknown) => error,
  )
  return { outcome }
}

/** The texts of the requests that went upstream, in order. */
const textsOf = (stub: Stub): string[] =>
  stub.received.map(({ body }) => /"content":"(\w+)"/.exec(body.toString())?.[1] ?? '')

describe('a caller that leaves', () => {
  it('before it has come is never seen', async () => {
    await using held = await openHeld()
    const reason = new Error('not wanted')
    const answer = send(held.door, 'x', { signal: AbortSignal.abort(reason) })
    expect(await failureOf(answer)).toBe(reason)
    expect(held.door.happenings).toEqual([])
  })

  it('while it waits leaves the line at once, and is never sent', async () => {
    await using held = await openHeld()
    const { door, stub } = held
    const stop = new AbortController()
    const first = await inLine(door, 'first', 0)
    const second = await inLine(door, 'second', 1, stop.signal)
    const third = await inLine(door, 'third', 2)
    const reason = new Error('not wanted any more')
    stop.abort(reason)
    expect(await second.outcome).toBe(reason)
    await until(async () => (await door.status()).queued === 1)
    expect(door.of('cancelled')).toHaveLength(1)
    for (const { outcome } of [first, third]) {
      await held.answerNext()
      expect(await outcome).toBe('{}')
    }
    expect(textsOf(stub)).toEqual(['first', 'third'])
    await door.idle()
  })

  it('and comes again, as SDKs do after their time-out, has its old place', async () => {
    await using held = await openHeld()
    const { door, stub } = held
    const client = door.client({ maxRetries: 2 })
    const first = await inLine(door, 'first', 0)
    // Times out once while it waits, and is sent again by the SDK itself.
    const early = client.messages.create(ask('early'), { timeout: 400 })
    const outcome = early.then(
      () => 'answered',
      (error: unknown) => error,
    )
    await until(async () => (await door.status()).queued === 1)
    const later = await inLine(door, 'later', 2)
    await until(() => door.of('cancelled').length === 1)
    await until(async () => (await door.status()).queued === 2)
    await held.answerNext()
    await held.answerNext()
    expect(await outcome).toBe('answered')
    await held.answerNext()
    await Promise.all([first.outcome, later.outcome])
    expect(textsOf(stub)).toEqual(['first', 'early', 'later'])
    await door.idle()
  })

  it('after its request was sent ends it upstream, and the next one’s turn has come', async () => {
    await using held = await openHeld()
    const { door, stub } = held
    const stop = new AbortController()
    const first = await inLine(door, 'first', 0, stop.signal)
    await until(() => stub.received.length === 1)
    const second = await inLine(door, 'second', 1)
    const [socket] = stub.open
    stop.abort()
    expect(await first.outcome).toBe(stop.signal.reason)
    await until(() => socket?.destroyed === true && stub.received.length === 2)
    expect(door.of('settled')[0]).toMatchObject({ outcome: 'abandoned' })
    await held.answerNext()
    await held.answerNext()
    await second.outcome
    await door.idle()
  })

  it('in the middle of a stream ends it upstream', async () => {
    await using door = await openLibrary({ speed: 10, emulator: { tokensPerSecond: 20 } })
    const stream = await door
      .client()
      .messages.create({ ...ask('x', { output: 900 }), stream: true })
    let seen = 0
    for await (const event of stream)
      if (event.type === 'content_block_delta' && ++seen === 3) break
    await until(() => door.emulator.report().inFlight === 0)
    await door.idle()
    expect(door.of('settled')[0]).toMatchObject({ outcome: 'abandoned', status: 200 })
    expect(door.emulator.report().totals.outputTokens).toBeLessThan(200)
  })

  it('in the middle of reading is told why', async () => {
    await using door = await openLibrary({ speed: 10, emulator: { tokensPerSecond: 20 } })
    const stop = new AbortController()
    const body = JSON.stringify({ ...ask('x', { output: 900 }), stream: true })
    const response = await send(door, '', { body, signal: stop.signal })
    const reader = response.body?.getReader()
    await reader?.read()
    const reason = new Error('enough')
    stop.abort(reason)
    const rest = async () => {
      while (!(await reader?.read())?.done);
    }
    expect(await failureOf(rest())).toBe(reason)
    await door.idle()
  })

  it('while its call begins is never sent', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    const stop = new AbortController()
    const reason = new Error('not wanted')
    // A listener is called in the very moment in which the call begins.
    await using gate = await createGate(
      { default_tier: 't', tiers: { t: { shadow: { max_tokens_per_request: 1 } } } },
      { events: { shadowed: () => stop.abort(reason) } },
    )
    const answer = gatedFetch(gate, { user: 'alice' })(`${stub.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': KEY },
      body: JSON.stringify(ask('x')),
      signal: stop.signal,
    })
    expect(await failureOf(answer)).toBe(reason)
    await until(async () => (await gate.snapshot()).every(({ inFlight }) => inFlight === 0))
    expect(stub.received).toEqual([])
  })

  it.each([
    ['refused', '0s'],
    ['left', '1h'],
  ])('or is %s lets go of a body that was never sent', async (end, maxWait) => {
    await using held = await openHeld(perMinute(1))
    const { door } = held
    const first = upload(door, 'first')
    await held.answerNext()
    expect(await first.outcome).toBe(200)
    let isCancelled = false
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array(9)),
      cancel() {
        isCancelled = true
      },
    })
    const stop = new AbortController()
    const second = upload(door, body, { signal: stop.signal }, maxWait)
    if (end === 'left') {
      await until(async () => (await door.status()).queued === 1)
      stop.abort(new Error('not wanted'))
      expect(await second.outcome).toEqual(new Error('not wanted'))
    } else {
      expect(await second.outcome).toBe(429)
    }
    await until(() => isCancelled)
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
    await door.idle()
  })

  it('is told at once what its body’s stream fails with while it waits', async () => {
    await using held = await openHeld(perMinute(1))
    const { door } = held
    const first = upload(door, 'first')
    await held.answerNext()
    expect(await first.outcome).toBe(200)
    const reason = new Error('the file has gone')
    let fail = (): void => {}
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        fail = () => controller.error(reason)
      },
    })
    const second = upload(door, body)
    await until(async () => (await door.status()).queued === 1)
    fail()
    expect(await second.outcome).toBe(reason)
    await door.idle()
  })

  it('only by a signal that it has not detached', async () => {
    await using door = await openLibrary({ emulator: { ttftMs: 0, tokensPerSecond: 5000 } })
    const request = new Request(`${door.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': KEY },
      body: JSON.stringify(ask('x')),
      signal: AbortSignal.abort(),
    })
    const response = await door.fetch(request, { signal: null })
    expect(response.status).toBe(200)
    await response.text()
    await door.idle()
  })

  it('leaves no listener behind on a signal that lasts', async () => {
    await using door = await openLibrary({ emulator: { ttftMs: 0, tokensPerSecond: 5000 } })
    const { signal } = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++
      addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--
      removeEventListener.apply(signal, args)
    }
    for (let count = 0; count < 3; count++) await (await send(door, 'x', { signal })).text()
    await door.idle()
    expect(listeners).toBe(0)
  })
})

const CHUNK = Buffer.alloc(64 * 1024, 'x')

/** Sends more than fits in any buffer on the way, as fast as it is taken. */
function floodingUpstream(chunks: number) {
  const written = { chunks: 0 }
  const stub = stubUpstream((response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const more = (): void => {
      while (written.chunks < chunks) {
        written.chunks++
        if (!response.write(CHUNK)) return
      }
      response.end()
    }
    response.on('drain', more)
    more()
  })
  return { stub, written }
}

/** Resolves when nothing more is written: the buffers on the way are full. */
async function standsStill(written: { readonly chunks: number }): Promise<void> {
  let last = -1
  await until(() => {
    const stands = written.chunks > 0 && written.chunks === last
    last = written.chunks
    return stands
  })
}

function collector(): () => void {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  return () => {
    if (typeof collect === 'function') collect()
  }
}

describe('an answer', () => {
  it('that is read slowly holds the upstream back, and comes whole', async () => {
    const { stub: opening, written } = floodingUpstream(1500)
    await using stub = await opening
    await using door = await openLibrary({ upstream: stub.url })
    const response = await send(door, 'x')
    await standsStill(written)
    expect(written.chunks).toBeLessThan(750)
    expect((await response.arrayBuffer()).byteLength).toBe(CHUNK.length * 1500)
    await door.idle()
    expect(door.of('settled')[0]).toMatchObject({ outcome: 'answered', status: 200 })
  })

  it('that is small and never read is over all the same', async () => {
    await using door = await openLibrary({ emulator: { ttftMs: 0, tokensPerSecond: 5000 } })
    const response = await send(door, 'x')
    await door.idle()
    expect(door.of('settled')[0]).toMatchObject({ outcome: 'answered', status: 200 })
    expect(response.bodyUsed).toBe(false)
  })

  it('that its program has forgotten is let go of', async () => {
    const { stub: opening, written } = floodingUpstream(1500)
    await using stub = await opening
    await using door = await openLibrary({ upstream: stub.url })
    const status = await (async () => (await send(door, 'x')).status)()
    expect(status).toBe(200)
    await standsStill(written)
    const collect = collector()
    await until(() => {
      collect()
      return stub.open.size === 0
    })
    await door.idle()
    expect(door.of('settled')[0]).toMatchObject({ outcome: 'abandoned' })
  })

  it('that its program has forgotten is let go of, however little of it has come', async () => {
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: ping\ndata: {}\n\n')
    })
    await using door = await openLibrary({ upstream: stub.url })
    expect(await (async () => (await send(door, 'x')).status)()).toBe(200)
    const collect = collector()
    await until(() => {
      collect()
      return stub.open.size === 0
    })
    await door.idle()
    expect(door.of('settled')[0]).toMatchObject({ outcome: 'abandoned' })
  })

  it('that somebody waits for is kept, whoever else has forgotten it', async () => {
    const rest: (() => void)[] = []
    await using stub = await stubUpstream((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: ping\ndata: {}\n\n')
      rest.push(() => response.end('event: ping\ndata: {"last":1}\n\n'))
    })
    await using door = await openLibrary({ upstream: stub.url })
    const texts: string[] = []
    const reading = async () => {
      const { body } = await send(door, 'x')
      for await (const chunk of body ?? []) texts.push(Buffer.from(chunk).toString())
      texts.push('over')
    }
    // Nothing but the pending read leads to the stream.
    void reading()
    await until(() => texts.length === 1)
    const collect = collector()
    for (let round = 0; round < 5; round++) {
      collect()
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    rest[0]?.()
    await until(() => texts.at(-1) === 'over')
    expect(texts.join('')).toContain('"last":1')
    await door.idle()
  })

  it('that breaks off between events ends with an error event, and otherwise with an error', async () => {
    await using stub = await stubUpstream((response, { body }) => {
      const isEvents = body.includes('events')
      response.writeHead(200, { 'content-type': isEvents ? 'text/event-stream' : 'text/plain' })
      response.write('event: ping\ndata: {}\n\n', () => response.destroy())
    })
    await using door = await openLibrary({ upstream: stub.url })
    const events = await (await send(door, 'events')).text()
    expect(events).toMatch(/^event: ping\ndata: \{\}\n\nevent: error\ndata: \{"type":"error"/)
    const plain = await send(door, 'plain')
    expect(await failureOf(plain.text())).toBeInstanceOf(TypeError)
    await door.idle()
    expect(door.of('settled').map(({ outcome }) => outcome)).toEqual(['broken', 'broken'])
  })
})

describe('a gate that is closed', () => {
  it('refuses those who wait and those who come, and lets those under way end', async () => {
    await using held = await openHeld()
    const { door } = held
    const first = await inLine(door, 'first', 0)
    const waiting = failureOf(door.client().messages.create(ask('x')))
    await until(async () => (await door.status()).queued === 1)
    const closing = door.gate.close()
    const error = await waiting
    if (!(error instanceof Anthropic.InternalServerError)) throw error
    expect([error.status, error.headers.get('x-should-retry')]).toEqual([503, 'true'])
    const late = await failureOf(door.client().messages.create(ask('x')))
    expect(late).toMatchObject({ status: 503 })
    await held.answerNext()
    expect(await first.outcome).toBe('{}')
    await closing
  })

  it('closes although its listeners throw, and answers who waits', async () => {
    await using stub = await stubUpstream(() => {})
    const failures: unknown[] = []
    const broken = (): never => {
      throw new Error('the log is full')
    }
    const gate = await createGate(
      { providers: { anthropic: { limits: [{ match: '*', concurrency: 1 }] } } },
      {
        events: {
          settled: broken,
          refused: broken,
          cancelled: broken,
          failed: (error) => failures.push(error),
        },
      },
    )
    const init = { method: 'POST', headers: { 'x-api-key': KEY }, body: JSON.stringify(ask('x')) }
    const post = () => gatedFetch(gate)(`${stub.url}/v1/messages`, init)
    const first = failureOf(post())
    await until(() => stub.received.length === 1)
    const waiting = [post(), post()]
    await until(async () => (await gate.snapshot())[0]?.queued === 2)
    await gate.close({ graceMs: 0 })
    const statuses = (await Promise.all(waiting)).map(({ status }) => status)
    expect(statuses).toEqual([503, 503])
    expect(await first).toMatchObject({ message: expect.stringContaining('the gate was closed') })
    expect(failures).toEqual(Array.from({ length: 3 }, () => new Error('the log is full')))
  })

  it('ends what takes longer than its grace, headers or not', async () => {
    await using stub = await stubUpstream((response, { body }) => {
      if (!body.includes('begun')) return
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: ping\ndata: {}\n\n')
    })
    const door = await openLibrary({ upstream: stub.url })
    await using _door = door
    const silent = failureOf(send(door, 'silent'))
    const begun = await send(door, 'begun')
    const reading = failureOf(begun.text())
    await until(() => stub.received.length === 2)
    await door.gate.close({ graceMs: 20 })
    for (const error of [await silent, await reading])
      expect(error).toMatchObject({ message: expect.stringContaining('the gate was closed') })
    await until(() => stub.open.size === 0)
  })
})
