import { gzipSync } from 'node:zlib'
import Anthropic, { APIError, RateLimitError } from '@anthropic-ai/sdk'
import { createParser } from 'eventsource-parser'
import { afterEach, describe, expect, it } from 'vitest'
import { realClock } from '../core/clock.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from './emulator.ts'

const running: Emulator[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((emulator) => emulator.close()))
})

/** A thousand times as fast: an answer takes milliseconds, a minute's refill 60 ms. */
async function open(settings: EmulatorOptions = {}) {
  const emulator = await startEmulator({
    clock: realClock(),
    random: Math.random,
    settings: { timeScale: 1000, ...settings },
  })
  running.push(emulator)
  const send = (path: string, init: RequestInit = {}) =>
    fetch(emulator.url + path, { headers: { 'x-api-key': 'k' }, ...init })
  const post = (path: string, body: object, init: RequestInit = {}) =>
    send(path, { method: 'POST', body: JSON.stringify(body), ...init })
  const ask = (content: string, more: object = {}) =>
    post('/v1/messages', {
      model: 'claude-sonnet-5',
      max_tokens: 500,
      messages: [{ role: 'user', content }],
      ...more,
    })
  const anthropic = new Anthropic({ baseURL: emulator.url, apiKey: 'k', maxRetries: 0 })
  return { emulator, send, post, ask, anthropic }
}

const QUESTION = {
  model: 'claude-sonnet-5',
  max_tokens: 500,
  messages: [{ role: 'user' as const, content: 'Hello. [[emulate output=37]]' }],
}

describe('with the official SDK', () => {
  it('answers whole', async () => {
    const { anthropic } = await open()
    const { data, response, request_id } = await anthropic.messages.create(QUESTION).withResponse()
    expect(data.usage.output_tokens).toBe(37)
    expect(data.stop_reason).toBe('end_turn')
    expect(data.content[0]).toMatchObject({
      type: 'text',
      text: expect.stringMatching(/^the gate/),
    })
    expect(request_id).toMatch(/^req_/)
    expect(response.headers.get('anthropic-organization-id')).toMatch(/^[0-9a-f-]{36}$/)
    const counted = await anthropic.messages.countTokens({
      model: QUESTION.model,
      messages: QUESTION.messages,
    })
    expect(counted.input_tokens).toBe(data.usage.input_tokens)
  })

  it('answers in a stream that says the same', async () => {
    const { anthropic } = await open()
    const whole = await anthropic.messages.create(QUESTION)
    const streamed = await anthropic.messages.stream(QUESTION).finalMessage()
    expect(streamed.content).toEqual(whole.content)
    expect(streamed.usage.input_tokens).toBe(whole.usage.input_tokens)
    expect(streamed.usage.output_tokens).toBe(37)
  })

  it('serves a marked prompt from the cache the second time', async () => {
    const { anthropic } = await open({ timeScale: 100 })
    const system = [
      {
        type: 'text' as const,
        text: 'You are a gatekeeper. '.repeat(300),
        cache_control: { type: 'ephemeral' as const },
      },
    ]
    const first = await anthropic.messages.create({ ...QUESTION, system })
    const second = await anthropic.messages.create({ ...QUESTION, system })
    expect(first.usage.cache_creation_input_tokens).toBeGreaterThan(1024)
    expect(second.usage.cache_read_input_tokens).toBe(first.usage.cache_creation_input_tokens)
    expect(second.usage.input_tokens).toBe(first.usage.input_tokens)
  })

  it('refuses with the exception, the wait and the words that the SDK knows', async () => {
    const { anthropic, emulator } = await open({
      limits: { requests: 1, inputTokens: 30_000, outputTokens: 8000 },
      timeScale: 10,
      ttftMs: 0,
    })
    await anthropic.messages.create(QUESTION)
    const refused = await anthropic.messages.create(QUESTION).catch((error: unknown) => error)
    if (!(refused instanceof RateLimitError)) throw new Error('expected a RateLimitError')
    expect(refused.headers.get('retry-after')).toBe('6')
    expect(refused.headers.get('anthropic-ratelimit-requests-remaining')).toBe('0')
    expect(refused.message).toContain('1 requests per minute')
    expect(emulator.report().totals).toMatchObject({ admitted: 1, refusedForRequests: 1 })
  })

  it('breaks streams that have begun, as asked', async () => {
    const { anthropic } = await open()
    const finalOf = (fault: string) =>
      anthropic.messages
        .stream({
          ...QUESTION,
          messages: [{ role: 'user', content: `[[emulate output=90 fault=${fault}]]` }],
        })
        .finalMessage()
        .catch((error: unknown) => error)
    const streamError = await finalOf('stream-error')
    expect(streamError).toBeInstanceOf(APIError)
    expect(String(streamError)).toContain('overloaded_error')
    expect(await finalOf('reset-mid-stream')).toBeInstanceOf(Error)
  })
})

