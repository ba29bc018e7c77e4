// Asking for a turn over HTTP: leases of named resources, in the line that proxied calls wait in too.
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ask, openHarness, until } from '../harness.ts'
import { acquire, askGate, hold, LEASES, settle, watch } from '../lease-caller.ts'
import { postOf, rawCaller } from '../raw-caller.ts'

const ONE = 'resources: { one: { concurrency: 1 }, hourly: { tokens: 1000/hour sliding } }'

const openGate = (config = ONE) =>
  openHarness({ config, emulator: { ttftMs: 0, tokensPerSecond: 5000 } })

const sha256 = (secret: string): string => createHash('sha256').update(secret).digest('hex')

const one = { resource: 'one' }

describe('a lease', () => {
  it('is asked for, renewed and settled', async () => {
    await using gate = await openGate()
    const { status, headers, document } = await acquire(gate.url, { ...one, ttlMs: 5000 })
    expect([status, Object.keys(document).sort()]).toEqual([
      201,
      ['expiresAt', 'grantedAt', 'id', 'resource', 'ttlMs', 'waitedMs'],
    ])
    const id = document.id ?? ''
    expect(headers.get('location')).toBe(`${LEASES}/${id}`)
    expect(document).toMatchObject({ resource: 'one', ttlMs: 5000 })
    const renewed = await askGate(gate.url, `${LEASES}/${id}/renew`, {
      method: 'POST',
      body: { ttlMs: 60_000 },
    })
    expect(renewed.status).toBe(200)
    expect(renewed.document.expiresAt).toBeGreaterThan(document.expiresAt ?? 0)
    expect((await settle(gate.url, id)).document).toEqual({ id, settled: true })
    expect((await settle(gate.url, id)).status).toBe(200)
    await gate.idle()
  })

  it('waits its turn on an open connection', async () => {
    await using gate = await openGate()
    const first = await hold(gate.url, one)
    const second = acquire(gate.url, one)
    await until(async () => (await gate.status()).queued === 1)
    await settle(gate.url, first)
    const { status, document } = await second
    expect(status).toBe(201)
    expect(document.waitedMs).toBeGreaterThan(0)
    const released = await askGate(gate.url, `${LEASES}/${document.id}`, { method: 'DELETE' })
    expect(released.status).toBe(204)
    await gate.idle()
  })

  it('counts what it used, and gives the rest back', async () => {
    await using gate = await openGate()
    const id = await hold(gate.url, { resource: 'hourly', load: 900 })
    const { document: full } = await askGate(gate.url, '/headgate/v1/check', {
      method: 'POST',
      body: { resource: 'hourly', load: { tokens: 101 } },
    })
    expect(full).toMatchObject({ allowed: false, count: 900, max: 1000 })
    await settle(gate.url, id, { body: { actual: { tokens: 200 } } })
    const { document: free } = await askGate(gate.url, '/headgate/v1/check', {
      method: 'POST',
      body: { resource: 'hourly', load: { tokens: 800 } },
    })
    expect(free).toEqual({ allowed: true, count: 1000, max: 1000, retry_after: 0 })
  })

  it('stands in one line with the calls of the gate’s own key', async () => {
    await using gate = await openHarness({
      config:
        'providers: { anthropic: { api_key: sk-own, limits: [{ match: "*", concurrency: 1 }] } }',
      emulator: { ttftMs: 0, tokensPerSecond: 5000 },
    })
    const id = await hold(gate.url, { resource: 'anthropic/claude-sonnet-5' })
    const message = gate.client().messages.create(ask('hello', { output: 5 }))
    await until(async () => (await gate.status()).queued === 1)
    const after = await watch(gate.url, { resource: 'anthropic/claude-sonnet-5' })
    expect(await after.saw('waiting')).toMatchObject({ position: 1 })
    expect((await gate.status()).resources).toHaveLength(1)
    await settle(gate.url, id)
    expect((await message).type).toBe('message')
    await settle(gate.url, (await after.saw('granted')).id ?? '')
    await gate.idle()
  })
})

