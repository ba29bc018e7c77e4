// The control plane for administrators: over HTTP on a real socket, with a ledger in a real file.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { openLedger } from '../../src/backends/open-ledger.ts'
import { createControl } from '../../src/control/control.ts'
import { realClock } from '../../src/core/clock.ts'
import type { Ledger, Reservation, UsageEvent } from '../../src/ledger/ledger.ts'
import { KeyRing } from '../../src/policy/key-ring.ts'
import type { BudgetRule, SubjectRules, Tier } from '../../src/policy/subject.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { EventMetrics } from '../../src/telemetry/event-metrics.ts'
import { readPage, tablesOf } from '../docs/markdown.ts'

const TOKEN = 'a-token-for-tests'
const USD = 1e9

const monthly: BudgetRule = {
  amount: 20 * USD,
  period: { unit: 'month', timeZone: 'UTC' },
  warnAt: [80, 100],
  isShadow: false,
}

const PRO: Tier = {
  name: 'pro',
  lane: 'normal',
  weight: 2,
  limits: [
    {
      algorithm: 'token_bucket',
      dimension: 'requests',
      amount: 60,
      windowMs: 60_000,
      burst: 20,
      source: 'configured',
    },
  ],
  shadowLimits: [],
  maxTokensPerRequest: 10_000,
  shadowMaxTokensPerRequest: null,
  budgets: [monthly],
  routes: [{ match: '*', model: 'claude-haiku-4-5' }],
  allowedModels: null,
  overflow: 'reject',
}

const RULES: SubjectRules = {
  tiers: new Map([['pro', PRO]]),
  defaultTier: null,
  users: new Map([['alice', { tier: 'pro', team: 'research' }]]),
  teams: new Map([
    ['research', { ...PRO, limits: [], budgets: [{ ...monthly, amount: 100 * USD }] }],
  ]),
  keys: [
    {
      sha256: '0'.repeat(64),
      id: 'fixed',
      user: 'alice',
      team: null,
      tier: null,
      expiresAt: null,
      revokedAt: null,
    },
  ],
  warnAt: [80, 100],
}

