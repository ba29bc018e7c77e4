import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { expect, test, vi } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import type { BudgetWarning } from '../ledger/ledger.ts'
import { BudgetWebhook } from './budget-webhook.ts'

const NOW = Date.UTC(2026, 10, 20)

const WARNING: BudgetWarning = {
  subject: 'user:alice',
  period: { unit: 'month', timeZone: 'UTC' },
  startAt: Date.UTC(2026, 10, 1),
  endAt: Date.UTC(2026, 11, 1),
  step: 80,
  amount: 20_000_000_000,
  spent: 16_250_000_000,
  credited: 0,
  isShadow: false,
}

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Answers with each status in turn, the last one for ever. */
async function receiver(...statuses: number[]) {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    received.push({ headers: request.headers, body })
    response.writeHead(statuses[Math.min(received.length, statuses.length) - 1] ?? 200).end('ok')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  return {
    received,
    url: `http://127.0.0.1:${port}/hook`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function openWebhook(url: string, secret = 'whsec_c2VjcmV0IG9mIHRlc3Rz') {
  const clock = new VirtualClock(NOW)
  const told: number[] = []
  const failures: string[] = []
  const webhook = new BudgetWebhook({
    url,
    secret,
    clock,
    random: () => 1,
    told: async ({ step }) => void told.push(step),
    failed: (error) => failures.push(String(error)),
  })
  return { webhook, clock, told, failures, [Symbol.asyncDispose]: () => webhook.close() }
}

test('a warning arrives signed, and is marked as told', async () => {
  await using hook = await receiver(204)
  await using sender = openWebhook(hook.url)
  sender.webhook.tell(WARNING)
  await vi.waitFor(() => expect(sender.told).toEqual([80]))
  const [{ headers, body } = { headers: {}, body: '' }] = hook.received
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
  const mac = createHmac('sha256', 'secret of tests').update(signed).digest('base64')
  expect(headers['webhook-signature']).toBe(`v1,${mac}`)
  expect(headers['webhook-timestamp']).toBe(String(NOW / 1000))
  expect(JSON.parse(body)).toEqual({
    type: 'budget.warning',
    timestamp: '2026-11-20T00:00:00.000Z',
    data: {
      subject: 'user:alice',
      stepPercent: 80,
      amountUsd: '20',
      spentUsd: '16.25',
      period: 'month',
      timeZone: 'UTC',
      startAt: '2026-11-01T00:00:00.000Z',
      endAt: '2026-12-01T00:00:00.000Z',
      isShadow: false,
    },
  })
})

test('a secret that is plain text signs as it is', async () => {
  await using hook = await receiver(200)
  await using sender = openWebhook(hook.url, 'plain')
  sender.webhook.tell(WARNING)
  await vi.waitFor(() => expect(sender.told).toEqual([80]))
  const [{ headers, body } = { headers: {}, body: '' }] = hook.received
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
  const mac = createHmac('sha256', 'plain').update(signed).digest('base64')
  expect(headers['webhook-signature']).toBe(`v1,${mac}`)
})

test('a warning that is not taken is sent again after growing pauses, the same each time', async () => {
  await using hook = await receiver(500, 302, 429, 200)
  await using sender = openWebhook(hook.url)
  sender.webhook.tell(WARNING)
  for (const pauseMs of [1000, 2000, 4000]) {
    const before = sender.clock.now()
    await vi.waitFor(() => expect(sender.clock.nextAt()).toBe(before + pauseMs))
    sender.clock.step()
  }
  await vi.waitFor(() => expect(sender.told).toEqual([80]))
  expect(hook.received).toHaveLength(4)
  expect(new Set(hook.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
  expect(new Set(hook.received.map(({ body }) => body)).size).toBe(1)
  expect(sender.failures).toEqual([expect.stringContaining('it answered 500')])
})

test('one that fails lets the others pass, and the same warning is not sent twice', async () => {
  await using hook = await receiver(500, 200)
  await using sender = openWebhook(hook.url)
  sender.webhook.tell(WARNING)
  sender.webhook.tell(WARNING)
  sender.webhook.tell({ ...WARNING, step: 100 })
  await vi.waitFor(() => expect(sender.clock.nextAt()).toBe(NOW + 1000))
  sender.clock.step()
  await vi.waitFor(() => expect(sender.told).toEqual([100, 80]))
  expect(hook.received).toHaveLength(3)
})

test('the same step of another amount, or after a reset, is another warning to its receiver', async () => {
  await using hook = await receiver(200)
  await using sender = openWebhook(hook.url)
  sender.webhook.tell(WARNING)
  sender.webhook.tell({ ...WARNING, amount: 10_000_000_000 })
  sender.webhook.tell({ ...WARNING, credited: WARNING.spent })
  await vi.waitFor(() => expect(sender.told).toEqual([80, 80, 80]))
  expect(new Set(hook.received.map(({ headers }) => headers['webhook-id'])).size).toBe(3)
})

test('an address that never answers is given up, and that is said', async () => {
  await using sender = openWebhook('http://127.0.0.1:1/')
  sender.webhook.tell(WARNING)
  for (let pauses = 0; pauses < 20; pauses++) {
    await vi.waitFor(() => expect(sender.clock.nextAt()).toBeLessThan(Number.POSITIVE_INFINITY))
    sender.clock.step()
  }
  expect(sender.webhook.waiting).toBe(0)
  expect(sender.told).toEqual([])
  expect(sender.failures.at(-1)).toContain('gave one up after 20 attempts')
})

test('closing ends a pause and sends nothing more', async () => {
  await using hook = await receiver(500)
  const sender = openWebhook(hook.url)
  sender.webhook.tell(WARNING)
  await vi.waitFor(() => expect(sender.clock.nextAt()).toBe(NOW + 1000))
  await sender.webhook.close()
  expect(sender.clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  sender.webhook.tell({ ...WARNING, step: 100 })
  expect(sender.webhook.waiting).toBe(0)
  expect(hook.received).toHaveLength(1)
})

test('no more than a thousand wait', async () => {
  await using sender = openWebhook('http://127.0.0.1:1/')
  for (let step = 0; step < 1001; step++) sender.webhook.tell({ ...WARNING, step })
  expect(sender.webhook.waiting).toBe(1000)
})