describe('the HTTP surface', () => {
  it('sends events in the documented order', async () => {
    const { ask } = await open()
    const response = await ask('[[emulate output=20]]', { stream: true })
    const events: string[] = []
    const parser = createParser({ onEvent: ({ event }) => events.push(event ?? '') })
    parser.feed(await response.text())
    expect(events.slice(0, 3)).toEqual(['message_start', 'content_block_start', 'ping'])
    expect(new Set(events.slice(3, -3))).toEqual(new Set(['content_block_delta']))
    expect(events.slice(-3)).toEqual(['content_block_stop', 'message_delta', 'message_stop'])
  })

  it('stops at max_tokens and says so', async () => {
    const { ask } = await open()
    const response = await ask('[[emulate output=20]]', { max_tokens: 8 })
    expect(await response.json()).toMatchObject({
      stop_reason: 'max_tokens',
      usage: { output_tokens: 8 },
    })
    const warmUp = await ask('[[emulate output=20]]', { max_tokens: 0 })
    expect(await warmUp.json()).toMatchObject({ content: [], usage: { output_tokens: 0 } })
  })

  it.each([
    ['no credential', 401, 'authentication_error', { headers: {} }],
    ['no JSON', 400, 'invalid_request_error', { body: '{' }],
    ['a missing field', 400, 'invalid_request_error', { body: '{"model":"claude-opus-5"}' }],
    ['a model of someone else', 404, 'not_found_error', { body: modelBody('gpt-5') }],
    ['more than 32 MB', 413, 'request_too_large', { body: ' '.repeat(33 * 1024 * 1024) }],
  ])('refuses %s with %i', async (_case, status, type, init) => {
    const { send } = await open()
    const response = await send('/v1/messages', {
      method: 'POST',
      body: modelBody('claude-opus-5'),
      ...init,
    })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { type },
      request_id: response.headers.get('request-id'),
    })
  })

  it('names the missing field', async () => {
    const { post } = await open()
    const response = await post('/v1/messages', { model: 'claude-opus-5', messages: [] })
    const { error } = (await response.json()) as { error: { message: string } }
    expect(error.message).toContain('max_tokens: Field required')
  })

  it('reads gzip bodies, and refuses what is not', async () => {
    const { send } = await open()
    const zipped = (body: Uint8Array<ArrayBuffer>) =>
      send('/v1/messages', {
        method: 'POST',
        headers: { 'x-api-key': 'k', 'content-encoding': 'gzip' },
        body,
      })
    expect((await zipped(new Uint8Array(gzipSync(modelBody('claude-opus-5'))))).status).toBe(200)
    expect((await zipped(new TextEncoder().encode('plain'))).status).toBe(400)
  })

  it('answers the endpoints beside messages', async () => {
    const { send } = await open()
    expect((await send('/api/hello', { method: 'HEAD', headers: {} })).status).toBe(200)
    expect(await (await send('/v1/models/claude-opus-5')).json()).toMatchObject({ type: 'model' })
    expect((await send('/v1/models/claude-none')).status).toBe(404)
    expect(await (await send('/v1/files')).json()).toMatchObject({ data: [], has_more: false })
    expect((await send('/v1/nothing')).status).toBe(404)
  })

  it('gives keys of one organization one bucket, and never shows a key', async () => {
    const { send, emulator } = await open({
      organizations: { 'sk-one': 'acme', 'sk-two': 'acme' },
      timeScale: 1,
      ttftMs: 0,
      tokensPerSecond: 10_000,
    })
    const remaining = async (headers: Record<string, string>) => {
      const body = modelBody('claude-opus-5')
      const response = await send('/v1/messages', { method: 'POST', headers, body })
      await response.text()
      return [
        response.headers.get('anthropic-organization-id'),
        response.headers.get('anthropic-ratelimit-requests-remaining'),
      ]
    }
    const [organization, before] = await remaining({ 'x-api-key': 'sk-one' })
    expect(before).toBe('49')
    expect(await remaining({ authorization: 'Bearer sk-two' })).toEqual([organization, '48'])
    expect(Object.keys(emulator.report().keys)).toHaveLength(2)
    expect(JSON.stringify(emulator.report())).not.toContain('sk-')
  })
})