interface Asked {
  readonly method?: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

const clock = realClock()

async function openAdmin({ token = TOKEN as string | null, hasLedger = true } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), 'headgate-admin-'))
  const ledger = await openLedger(
    { kind: 'sqlite', file: path.join(folder, 'ledger.db'), isDefault: false, shown: 'sqlite:' },
    {
      clock,
      events: { unavailable() {}, returned() {}, recovered() {}, warned() {}, failed() {} },
    },
  )
  if (!ledger) throw new Error('the ledger is off')
  const happened: string[] = []
  const admin = { clock, ledger, rules: () => RULES, randomBytes }
  const control = createControl({
    clock,
    store: new MemoryStore(clock, () => ({
      limits: [],
      learns: false,
      agingMs: 60_000,
      maxQueued: 1,
      floors: { soft: 0, hard: 0 },
    })),
    counts: new EventMetrics(clock),
    isReady: () => true,
    failed: (error) => happened.push(String(error)),
    administration: {
      admin: hasLedger ? admin : null,
      token: () => token,
      changed: async () => void happened.push('changed'),
    },
  })
  const server = createServer((request, response) => {
    if (!control(request, response)) response.writeHead(404).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  const send = (target: string, { method = 'GET', body, headers = {} }: Asked = {}) =>
    fetch(`http://127.0.0.1:${port}${target}`, {
      method,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  return {
    ledger,
    port,
    happened,
    send,
    /** Status and document. */
    async ask(target: string, asked?: Asked) {
      const response = await send(target, asked)
      const text = await response.text()
      return { status: response.status, body: text === '' ? null : JSON.parse(text) }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await ledger.close(1000)
      await rm(folder, { recursive: true })
    },
  }
}

const ALICE = { user: 'alice', team: 'research', key: null, tier: 'pro' }

async function spend(ledger: Ledger, id: string, cost: number, model = 'claude-haiku-4-5') {
  const call = { id, ...ALICE, provider: 'anthropic', model }
  const reservation: Reservation = { call, at: clock.now(), amount: cost, budgets: [] }
  const event: UsageEvent = {
    call,
    attempt: 1,
    at: reservation.at,
    cost,
    outcome: 'answered',
    isExact: true,
    inputTokens: 100,
    cacheReadTokens: 10,
    cacheWriteTokens: 20,
    cacheWriteHourTokens: 5,
    outputTokens: 7,
  }
  await ledger.reserve(reservation)
  await ledger.settle(event)
}

describe('administrators', () => {
  it('show the token, and are told what to do when they do not', async () => {
    await using gate = await openAdmin()
    const statusWith = async (headers: Record<string, string>) =>
      (await gate.send('/headgate/v1/keys', { headers })).status
    expect(await statusWith({ authorization: `Bearer ${TOKEN}` })).toBe(200)
    expect(await statusWith({ authorization: `bearer ${TOKEN}` })).toBe(200)
    for (const authorization of [
      '',
      'Bearer',
      'Bearer wrong',
      `Basic ${TOKEN}`,
      TOKEN,
      `Bearer ${TOKEN}x`,
    ])
      expect([authorization, await statusWith({ authorization })]).toEqual([authorization, 401])
    const refused = await gate.ask('/headgate/v1/usage', { headers: { authorization: '' } })
    expect(refused.body).toMatchObject({ status: 401, title: 'Unauthorized' })
    expect(refused.body.detail).toContain('Authorization: Bearer')
  })

  it('are not pages in a browser', async () => {
    await using gate = await openAdmin()
    const headers = { origin: 'http://127.0.0.1:4000' }
    expect((await gate.ask('/headgate/v1/keys', { headers })).status).toBe(403)
  })

  it('are nobody without a token in the configuration', async () => {
    await using gate = await openAdmin({ token: null })
    for (const target of [
      'keys',
      'budgets',
      'usage',
      'usage.csv',
      'subjects/alice',
      'keys/ci/rotate',
    ]) {
      const { status, body } = await gate.ask(`/headgate/v1/${target}`)
      expect([target, status]).toEqual([target, 403])
      expect(body.detail).toContain('admin.token')
    }
  })

  it('are told when there is no ledger', async () => {
    await using gate = await openAdmin({ hasLedger: false })
    const { status, body } = await gate.ask('/headgate/v1/keys')
    expect([status, body.detail]).toEqual([
      409,
      'There is no ledger: set ledger in the configuration.',
    ])
  })

  it('are not let in by a path that means another', async () => {
    await using gate = await openAdmin()
    const answerTo = async (target: string) => {
      const socket = connect(gate.port, '127.0.0.1')
      socket.write(`GET ${target} HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n`)
      let text = ''
      for await (const chunk of socket) text += chunk
      return text.slice(9, 12)
    }
    for (const target of ['/headgate/v1/x/../keys', '/headgate/v1//keys', '/headgate/v1/%6beys'])
      expect([target, await answerTo(target)]).not.toEqual([target, '200'])
  })
})

describe('keys', () => {
  it('are created with a secret that is shown once', async () => {
    await using gate = await openAdmin()
    const made = await gate.ask('/headgate/v1/keys', {
      method: 'POST',
      body: { id: 'ci', user: 'bob', tier: 'pro', scopes: ['leases'], expiresIn: '90d' },
    })
    expect(made).toMatchObject({ status: 201, body: { id: 'ci' } })
    expect(gate.happened).toEqual(['changed'])
    const ring = new KeyRing([])
    ring.replaceIssued((await gate.ledger.registry()).keys)
    expect(ring.find(made.body.secret)).toMatchObject({ id: 'ci', user: 'bob', tier: 'pro' })
    const listed = await gate.send('/headgate/v1/keys')
    expect(listed.headers.get('cache-control')).toBe('no-store')
    const text = await listed.text()
    expect(text).not.toContain(made.body.secret)
    const { keys } = JSON.parse(text)
    expect(keys).toHaveLength(2)
    expect(keys[0]).toMatchObject({
      id: 'fixed',
      scopes: ['requests', 'leases'],
      origin: 'configured',
      state: 'active',
    })
    expect(keys[1]).toMatchObject({
      id: 'ci',
      user: 'bob',
      scopes: ['leases'],
      origin: 'issued',
      state: 'active',
      secrets: 1,
    })
    expect(Date.parse(keys[1].expiresAt) - Date.parse(keys[1].createdAt)).toBe(90 * 86_400_000)
  })

  it('have another secret after a rotation, and both for the grace', async () => {
    await using gate = await openAdmin()
    const first = await gate.ask('/headgate/v1/keys', { method: 'POST', body: { id: 'a/b c' } })
    const target = '/headgate/v1/keys/a%2Fb%20c'
    const second = await gate.ask(`${target}/rotate`, { method: 'POST', body: { grace: '1h' } })
    expect([second.status, gate.happened]).toEqual([200, ['changed', 'changed']])
    expect(second.body.secret).not.toBe(first.body.secret)
    expect(Date.parse(second.body.othersExpireAt) - clock.now()).toBeGreaterThan(3_590_000)
    const { keys } = (await gate.ask('/headgate/v1/keys')).body
    expect(keys[1]).toMatchObject({ id: 'a/b c', secrets: 2, expiresAt: null })
    expect((await gate.ask(`${target}/rotate`, { method: 'POST' })).status).toBe(200)
    expect((await gate.ask(target, { method: 'DELETE' })).status).toBe(204)
    expect((await gate.ask('/headgate/v1/keys')).body.keys[1]).toMatchObject({
      state: 'revoked',
      secrets: 0,
    })
    expect((await gate.ask(target, { method: 'DELETE' })).status).toBe(404)
  })

  it('are refused with the field that is wrong', async () => {
    await using gate = await openAdmin()
    const refusalOf = async (body: unknown) => {
      const answer = await gate.ask('/headgate/v1/keys', { method: 'POST', body })
      return [answer.status, answer.body.errors?.[0]?.field]
    }
    expect(await refusalOf({})).toEqual([400, 'id'])
    expect(await refusalOf({ id: 'x\n' })).toEqual([400, 'id'])
    expect(await refusalOf({ id: 'x', tier: 'pto' })).toEqual([400, 'tier'])
    expect(await refusalOf({ id: 'x', team: 'sales' })).toEqual([400, 'team'])
    expect(await refusalOf({ id: 'x', expiresIn: 'soon' })).toEqual([400, 'expiresIn'])
    expect(await refusalOf({ id: 'x', scopes: [] })).toEqual([400, 'scopes'])
    expect(await refusalOf({ id: 'x', scopes: ['lease'] })).toEqual([400, 'scopes.0'])
    expect(await refusalOf({ id: 'x', admin: true })).toEqual([400, 'admin'])
    expect(await refusalOf({ id: 'fixed' })).toEqual([409, 'id'])
    expect(await refusalOf({ id: 'x' })).toEqual([201, undefined])
    expect(await refusalOf({ id: 'x' })).toEqual([409, 'id'])
    expect(await refusalOf('{"id"')).toEqual([400, undefined])
    expect(await refusalOf({ id: 'x'.repeat(70_000) })).toEqual([413, undefined])
    expect((await gate.ask('/headgate/v1/keys/fixed', { method: 'DELETE' })).status).toBe(409)
    const form = { method: 'POST', body: 'id=x', headers: { 'content-type': 'text/plain' } }
    expect((await gate.ask('/headgate/v1/keys', form)).status).toBe(415)
    expect(gate.happened).toEqual(['changed'])
  })
})

describe('budgets', () => {
  it('are shown, set, reset and given back', async () => {
    await using gate = await openAdmin()
    await spend(gate.ledger, 'r1', 2.5 * USD)
    const [alice, ...rest] = (await gate.ask('/headgate/v1/budgets')).body.budgets
    expect(alice).toMatchObject({
      subject: 'user:alice',
      budget: '20 USD/month',
      origin: 'configured',
      spentUsd: '2.5',
      reservedUsd: '0',
      remainingUsd: '17.5',
    })
    expect(rest).toMatchObject([{ subject: 'team:research', remainingUsd: '97.5' }])

    const target = '/headgate/v1/budgets/user:alice'
    const set = await gate.ask(target, {
      method: 'PUT',
      body: { budget: '50 USD/day in Europe/Berlin' },
    })
    expect(set.body.budgets).toMatchObject([
      { budget: '50 USD/day in Europe/Berlin', origin: 'set', remainingUsd: '47.5' },
    ])
    const reset = await gate.ask(`${target}/reset`, { method: 'POST' })
    expect(reset.body.budgets).toMatchObject([{ remainingUsd: '50', creditedUsd: '2.5' }])
    const back = await gate.ask(target, { method: 'DELETE' })
    expect(back.body.budgets).toMatchObject([{ origin: 'configured', budget: '20 USD/month' }])
    expect((await gate.ask(target, { method: 'DELETE' })).status).toBe(404)
    expect(gate.happened).toEqual(['changed', 'changed'])
  })

  it('of one subject are found by its name', async () => {
    await using gate = await openAdmin()
    const budgetsOf = async (name: string) =>
      (await gate.ask(`/headgate/v1/budgets?subject=${name}`)).body.budgets
    expect(await budgetsOf('team:research')).toMatchObject([{ budget: '100 USD/month' }])
    expect(await budgetsOf('user:nobody')).toEqual([])
  })

  it('are refused with the field that is wrong', async () => {
    await using gate = await openAdmin()
    const refusalOf = async (target: string, method: string, body?: unknown) => {
      const answer = await gate.ask(`/headgate/v1/budgets${target}`, { method, body })
      return [answer.status, answer.body.errors?.[0]?.field]
    }
    expect(await refusalOf('/user:alice', 'PUT', { budget: 'a lot' })).toEqual([400, 'budget'])
    expect(await refusalOf('/user:alice', 'PUT', {})).toEqual([400, 'budget'])
    expect(await refusalOf('/alice', 'PUT', { budget: '1 USD/day' })).toEqual([400, 'subject'])
    expect(await refusalOf('/team:sales', 'PUT', { budget: '1 USD/day' })).toEqual([400, 'subject'])
    expect(await refusalOf('?subject=user:', 'GET')).toEqual([400, 'subject'])
    expect(await refusalOf('/user:bob/reset', 'POST')).toEqual([404, 'subject'])
  })
})

describe('usage', () => {
  it('is summed, and told line by line', async () => {
    await using gate = await openAdmin()
    await spend(gate.ledger, 'r1', 3)
    await spend(gate.ledger, 'r2', 5, '=HYPERLINK("http://x";"y"),z')
    const { body } = await gate.ask('/headgate/v1/usage?subject=user:alice')
    expect(body).toMatchObject({
      subject: 'user:alice',
      costUsd: '0.000000008',
      requests: 2,
      unpriced: 0,
      inputTokens: 200,
      outputTokens: 14,
    })
    const response = await gate.send('/headgate/v1/usage.csv')
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    const [head, first, second, end] = (await response.text()).split('\r\n')
    expect(head).toMatch(/^at,request,attempt,user,team,key,tier,provider,model,outcome,cost_usd,/)
    expect(first).toMatch(
      /^20[-\dT:.]+Z,r1,1,alice,research,,pro,anthropic,claude-haiku-4-5,answered,0\.000000003,true,100,10,20,5,7$/,
    )
    expect(second).toContain(`,"'=HYPERLINK(""http://x"";""y""),z",answered,`)
    expect(end).toBe('')
  })

  it('is of the instants that are asked for', async () => {
    await using gate = await openAdmin()
    await spend(gate.ledger, 'r1', 3)
    const requestsIn = async (query: string) =>
      (await gate.ask(`/headgate/v1/usage?${query}`)).body.requests
    expect(await requestsIn('from=2020-01-01&to=2020-02-01T00:00:00%2B01:00')).toBe(0)
    expect(await requestsIn('from=2020-01-01')).toBe(1)
    expect((await gate.ask('/headgate/v1/usage?from=yesterday')).body.errors[0].field).toBe('from')
  })
})

describe('a user', () => {
  it('is bound by tier, team and what administrators set', async () => {
    await using gate = await openAdmin()
    await gate.ledger.setOverride({
      subject: 'user:alice',
      amount: 50 * USD,
      period: { unit: 'month', timeZone: 'UTC' },
    })
    const { body } = await gate.ask('/headgate/v1/subjects/alice')
    expect(body).toMatchObject({
      user: 'alice',
      team: 'research',
      tier: 'pro',
      tierBy: 'user',
      weight: 2,
      maxTokensPerRequest: 10_000,
      routes: [{ match: '*', model: 'claude-haiku-4-5' }],
    })
    expect(body.limits).toEqual([
      {
        subject: 'user:alice',
        dimension: 'requests',
        limit: '60/min burst 20',
        isShadow: false,
        overflow: 'reject',
      },
    ])
    expect(body.budgets).toMatchObject([
      { subject: 'user:alice', budget: '50 USD/month', warnAt: [80, 100] },
      { subject: 'team:research', budget: '100 USD/month' },
    ])
  })
})

describe('the API', () => {
  it('describes itself, as its page does', async () => {
    await using gate = await openAdmin()
    const { status, body } = await gate.ask('/headgate/v1/openapi.json', {
      headers: { authorization: '' },
    })
    expect([status, body.openapi]).toEqual([200, '3.1.0'])
    const described = Object.entries(body.paths).flatMap(([where, methods]) =>
      Object.keys(Object(methods)).map((method) => `${method.toUpperCase()} ${where}`),
    )
    const [administered, leased] = ['admin-api', 'leases'].map(
      (name) => tablesOf(readPage(`docs/reference/${name}.md`))[0]?.rows ?? [],
    )
    const documented = [...(administered ?? []), ...(leased ?? [])].map(
      ([method = '', where = '']) => `${method} ${where}`.replaceAll('`', ''),
    )
    expect(described.sort()).toEqual([...documented, 'GET /headgate/v1/status'].sort())
  })

  it('says 503 while the ledger cannot be used', async () => {
    await using gate = await openAdmin()
    await gate.ledger.close(1000)
    const answer = await gate.send('/headgate/v1/usage.csv')
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(
      (await gate.ask('/headgate/v1/keys', { method: 'POST', body: { id: 'x' } })).status,
    ).toBe(503)
  })
})
