// What budgets do to calls, seen by the official SDK: a real ledger in a file, money to the nano-dollar.
import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, describe, expect, it } from 'vitest'
import type { Ledger, UsageEvent } from '../../src/ledger/ledger.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { ask, failureOf, type Harness, KEY, openHarness, until } from '../harness.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'headgate-budgets-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0

/** Haiku's prices, a dollar for a million tokens of input and five for output, make round figures. */
const MODEL = 'claude-haiku-4-5'

function open(tier: string, more = '', speed = 1): Promise<Harness> {
  const file = path.join(folder, `${files++}.db`)
  return openHarness({
    speed,
    emulator: {
      ttftMs: 0,
      tokensPerSecond: 5000,
      limits: { requests: 1e6, inputTokens: 1e9, outputTokens: 1e9 },
    },
    config: `
ledger: sqlite:${file}
default_tier: t
tiers: { t: ${tier} }
${more}`,
  })
}

const ledgerOf = ({ wired }: Harness): Ledger => {
  if (!wired.ledger) throw new Error('there is no ledger')
  return wired.ledger
}

const as = (user: string) => ({ headers: { 'x-headgate-user': user } })

const messages = (gate: Harness, user = 'bob', max_tokens = 100) =>
  gate
    .client()
    .messages.create({ ...ask('hello', { output: 20 }), model: MODEL, max_tokens }, as(user))
    .withResponse()

/** Bob has spent so much, in nano-dollars, before the test begins. */
function spentEarlier(gate: Harness, cost: number): UsageEvent {
  const call = { id: 'earlier', user: 'bob', team: null, key: null, tier: null }
  return {
    call: { ...call, provider: 'anthropic', model: MODEL },
    attempt: 1,
    at: gate.clock.now(),
    cost,
    outcome: 'answered',
    isExact: true,
    inputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 0,
  }
}

async function refusalOf(promise: Promise<unknown>) {
  const error = await failureOf(promise)
  if (!(error instanceof Anthropic.APIError)) throw error
  return error
}

const usd = (headers: Headers | undefined, name: string): number =>
  Math.round(Number(headers?.get(`x-headgate-budget-${name}-usd`)) * 1e9)

const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER }

async function eventsOf(ledger: Ledger): Promise<UsageEvent[]> {
  const events: UsageEvent[] = []
  for await (const event of ledger.events(EVER)) events.push(event)
  return events
}