describe('a stream of events', () => {
  it('says at once where the ask stands, and then that it is granted', async () => {
    await using gate = await openGate()
    const first = await hold(gate.url, one)
    const watcher = await watch(gate.url, one)
    expect(await watcher.saw('waiting')).toEqual({
      id: expect.any(String),
      resource: 'one',
      position: 0,
      expectedInMs: null,
      boundBy: '1 at once',
    })
    await settle(gate.url, first)
    const granted = await watcher.saw('granted')
    expect(granted.id).toBe(watcher.events[0]?.document.id)
    await until(() => watcher.isOver)
    await settle(gate.url, granted.id ?? '')
    const atOnce = await watch(gate.url, one)
    await atOnce.saw('granted')
    expect(atOnce.events).toHaveLength(1)
  })

  it('goes on saying where the ask stands', async () => {
    await using gate = await openHarness({ config: ONE, speed: 100 })
    await hold(gate.url, { ...one, ttlMs: 3_600_000 })
    const watcher = await watch(gate.url, one)
    await until(() => watcher.events.length > 3)
    expect(new Set(watcher.events.map(({ name }) => name))).toEqual(new Set(['waiting']))
    watcher.hangUp()
    await until(async () => (await gate.status()).queued === 0)
  })

  it('ends with the problem when it is refused', async () => {
    await using gate = await openGate()
    await hold(gate.url, one)
    const watcher = await watch(gate.url, { ...one, maxWaitMs: 50 })
    expect(await watcher.saw('refused')).toMatchObject({ status: 429, reason: 'waited_out' })
    const early = await acquire(
      gate.url,
      { resource: 'two' },
      { headers: { accept: 'text/event-stream' } },
    )
    expect([early.status, early.document.reason]).toEqual([404, 'unknown_resource'])
  })
})

describe('a client that goes', () => {
  it('leaves the line at once', async () => {
    await using gate = await openGate()
    const first = await hold(gate.url, one)
    const caller = await rawCaller(gate.url)
    caller.write(postOf(LEASES, one, { host: new URL(gate.url).host }))
    await until(async () => (await gate.status()).queued === 1)
    caller.hangUp()
    await until(async () => (await gate.status()).queued === 0)
    await settle(gate.url, first)
    await gate.idle()
  })

  it('finds its place again by its idempotency key', async () => {
    await using gate = await openGate()
    const first = await hold(gate.url, one)
    const headers = { 'idempotency-key': 'job-7' }
    const lost = await watch(gate.url, one, { headers })
    const { id } = await lost.saw('waiting')
    const behind = await watch(gate.url, one)
    expect(await behind.saw('waiting')).toMatchObject({ position: 1 })
    lost.hangUp()
    const back = await watch(gate.url, one, {
      headers: { ...headers, 'x-headgate-resume': '1' },
    })
    const place = await back.saw('waiting')
    expect(place).toMatchObject({ id, position: 0 })
    expect(place.placeLost).toBeUndefined()
    await settle(gate.url, first)
    expect(await back.saw('granted')).toMatchObject({ id })
    expect(behind.events.map(({ name }) => name)).not.toContain('granted')
  })

  it('is told when its place is lost', async () => {
    await using gate = await openGate()
    await hold(gate.url, one)
    const back = await watch(gate.url, one, {
      headers: { 'idempotency-key': 'from before', 'x-headgate-resume': '1' },
    })
    expect(await back.saw('waiting')).toMatchObject({ placeLost: true })
  })

  it('may cancel what it waits for', async () => {
    await using gate = await openGate()
    await hold(gate.url, one)
    const watcher = await watch(gate.url, one)
    const { id } = await watcher.saw('waiting')
    const shown = await askGate(gate.url, `${LEASES}/${id}`)
    expect(shown.document).toMatchObject({
      id,
      state: 'waiting',
      position: 0,
      boundBy: '1 at once',
    })
    expect((await settle(gate.url, id ?? '')).document.reason).toBe('still_waiting')
    expect((await askGate(gate.url, `${LEASES}/${id}`, { method: 'DELETE' })).status).toBe(204)
    expect(await watcher.saw('refused')).toMatchObject({ status: 409, reason: 'cancelled' })
  })
})

