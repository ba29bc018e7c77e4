// The provider's errors: which are waited out, which are sent again, and which are the answer.
import {
  APIError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { DOORS } from '../doors.ts'
import { ask, failureOf, until } from '../harness.ts'
import { type Received, stubUpstream } from '../stub-upstream.ts'

/** Waits of minutes pass in seconds. */
const speed = 100

const errorBody = (type: string, more: object = {}): string =>
  JSON.stringify({ type: 'error', error: { type, message: `a ${type}`, ...more }, request_id: 'r' })

const MESSAGE = JSON.stringify({ type: 'message', usage: { input_tokens: 3, output_tokens: 5 } })

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

const OK: Answer = { status: 200, body: MESSAGE }

/** Gives each request the next of these answers, and the last one again and again. */
function answering(...answers: readonly Answer[]) {
  const rest = [...answers]
  return stubUpstream((response, _received: Received) => {
    const { status, body, headers } = (rest.length > 1 ? rest.shift() : rest[0]) ?? OK
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(body)
  })
}

const refusal = (headers: Readonly<Record<string, string>> = {}): Answer => ({
  status: 429,
  body: errorBody('rate_limit_error'),
  headers,
})

describe.each(DOORS)('through the %s', (_, openDoor) => {
  describe('429', () => {
    it('whose body breaks off is a 429 all the same', async () => {
      let sent = 0
      await using stub = await stubUpstream((response) => {
        sent++
        if (sent === 1) {
          response.writeHead(429, { 'retry-after': '20', 'content-length': '1000' })
          response.write('{"type":"error"')
          setImmediate(() => response.destroy())
        } else {
          response.writeHead(200, { 'content-type': 'application/json' }).end(OK.body)
        }
      })
      await using gate = await openDoor({ upstream: stub.url, speed: 200 })
      await gate.client().messages.create(ask('x'))
      expect(gate.of('bounced').map(({ reason }) => reason)).toEqual(['rate_limited'])
      expect(gate.of('settled')[0]?.facts.queuedMs).toBeGreaterThanOrEqual(20_000)
      await gate.idle()
    })

    it('that names no wait is not asked again at once', async () => {
      await using stub = await stubUpstream((response) =>
        response.writeHead(429, { 'retry-after': '0' }).end(errorBody('rate_limit_error')),
      )
      await using gate = await openDoor({
        upstream: stub.url,
        speed: 200,
        queue: { maxWaitMs: 60_000 },
      })
      await failureOf(gate.client().messages.create(ask('x')))
      // One second, two, four and so on: six pauses fill a minute.
      expect(stub.received.length).toBeLessThanOrEqual(7)
      await gate.idle()
    })

    const inTenSeconds = {
      date: 'Sun, 22 Nov 2026 08:00:00 GMT',
      at: 'Sun, 22 Nov 2026 08:00:10 GMT',
    }
    const waits: [string, Record<string, string>, number][] = [
      ['seconds', { 'retry-after': '10' }, 10_000],
      ['an HTTP date', { date: inTenSeconds.date, 'retry-after': inTenSeconds.at }, 10_000],
      ['nothing', {}, 500],
      ['a date in the past', { date: inTenSeconds.at, 'retry-after': inTenSeconds.date }, 0],
    ]
    /** A second of ours, in which a busy machine does all this. */
    const overheadMs = 20_000

    it.each(waits)('with %s to wait is waited out', async (_name, headers, leastMs) => {
      await using stub = await answering(refusal(headers), OK)
      await using gate = await openDoor({ speed: 20, upstream: stub.url })
      expect((await gate.client().messages.create(ask('x'))).usage.output_tokens).toBe(5)
      const [settled] = gate.of('settled')
      expect(settled?.facts.attempts).toBe(2)
      expect(settled?.facts.queuedMs).toBeGreaterThanOrEqual(leastMs)
      expect(settled?.facts.queuedMs).toBeLessThan(leastMs + overheadMs)
    })

    it('stops all others of the same resource, and lets them go on one by one', async () => {
      let refuses = true
      const sent: number[] = []
      await using stub = await stubUpstream((response) => {
        sent.push(gate.clock.now())
        if (refuses)
          response.writeHead(429, { 'retry-after': '20' }).end(errorBody('rate_limit_error'))
        else response.writeHead(200, { 'content-type': 'application/json' }).end(MESSAGE)
        refuses = false
      })
      const gate = await openDoor({ speed, upstream: stub.url })
      await using _gate = gate
      const client = gate.client()
      const first = client.messages.create(ask('x'))
      await until(() => gate.of('bounced').length === 1)
      const others = Array.from({ length: 20 }, () => client.messages.create(ask('x')))
      await Promise.all([first, ...others])
      const [refusedAt = 0, probedAt = 0, nextAt = 0] = sent
      expect(probedAt - refusedAt).toBeGreaterThanOrEqual(20_000)
      expect(nextAt).toBeGreaterThan(probedAt)
      expect(gate.of('bounced')).toHaveLength(1)
    })

    it('longer than the caller may wait is told to the caller, in the provider’s own words', async () => {
      await using stub = await answering(refusal({ 'retry-after': '3000' }))
      await using gate = await openDoor({ speed, upstream: stub.url })
      const error = await failureOf(gate.client().messages.create(ask('x')))
      if (!(error instanceof RateLimitError)) throw error
      expect(error.message).toContain('a rate_limit_error')
      expect(error.headers.get('retry-after')).toBe('3000')
      expect((await gate.status()).resources[0]?.pausedUntil).toBeGreaterThan(gate.clock.now())
      await gate.idle()
    })

    it('because money is spent goes to the caller at once, and stops nobody else', async () => {
      const spent = errorBody('rate_limit_error', {
        details: { error_code: 'enforced_spend_limit_reached' },
      })
      await using stub = await answering({ status: 429, body: spent }, OK)
      await using gate = await openDoor({ speed, upstream: stub.url })
      const error = await failureOf(gate.client().messages.create(ask('x')))
      if (!(error instanceof RateLimitError)) throw error
      expect(error.error).toEqual(JSON.parse(spent))
      expect(gate.of('settled')[0]).toMatchObject({ outcome: 'provider_error', status: 429 })
      expect((await gate.status()).resources[0]?.pausedUntil ?? null).toBeNull()
      await gate.client().messages.create(ask('x'))
      await gate.idle()
    })

    it('from the emulator for lack of money goes to the caller at once', async () => {
      await using gate = await openDoor({ speed })
      const error = await failureOf(
        gate.client().messages.create(ask('x', { fault: 'spend-limit' })),
      )
      expect(error).toBeInstanceOf(RateLimitError)
      expect(gate.emulator.report().totals.requests).toBe(1)
    })

    it('to an upload goes to the caller, since the upload is gone, and stops the others', async () => {
      await using stub = await answering(refusal({ 'retry-after': '30' }))
      await using gate = await openDoor({ speed, upstream: stub.url })
      const { status } = await gate.fetch(`${gate.url}/v1/messages/batches`, {
        method: 'POST',
        headers: { 'x-api-key': 'k' },
        body: new Blob(['{"requests":[]}']).stream(),
        duplex: 'half',
      })
      expect(status).toBe(429)
      expect(stub.received).toHaveLength(1)
      expect((await gate.status()).resources[0]?.pausedUntil).toBeGreaterThan(gate.clock.now())
      await gate.idle()
    })
  })

  describe('errors that waiting does not mend', () => {
    const kinds = [
      [400, 'invalid_request_error', BadRequestError],
      [401, 'authentication_error', AuthenticationError],
      [403, 'permission_error', PermissionDeniedError],
      [404, 'not_found_error', NotFoundError],
      [413, 'request_too_large', APIError],
    ] as const

    it.each(kinds)('%i passes unchanged, once', async (status, type, exception) => {
      const body = errorBody(type)
      await using stub = await answering({ status, body, headers: { 'request-id': 'req_7' } })
      await using gate = await openDoor({ speed, upstream: stub.url })
      const error = await failureOf(gate.client().messages.create(ask('x')))
      if (!(error instanceof exception)) throw error
      expect(error.error).toEqual(JSON.parse(body))
      expect(error.requestID).toBe('req_7')
      const raw = await gate.fetch(`${gate.url}/v1/messages`, { method: 'POST', body: '{}' })
      expect(await raw.text()).toBe(body)
      expect(stub.received).toHaveLength(2)
      await gate.idle()
      expect(gate.of('settled')[0]).toMatchObject({ outcome: 'provider_error', status })
    })

    it('larger than what is read of an error pass whole, and cost nothing', async () => {
      const body = errorBody('invalid_request_error', { echo: 'żółć '.repeat(40_000) })
      await using stub = await answering({ status: 400, body })
      await using gate = await openDoor({
        upstream: stub.url,
        anthropic: {
          limits: [
            {
              match: '*',
              limits: [
                {
                  algorithm: 'sliding_window',
                  dimension: 'input_tokens',
                  amount: 10_000,
                  windowMs: 3_600_000,
                  source: 'configured',
                },
              ],
            },
          ],
        },
      })
      const response = await gate.fetch(`${gate.url}/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': 'k' },
        body: JSON.stringify(ask('word '.repeat(1000))),
      })
      expect(response.status).toBe(400)
      expect(await response.text()).toBe(body)
      await gate.idle()
      expect(gate.of('settled')[0]).toMatchObject({ outcome: 'provider_error', status: 400 })
      expect((await gate.status()).resources[0]?.limits[0]?.remaining ?? 10_000).toBe(10_000)
    })
  })

  describe('overload', () => {
    it('is sent again, with time between, and not noticed by the SDK', async () => {
      const overloaded = { status: 529, body: errorBody('overloaded_error') }
      await using stub = await answering(overloaded, { status: 500, body: 'x' }, overloaded, OK)
      await using gate = await openDoor({ speed, upstream: stub.url })
      expect((await gate.client().messages.create(ask('x'))).usage.output_tokens).toBe(5)
      expect(gate.of('settled')[0]?.facts.attempts).toBe(4)
      expect(gate.of('bounced').map(({ status }) => status)).toEqual([529, 500, 529])
    })

    it('that does not end is the provider’s own error after a few tries', async () => {
      await using stub = await answering({ status: 529, body: errorBody('overloaded_error') })
      await using gate = await openDoor({ speed, upstream: stub.url })
      const error = await failureOf(gate.client().messages.create(ask('x')))
      if (!(error instanceof APIError)) throw error
      expect(error.status).toBe(529)
      expect(error.error).toMatchObject({ error: { type: 'overloaded_error' } })
      expect(stub.received).toHaveLength(6)
      await gate.idle()
    })

    it('for a while is outlived by all who wait, within one budget of retries', async () => {
      await using gate = await openDoor({
        speed,
        emulator: {
          faults: { overloadForMs: 5000 },
          limits: { requests: 1000, inputTokens: 1_000_000, outputTokens: 1_000_000 },
        },
      })
      const client = gate.client()
      const startedAt = gate.clock.now()
      const one = () => client.messages.create(ask('x', { output: 3 }))
      const messages = await Promise.all(Array.from({ length: 40 }, one))
      expect(messages).toHaveLength(40)
      const { overloaded, admitted } = gate.emulator.report().totals
      expect(admitted).toBe(40)
      // Once each at the most, and then ten retries at once and twenty a minute, however many wait.
      const minutes = (gate.clock.now() - startedAt) / 60_000
      expect(overloaded).toBeLessThanOrEqual(40 + 10 + 20 * minutes)
      expect(overloaded).toBe(gate.of('bounced').length)
      await gate.idle()
    })
  })

  describe('a mixture of everything', () => {
    it('reaches no caller as long as it passes', async () => {
      await using gate = await openDoor({
        speed,
        emulator: {
          limits: { requests: 200, inputTokens: 200_000, outputTokens: 100_000 },
          faults: {
            overloadRate: 0.05,
            serverErrorRate: 0.05,
            connectionResetRate: 0.05,
            rampLimitRate: 0.05,
          },
        },
      })
      const one = async (index: number) => {
        const client = gate.client({ defaultHeaders: { 'x-headgate-flow': `agent-${index % 7}` } })
        return client.messages.create(ask('word '.repeat(100), { output: 30 }))
      }
      const answers = await Promise.allSettled(Array.from({ length: 80 }, (_, index) => one(index)))
      expect(answers.filter(({ status }) => status === 'rejected')).toEqual([])
      await gate.idle()
      expect(gate.of('failed')).toEqual([])
    })
  })
})