describe('a budget', () => {
  it('is charged exactly what the answer used', async () => {
    await using gate = await open('{ budget: 1 USD/month }')
    const { data, response } = await messages(gate)
    await gate.idle()
    const price = new Prices([]).priceOf('anthropic', MODEL, Date.now())
    if (!price) throw new Error('the price is not known')
    const cost = costOf(price, {
      inputTokens: data.usage.input_tokens,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
      cacheWriteHourTokens: 0,
      outputTokens: data.usage.output_tokens,
    })
    expect(cost).toBe(data.usage.input_tokens * 1000 + data.usage.output_tokens * 5000)
    expect(usd(response.headers, 'limit')).toBe(1e9)
    expect(usd(response.headers, 'remaining')).toBeLessThan(1e9)
    const again = await messages(gate)
    await until(async () => (await eventsOf(ledgerOf(gate))).length === 2)
    const total = await ledgerOf(gate).total({ subject: 'user:bob', ...EVER })
    expect(total).toMatchObject({ requests: 2, unpriced: 0 })
    const second = again.data.usage
    expect(total.cost).toBe(cost + second.input_tokens * 1000 + second.output_tokens * 5000)
    expect(gate.of('settled').map(({ actual }) => actual.cost)[0]).toBe(cost)
  })

  it('has more set aside for what asks to be dearer, packed or not', async () => {
    await using gate = await open('{ budget: 1 USD/month }')
    const setAsideFor = async (user: string, more: object, isPacked = false) => {
      const json = JSON.stringify({ ...ask('hello', { output: 20 }), model: MODEL, ...more })
      const packed = isPacked ? { 'content-encoding': 'gzip' } : {}
      const response = await fetch(`${gate.url}/v1/messages`, {
        method: 'POST',
        headers: {
          'x-api-key': KEY,
          'content-type': 'application/json',
          ...packed,
          'x-headgate-user': user,
        },
        body: isPacked ? gzipSync(json) : json,
      })
      expect(response.status).toBe(200)
      await response.text()
      return 1e9 - usd(response.headers, 'remaining')
    }
    const usual = await setAsideFor('bob', {})
    const us = { inference_geo: 'us' }
    expect(await setAsideFor('carol', us)).toBe(Math.ceil(usual * 1.1))
    expect(await setAsideFor('dave', us, true)).toBe(Math.ceil(usual * 1.1))
    expect(await setAsideFor('erin', { ...us, speed: 'fast' })).toBe(Math.ceil(usual * 2.2))
  })

  it('warns once at its steps, and refuses finally when it is spent', async () => {
    // A call costs some 110,000 nano-dollars, and can cost about 520,000.
    await using gate = await open('{ budget: 0.004 USD/month }')
    let refusal: InstanceType<typeof Anthropic.APIError> | null = null
    for (let count = 0; count < 60 && !refusal; count++) {
      const answer = await messages(gate).catch((error: unknown) => error)
      if (answer instanceof Anthropic.APIError) refusal = answer
      else if (answer instanceof Error) throw answer
      else await gate.idle()
    }
    expect(refusal?.status).toBe(402)
    expect(refusal?.message).toMatch(
      /the budget of user bob, 0.004 USD a month, has 0\.000\d+ USD left; this request may cost/,
    )
    expect(refusal?.headers?.get('x-should-retry')).toBe('false')
    expect(usd(refusal?.headers, 'limit')).toBe(4e6)
    await until(() => gate.of('budget_warned').length === 2)
    // The second is told of when a call was refused for want of money.
    expect(gate.of('budget_warned').map(({ warning }) => warning.step)).toEqual([80, 100])
    const total = await ledgerOf(gate).total({ subject: 'user:bob', ...EVER })
    expect(total.cost).toBeLessThanOrEqual(4e6)
    // Somebody else has money of their own.
    await messages(gate, 'carol')
  })

  it('tells of a step that it has passed with every answer after', async () => {
    await using gate = await open('{ budget: 1 USD/month }', 'budget_warnings: { at: [1] }')
    await ledgerOf(gate).settle(spentEarlier(gate, 5e7))
    const { response } = await messages(gate)
    expect(response.headers.get('x-headgate-budget-warning')).toBe('1')
  })

  it('has never been passed by many at once', async () => {
    await using gate = await open('{ budget: 0.01 USD/month }')
    const answers = await Promise.allSettled(
      Array.from({ length: 60 }, () => messages(gate, 'bob', 200)),
    )
    const refused = answers.filter(({ status }) => status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    expect(refused.length).toBeLessThan(60)
    await gate.idle()
    const [balance] = await ledgerOf(gate).balances(
      [
        {
          subject: 'user:bob',
          amount: 1e7,
          period: { unit: 'month', timeZone: 'UTC' },
          warnAt: [],
          isShadow: false,
        },
      ],
      gate.clock.now(),
    )
    expect(balance?.reserved).toBe(0)
    expect(balance?.spent).toBeLessThanOrEqual(1e7)
    const { cost } = await ledgerOf(gate).total({ subject: 'user:bob', ...EVER })
    expect(balance?.spent).toBe(cost)
  })

  it('takes a cheaper model where the configuration has one, and says why', async () => {
    await using gate = await open(
      '{ budget: 0.0008 USD/month }',
      `fallbacks: { claude-opus*: [${MODEL}] }`,
    )
    const { data, response } = await gate
      .client()
      .messages.create(
        { ...ask('hello', { output: 5 }), model: 'claude-opus-4-5', max_tokens: 100 },
        as('bob'),
      )
      .withResponse()
    expect(data.model).toBe(MODEL)
    expect(response.headers.get('x-headgate-model-reason')).toBe('budget')
    await gate.idle()
  })

  it('refuses what nobody knows the price of, unless it is told otherwise', async () => {
    const ask = (gate: Harness) =>
      gate.client().messages.create({
        model: 'claude-opus-99',
        max_tokens: 10,
        messages: [{ role: 'user', content: '[[emulate output=3]]' }],
      })
    await using strict = await open('{ budget: 1 USD/month }')
    expect((await refusalOf(ask(strict))).message).toContain('what this request costs is not known')
    await using lenient = await open('{ budget: 1 USD/month }', 'unknown_price: allow')
    await ask(lenient)
    await until(async () => (await eventsOf(ledgerOf(lenient))).length === 1)
    expect(await ledgerOf(lenient).total(EVER)).toMatchObject({ cost: 0, unpriced: 1 })
  })

  it('sends no batch, since what one costs is not known before', async () => {
    await using gate = await open('{ budget: 1 USD/month }')
    const { status } = await fetch(`${gate.url}/v1/messages/batches`, {
      method: 'POST',
      headers: { 'x-api-key': KEY, 'content-type': 'application/json' },
      body: '{"requests":[]}',
    })
    expect(status).toBe(403)
  })

  it('is set, reset and shown through the admin API while calls come', async () => {
    await using gate = await open(
      '{ budget: 0.001 USD/month }',
      'admin: { token: a-token-of-some-length }',
    )
    const admin = (method: string, what: string, body?: object) =>
      fetch(`${gate.url}/headgate/v1/budgets/${what}`, {
        method,
        headers: {
          authorization: 'Bearer a-token-of-some-length',
          'content-type': 'application/json',
        },
        ...(body && { body: JSON.stringify(body) }),
      })
    const drain = async () => {
      while (
        await messages(gate).then(
          () => true,
          () => false,
        )
      )
        await gate.idle()
    }
    await drain()
    expect((await admin('POST', 'user:bob/reset')).status).toBe(200)
    await messages(gate)
    await drain()
    expect((await admin('PUT', 'user:bob', { budget: '5 USD/month' })).status).toBe(200)
    const { response } = await messages(gate)
    expect(usd(response.headers, 'limit')).toBe(5e9)
  })
})

describe('a warning', () => {
  it('is sent to the webhook, signed, once', async () => {
    const posts: { headers: http.IncomingHttpHeaders; body: string }[] = []
    const receiver = http.createServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => {
        posts.push({ headers: request.headers, body })
        response.end()
      })
    })
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    const address = receiver.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const secret = 'a-secret-between-us'
    await using gate = await open(
      '{ budget: 1 USD/month }',
      `budget_warnings: { at: [1], webhook: { url: "http://127.0.0.1:${port}/", secret: ${secret} } }`,
    )
    await ledgerOf(gate).settle(spentEarlier(gate, 2e7))
    await messages(gate)
    await messages(gate)
    await until(() => posts.length === 1)
    const [{ headers, body } = { headers: {}, body: '' }] = posts
    expect(JSON.parse(body)).toMatchObject({ data: { subject: 'user:bob', stepPercent: 1 } })
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
    const signature = createHmac('sha256', secret).update(signed).digest('base64')
    expect(headers['webhook-signature']).toBe(`v1,${signature}`)
    await until(async () => (await ledgerOf(gate).untold()).length === 0)
    expect(posts).toHaveLength(1)
    receiver.close()
    receiver.closeAllConnections()
  })
})