describe('refusals', () => {
  it('name the field that is wrong', async () => {
    await using gate = await openGate()
    const fieldOf = async (body: unknown, headers = {}) => {
      const { status, document } = await acquire(gate.url, body, { headers })
      return [status, document.reason, document.errors?.map(({ field }) => field)]
    }
    expect(await fieldOf({})).toEqual([400, 'invalid', ['resource']])
    expect(await fieldOf([])).toEqual([400, 'invalid', ['body']])
    expect(await fieldOf({ ...one, load: -1 })).toEqual([400, 'invalid', ['load']])
    expect(await fieldOf({ ...one, load: { token: 1 } })).toEqual([400, 'invalid', ['load.token']])
    expect(await fieldOf({ ...one, load: { tokens: 0.5 } })).toEqual([
      400,
      'invalid',
      ['load.tokens'],
    ])
    expect(await fieldOf({ ...one, lane: 'fast', ttl: 1 })).toEqual([
      400,
      'invalid',
      ['lane', 'ttl'],
    ])
    expect(await fieldOf({ ...one, maxWaitMs: 86_400_001 })).toEqual([
      400,
      'invalid',
      ['maxWaitMs'],
    ])
    expect(await fieldOf({ ...one, ttlMs: 999 })).toEqual([400, 'invalid', ['ttlMs']])
    expect(await fieldOf({ ...one, ttlMs: 3_600_001 })).toEqual([400, 'invalid', ['ttlMs']])
    expect(await fieldOf(one, { 'idempotency-key': 'x'.repeat(201) })).toEqual([
      400,
      'invalid',
      ['Idempotency-Key'],
    ])
    expect(await fieldOf({ resource: 'on' })).toEqual([404, 'unknown_resource', ['resource']])
    expect(await fieldOf({ resource: 'hourly', load: 1001 })).toEqual([
      400,
      'load_too_large',
      ['load'],
    ])
    expect(await fieldOf({ resource: 'hourly', load: { tokens: 1001 } })).toEqual([
      400,
      'load_too_large',
      ['load.tokens'],
    ])
    expect((await gate.status()).inFlight).toBe(0)
  })

  it('are problem documents', async () => {
    await using gate = await openGate()
    const { status, headers, document } = await acquire(gate.url, { resource: 'hourl' })
    expect([status, headers.get('content-type')]).toEqual([404, 'application/problem+json'])
    const detail = 'There is no resource hourl: did you mean hourly?'
    expect(document).toEqual({
      type: 'about:blank',
      title: 'Not Found',
      status: 404,
      detail,
      errors: [{ field: 'resource', detail }],
      reason: 'unknown_resource',
    })
  })

  it('say when it makes sense to ask again', async () => {
    await using gate = await openGate()
    await hold(gate.url, { resource: 'hourly', load: 1000 })
    const { status, headers, document } = await acquire(gate.url, {
      resource: 'hourly',
      load: 1,
      maxWaitMs: 1000,
    })
    expect([status, document.reason]).toEqual([429, 'wait_too_long'])
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(3500)
    expect(document.retryAfterMs).toBeGreaterThan(3_500_000)
  })

  it('are for bodies that cannot be read, and for methods that mean nothing', async () => {
    await using gate = await openGate()
    const ask = (body: string, headers = {}) => acquire(gate.url, body, { headers })
    expect((await ask('{"resource":')).status).toBe(400)
    expect((await ask('{}', { 'content-type': 'text/plain' })).status).toBe(415)
    expect((await ask(JSON.stringify({ resource: 'x'.repeat(70_000) }))).status).toBe(413)
    const wrong = await askGate(gate.url, LEASES, { method: 'PUT' })
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, POST, HEAD, OPTIONS'])
    expect((await askGate(gate.url, `${LEASES}/x/y/z`)).status).toBe(404)
    expect((await askGate(gate.url, LEASES, { method: 'HEAD' })).status).toBe(200)
  })

  it('are for leases that are not there, or ended', async () => {
    await using gate = await openGate()
    const unknown = await settle(gate.url, 'lease.b25l.AAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA')
    expect([unknown.status, unknown.document.reason]).toEqual([404, 'lease_unknown'])
    const headers = { 'idempotency-key': 'once' }
    await settle(gate.url, await hold(gate.url, one, { headers }))
    const again = await acquire(gate.url, one, { headers })
    expect([again.status, again.document.reason]).toEqual([409, 'lease_ended'])
  })

  it('come at once to whoever may not wait', async () => {
    await using gate = await openGate()
    await hold(gate.url, one)
    const { status, document } = await acquire(gate.url, { ...one, maxWaitMs: 0 })
    expect([status, document.reason]).toEqual([429, 'waited_out'])
    expect((await gate.status()).queued).toBe(0)
  })

  it('are for one caller who has too many', async () => {
    await using gate = await openGate(`${ONE}\nleases: { max_per_caller: 1 }`)
    await hold(gate.url, one)
    const { status, document } = await acquire(gate.url, one)
    expect([status, document.reason]).toEqual([429, 'too_many_leases'])
  })

  it('are for a line that is full', async () => {
    await using gate = await openHarness({ config: ONE, queue: { maxQueued: 1 } })
    await hold(gate.url, one)
    const first = await watch(gate.url, one)
    await first.saw('waiting')
    const { status, document } = await acquire(gate.url, one)
    expect([status, document.reason]).toEqual([429, 'queue_full'])
  })

  it('reach those who wait when the gate stops', async () => {
    await using gate = await openGate()
    await hold(gate.url, one)
    const watcher = await watch(gate.url, one)
    await watcher.saw('waiting')
    const plain = acquire(gate.url, one)
    await until(async () => (await gate.status()).queued === 2)
    const closed = gate.wired.close()
    expect(await watcher.saw('refused')).toMatchObject({ status: 503, reason: 'shutting_down' })
    const { status, document } = await plain
    expect([status, document.reason]).toEqual([503, 'shutting_down'])
    await closed
    expect(gate.of('warned')).toMatchObject([
      { sentence: expect.stringMatching(/1 leases are held/) },
    ])
  })
})

