// Asking for a lease, against a coordinator that follows a script.
import { describe, expect, it, vi } from 'vitest'
import { Forbidden, Invalid, Refused } from '../../src/client/errors.ts'
import { failureOf } from '../harness.ts'
import { GRANTED, grant, LEASES, openClient, problem, WAITING } from './clients.ts'
import { scriptCoordinator } from './scripted-coordinator.ts'

describe('an ask', () => {
  it('says all that it was told to, with its key, and becomes a lease', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: `${gate.url}/`, key: 'hg_key' })
    const acquired = client.acquire('model', {
      load: { input_tokens: 5 },
      lane: 'high',
      flow: 'worker-7',
      maxWaitMs: 60_000,
      ttlMs: 30_000,
    })
    const ask = await gate.next(LEASES)
    expect(ask.body).toEqual({
      resource: 'model',
      load: { input_tokens: 5 },
      lane: 'high',
      flow: 'worker-7',
      maxWaitMs: expect.closeTo(60_000, -3),
      ttlMs: 30_000,
    })
    expect(ask.headers).toMatchObject({
      authorization: 'Bearer hg_key',
      accept: 'text/event-stream',
      'content-type': 'application/json',
      'idempotency-key': expect.stringMatching(/^[0-9a-f]{32}$/),
    })
    expect(ask.headers).not.toHaveProperty('x-headgate-resume')
    grant(ask)
    const lease = await acquired
    const { id, resource, grantedAt, waitedMs, isGoverned } = lease
    expect({ id, resource, grantedAt, waitedMs, isGoverned }).toEqual({
      id: 'lease-1',
      resource: 'model',
      grantedAt: 1_000_000,
      waitedMs: 20,
      isGoverned: true,
    })
    expect(lease.signal.aborted).toBe(false)
  })

  it('says no more than it was told to, and has no key of its own', async () => {
    await using gate = await scriptCoordinator()
    const acquired = openClient({ url: gate.url }).acquire('model')
    const ask = await gate.next(LEASES)
    expect(ask.body).toEqual({ resource: 'model' })
    expect(ask.headers).not.toHaveProperty('authorization')
    grant(ask)
    await acquired
  })

  it('tells how it stands in line', async () => {
    await using gate = await scriptCoordinator()
    const onProgress = vi.fn()
    const acquired = openClient({ url: gate.url }).acquire('model', { onProgress })
    const ask = await gate.next(LEASES)
    ask.event('waiting', WAITING)
    ask.event('waiting', { ...WAITING, position: 0, expectedInMs: null, boundBy: null })
    grant(ask)
    await acquired
    expect(onProgress.mock.calls).toEqual([
      [{ position: 3, expectedInMs: 1500, boundBy: '10 requests per 60 s' }],
      [{ position: 0, expectedInMs: null, boundBy: null }],
    ])
  })

  it.each(['\n', '\r\n', '\r'])('reads events that come byte by byte, ended by %j', async (end) => {
    await using gate = await scriptCoordinator()
    const onProgress = vi.fn()
    const acquired = openClient({ url: gate.url }).acquire('modèle', { onProgress })
    const ask = await gate.next(LEASES)
    const lines = [
      ': waiting',
      'event: waiting',
      `data: ${JSON.stringify({ ...WAITING, boundBy: 'zwölf Anfragen 🚪' })}`,
      '',
      'event: of another time',
      'data: nothing',
      '',
      'id: 7',
      'event:granted',
      `data:${JSON.stringify({ ...GRANTED, resource: 'modèle' })}`,
      '',
      '',
    ]
    for (const byte of Buffer.from(lines.join(end))) await ask.write(Buffer.of(byte))
    expect((await acquired).resource).toBe('modèle')
    expect(onProgress.mock.calls[0]?.[0].boundBy).toBe('zwölf Anfragen 🚪')
  })

  it('is made at once, however many others wait', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const acquired = Array.from({ length: 200 }, () => client.acquire('model'))
    const asks = await Promise.all(acquired.map(() => gate.next(LEASES)))
    const keys = new Set(asks.map(({ headers }) => headers['idempotency-key']))
    expect(keys.size).toBe(200)
    for (const [index, ask] of asks.entries()) grant(ask, { id: `lease-${index}` })
    const ids = new Set((await Promise.all(acquired)).map(({ id }) => id))
    expect(ids.size).toBe(200)
  })
})

describe('a no', () => {
  const NO_ROOM = problem(429, 'queue_full', { retryAfterMs: 1200 })

  it('for now is Refused, and says when to ask again', async () => {
    await using gate = await scriptCoordinator()
    const acquired = failureOf(openClient({ url: gate.url }).acquire('model'))
    ;(await gate.next(LEASES)).answer(429, NO_ROOM)
    const error = await acquired
    expect(error).toBeInstanceOf(Refused)
    expect(error).toMatchObject({
      code: 'REFUSED',
      name: 'Refused',
      message: 'the gate says queue_full',
      retryAfterMs: 1200,
      problem: { status: 429, reason: 'queue_full', errors: [] },
    })
  })

  it('within the stream is the same', async () => {
    await using gate = await scriptCoordinator()
    const acquired = failureOf(openClient({ url: gate.url }).acquire('model'))
    const ask = await gate.next(LEASES)
    ask.event('waiting', WAITING)
    ask.event('refused', NO_ROOM)
    expect(await acquired).toMatchObject({ code: 'REFUSED', retryAfterMs: 1200 })
    expect(gate.untaken).toEqual([])
  })

  it.each([400, 404, 413, 415])('with %i is Invalid, and names the field', async (status) => {
    await using gate = await scriptCoordinator()
    const acquired = failureOf(openClient({ url: gate.url }).acquire('model'))
    const errors = [{ field: 'load.tokens', detail: 'load.tokens is above 10' }]
    ;(await gate.next(LEASES)).answer(status, problem(status, 'load_too_large', { errors }))
    const error = await acquired
    expect(error).toBeInstanceOf(Invalid)
    expect(error).toMatchObject({ code: 'INVALID', errors })
  })

  it.each([401, 403])('with %i is Forbidden', async (status) => {
    await using gate = await scriptCoordinator()
    const acquired = failureOf(openClient({ url: gate.url }).acquire('model'))
    ;(await gate.next(LEASES)).answer(status, problem(status, 'scope_missing'))
    expect(await acquired).toBeInstanceOf(Forbidden)
  })

  it('of a proxy, which is no problem document, is told all the same', async () => {
    await using gate = await scriptCoordinator()
    const acquired = failureOf(openClient({ url: gate.url }).acquire('model'))
    ;(await gate.next(LEASES)).answer(429)
    expect(await acquired).toMatchObject({ code: 'REFUSED', problem: { reason: 'http_429' } })
  })
})