describe('the record', () => {
  it('has every attempt, and who made it', async () => {
    await using gate = await open('{ }', '', 100)
    await gate
      .client()
      .messages.create({ ...ask('x', { output: 3, fault: 'overload' }), model: MODEL }, as('bob'))
      .catch(() => null)
    await messages(gate, 'carol')
    await gate.idle()
    await until(async () =>
      (await eventsOf(ledgerOf(gate))).some(({ call }) => call.user === 'carol'),
    )
    const events = await eventsOf(ledgerOf(gate))
    const bobs = events.filter(({ call }) => call.user === 'bob')
    expect(bobs.map(({ attempt }) => attempt)).toEqual(bobs.map((_, index) => index + 1))
    expect(bobs.at(0)).toMatchObject({ outcome: 'overloaded', cost: 0 })
    expect(events.at(-1)).toMatchObject({
      call: { user: 'carol', tier: 't', provider: 'anthropic', model: MODEL },
      outcome: 'answered',
      isExact: true,
    })
  })

  it('has what was sent and broke off, by its estimate, since the provider may have done it', async () => {
    await using gate = await open('{ budget: 1 USD/month }', '', 100)
    await gate
      .client()
      .messages.create(
        { ...ask('x', { output: 3, fault: 'connection-reset' }), model: MODEL },
        as('bob'),
      )
      .catch(() => null)
    await gate.idle()
    const events = await eventsOf(ledgerOf(gate))
    expect(events[0]).toMatchObject({ outcome: 'broken', isExact: false, attempt: 1 })
    expect(events[0]?.cost).toBeGreaterThan(0)
  })

  it('has the tokens of a stream that its caller left', async () => {
    await using gate = await open('{ budget: 1 USD/month }')
    const stream = gate
      .client()
      .messages.stream({ ...ask('x', { output: 1000 }), model: MODEL, max_tokens: 1000 }, as('bob'))
    const ended = failureOf(stream.done())
    await new Promise((resolve) => stream.once('text', resolve))
    stream.abort()
    await ended
    await gate.idle()
    await until(async () => (await eventsOf(ledgerOf(gate))).length === 1)
    const [event] = await eventsOf(ledgerOf(gate))
    expect(event).toMatchObject({ outcome: 'abandoned', isExact: false })
    expect(event?.cost).toBeGreaterThan(0)
  })

  it('tells the cost of an answer after it, to callers that read trailers', async () => {
    await using gate = await open('{ }')
    const { data, trailers } = await new Promise<{ data: string; trailers: NodeJS.Dict<string> }>(
      (resolve, reject) => {
        const request = http.request(
          `${gate.url}/v1/messages`,
          {
            method: 'POST',
            headers: { 'x-api-key': KEY, 'content-type': 'application/json', te: 'trailers' },
          },
          (response) => {
            let data = ''
            response.on('data', (chunk) => {
              data += chunk
            })
            response.on('end', () => resolve({ data, trailers: response.trailers }))
          },
        )
        request.on('error', reject)
        request.end(JSON.stringify({ ...ask('hi', { output: 10 }), model: MODEL }))
      },
    )
    const { usage } = JSON.parse(data)
    const cost = usage.input_tokens * 1000 + usage.output_tokens * 5000
    expect(Number(trailers['x-headgate-cost-usd'])).toBe(cost / 1e9)
  })
})