describe('who may ask', () => {
  const KEYED = `${ONE}
admin: { token: a-token-for-tests }
keys:
  - { id: ci, sha256: ${sha256('hgk_ci')} }
  - { id: other, sha256: ${sha256('hgk_other')}, scopes: [leases] }
  - { id: proxy, sha256: ${sha256('hgk_proxy')}, scopes: [requests] }
  - { id: boss, sha256: ${sha256('hgk_boss')}, scopes: ["leases:all"] }
identity: { require_key: true }
leases: { origins: [https://app.example] }
`
  const ci = { 'x-headgate-key': 'hgk_ci' }
  const other = { authorization: 'Bearer hgk_other' }

  it('is told apart by keys and their scopes', async () => {
    await using gate = await openGate(KEYED)
    const refusalOf = async (headers: Record<string, string>) => {
      const { status, document } = await acquire(gate.url, one, { headers })
      return [status, document.reason]
    }
    expect(await refusalOf({})).toEqual([401, 'key_missing'])
    expect(await refusalOf({ authorization: 'Bearer wrong' })).toEqual([401, 'key_unknown'])
    expect(await refusalOf({ 'x-headgate-key': 'hgk_proxy' })).toEqual([403, 'scope_missing'])
    const id = await hold(gate.url, one, { headers: ci })
    for (const [method, path] of [
      ['POST', `${LEASES}/${id}/settle`],
      ['POST', `${LEASES}/${id}/renew`],
      ['DELETE', `${LEASES}/${id}`],
      ['GET', `${LEASES}/${id}`],
    ] as const)
      expect((await askGate(gate.url, path, { method, headers: other })).status).toBe(404)
    const listed = async (headers: Record<string, string>) =>
      (await askGate(gate.url, `${LEASES}?resource=one`, { headers })).document.leases
    expect(await listed(other)).toEqual([])
    expect(await listed(ci)).toMatchObject([{ id, state: 'held', load: { requests: 1 } }])
    expect(await listed({ 'x-headgate-key': 'hgk_boss' })).toHaveLength(1)
    expect(await listed({ authorization: 'Bearer a-token-for-tests' })).toHaveLength(1)
    const ended = await askGate(gate.url, `${LEASES}/${id}`, {
      method: 'DELETE',
      headers: { authorization: 'Bearer a-token-for-tests' },
    })
    expect(ended.status).toBe(204)
    await gate.idle()
  })

  it('is no web page, save of origins that are named', async () => {
    await using gate = await openGate(KEYED)
    const from = (origin: string) => ({ ...ci, origin })
    const stranger = await acquire(gate.url, one, { headers: from('https://evil.example') })
    expect([stranger.status, stranger.document.reason]).toEqual([403, 'forbidden'])
    expect(stranger.headers.get('access-control-allow-origin')).toBeNull()
    const preflight = await askGate(gate.url, LEASES, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-headers')).toContain('idempotency-key')
    const friend = await acquire(gate.url, one, { headers: from('https://app.example') })
    expect(friend.status).toBe(201)
    expect(friend.headers.get('access-control-allow-origin')).toBe('https://app.example')
    const refused = await acquire(
      gate.url,
      { resource: 'x' },
      { headers: from('https://app.example') },
    )
    expect(refused.headers.get('access-control-allow-origin')).toBe('https://app.example')
  })
})

it('hundreds who wait are told each in turn, and nothing is left of them', async () => {
  await using gate = await openGate('resources: { one: { concurrency: 10 } }')
  let atOnce = 0
  let most = 0
  await Promise.all(
    Array.from({ length: 300 }, async () => {
      const id = await hold(gate.url, one)
      atOnce++
      most = Math.max(most, atOnce)
      atOnce--
      await settle(gate.url, id)
    }),
  )
  expect(most).toBeLessThanOrEqual(10)
  await gate.idle()
  expect(gate.wired.desk.size).toBe(0)
})