describe('faults and controls', () => {
  it('overloads while told to, at no cost of quota', async () => {
    const { ask, post, emulator } = await open()
    expect((await post('/emulator/faults', { overloadRate: 2 })).status).toBe(400)
    expect((await post('/emulator/faults', { overloadRate: 1 })).status).toBe(200)
    const overloaded = await ask('hello')
    expect(overloaded.status).toBe(529)
    expect(await overloaded.json()).toMatchObject({ error: { type: 'overloaded_error' } })
    expect((await ask('[[emulate fault=none]]')).status).toBe(200)
    await post('/emulator/faults', { overloadRate: 0 })
    expect((await ask('hello')).status).toBe(200)
    expect(emulator.report().totals).toMatchObject({ requests: 3, admitted: 2, overloaded: 1 })
  })

  it.each([
    ['server-error', 500, null],
    ['spend-limit', 429, null],
    ['ramp-limit', 429, '5'],
  ])('plays %s', async (fault, status, retryAfter) => {
    const { ask } = await open()
    const response = await ask(`[[emulate fault=${fault}]]`)
    expect(response.status).toBe(status)
    expect(response.headers.get('retry-after')).toBe(retryAfter)
  })

  it('drops the connection before any header', async () => {
    const { ask } = await open()
    await expect(ask('[[emulate fault=connection-reset]]')).rejects.toThrow('fetch failed')
  })

  it('answers garbage with a good status', async () => {
    const { ask } = await open()
    const response = await ask('[[emulate fault=garbage]]')
    expect(response.status).toBe(200)
    await expect(response.json()).rejects.toThrow(SyntaxError)
  })

  it('hangs until the client leaves, and then forgets it', async () => {
    const { emulator, post } = await open()
    const leaving = new AbortController()
    const hanging = post(
      '/v1/messages',
      { ...QUESTION, messages: [{ role: 'user', content: '[[emulate fault=hang]]' }] },
      { signal: leaving.signal },
    )
    await until(() => emulator.report().inFlight === 1)
    leaving.abort()
    await expect(hanging).rejects.toThrow()
    await until(() => emulator.report().inFlight === 0)
    expect(emulator.report().totals).toMatchObject({ admitted: 1, outputTokens: 0 })
  })

  it('stops generating when the reader of a stream leaves', async () => {
    const { emulator, ask } = await open({ timeScale: 1, ttftMs: 0, tokensPerSecond: 1000 })
    const response = await ask('[[emulate output=100000]]', { stream: true, max_tokens: 100_000 })
    await response.body?.cancel()
    await until(() => emulator.report().inFlight === 0)
    expect(emulator.report().totals.outputTokens).toBeLessThan(100_000)
  })

  it('starts anew when reset', async () => {
    const { ask, post, send } = await open()
    await (await ask('[[emulate output=3]]')).text()
    expect(await (await send('/emulator/report')).json()).toMatchObject({ totals: { admitted: 1 } })
    await post('/emulator/reset', {})
    expect(await (await send('/emulator/report')).json()).toMatchObject({ totals: { admitted: 0 } })
  })
})

function modelBody(model: string): string {
  return JSON.stringify({ model, max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] })
}

/** Looks again on every turn of the event loop; the test's own time limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
