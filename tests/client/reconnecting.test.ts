// What an ask outlasts, and what it does not, against a coordinator that follows a script.
import { describe, expect, it } from 'vitest'
import type { Headgate } from '../../src/client/client.ts'
import { Unreachable } from '../../src/client/errors.ts'
import type { Progress } from '../../src/client/lease.ts'
import { VirtualClock } from '../../src/core/clock.ts'
import { failureOf } from '../harness.ts'
import { until } from '../servers/until.ts'
import { deadUrl, stubUpstream } from '../stub-upstream.ts'
import { grant, LEASES, openClient, problem, WAITING } from './clients.ts'
import {
  type Exchange,
  type ScriptedCoordinator,
  scriptCoordinator,
} from './scripted-coordinator.ts'

const SHUTTING_DOWN = problem(503, 'shutting_down')

/** An ask that has been told where it stands. */
async function standInLine(client: Headgate, gate: ScriptedCoordinator, maxWaitMs?: number) {
  const { promise: stands, resolve: onProgress } = Promise.withResolvers<Progress>()
  const acquired = client.acquire('model', { onProgress, ...(maxWaitMs && { maxWaitMs }) })
  const ask = await gate.next(LEASES)
  ask.event('waiting', WAITING)
  await stands
  return { acquired, ask }
}

describe('an ask that waits', () => {
  it.each<[string, (ask: Exchange) => void]>([
    ['a connection that breaks', (ask) => ask.drop()],
    ['a connection that ends', (ask) => ask.end()],
    ['a gate that stops', (ask) => ask.event('refused', SHUTTING_DOWN)],
    ['an answer that makes no sense', (ask) => ask.event('granted', { id: 'lease-1' })],
    ['an event without an end', (ask) => void ask.write(`data: ${'x'.repeat(300_000)}`)],
  ])('outlasts %s, and stays the same ask', async (_, lose) => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const { acquired, ask } = await standInLine(client, gate)
    lose(ask)
    const again = await gate.next(LEASES)
    expect(again.body).toEqual(ask.body)
    expect(again.headers).toMatchObject({
      'idempotency-key': ask.headers['idempotency-key'],
      'x-headgate-resume': '1',
    })
    again.event('waiting', WAITING)
    grant(again)
    expect((await acquired).id).toBe('lease-1')
    expect(client.events).toEqual([
      { kind: 'reconnecting', resource: 'model', why: expect.any(String) },
      { kind: 'reconnected', resource: 'model', id: 'lease-1' },
    ])
  })

  it('takes silence for a broken connection', async () => {
    await using gate = await scriptCoordinator()
    const clock = new VirtualClock()
    const client = openClient({ url: gate.url }, { clock })
    const { acquired, ask } = await standInLine(client, gate)
    clock.advanceTo(30_000)
    await Promise.all([ask.closed(), client.told('reconnecting')])
    clock.advanceTo(30_010)
    grant(await gate.next(LEASES))
    await acquired
  })

  it('takes any byte for a sign of life', async () => {
    await using gate = await scriptCoordinator()
    const clock = new VirtualClock()
    const client = openClient({ url: gate.url }, { clock })
    const positions: number[] = []
    const { promise: isHeard, resolve } = Promise.withResolvers<void>()
    const onProgress = ({ position }: Progress): void => {
      positions.push(position)
      if (position === 0) resolve()
    }
    const acquired = client.acquire('model', { onProgress })
    const ask = await gate.next(LEASES)
    ask.event('waiting', WAITING)
    await until('it stands in line', async () => positions.length === 1)
    clock.advanceTo(29_999)
    await ask.write(': waiting\n')
    ask.event('waiting', { ...WAITING, position: 0 })
    await isHeard
    clock.advanceTo(59_998)
    grant(ask)
    await acquired
    expect(client.events).toEqual([])
  })

  it('waits no longer in all than it may', async () => {
    await using gate = await scriptCoordinator()
    const clock = new VirtualClock()
    const client = openClient({ url: gate.url }, { clock, random: () => 0 })
    const { acquired, ask } = await standInLine(client, gate, 60_000)
    clock.advanceTo(20_000)
    ask.drop()
    await client.told('reconnecting')
    clock.advanceTo(20_010)
    const again = await gate.next(LEASES)
    expect(again.body).toMatchObject({ maxWaitMs: 39_990 })
    grant(again)
    await acquired
  })

  it('asks for a new place when its lease came and went unheard', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const { acquired, ask } = await standInLine(client, gate)
    ask.drop()
    const again = await gate.next(LEASES)
    again.answer(409, problem(409, 'lease_ended'))
    const anew = await gate.next(LEASES)
    expect(anew.headers['idempotency-key']).not.toBe(ask.headers['idempotency-key'])
    expect(anew.headers).not.toHaveProperty('x-headgate-resume')
    grant(anew, { id: 'lease-2' })
    expect((await acquired).id).toBe('lease-2')
    expect(client.events[1]).toEqual({ kind: 'place_lost', resource: 'model', id: 'lease-1' })
  })

  it('asks anew too when it has never heard of the first one at all', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const acquired = client.acquire('model')
    const ask = await gate.next(LEASES)
    ask.drop()
    ;(await gate.next(LEASES)).answer(409, problem(409, 'lease_ended'))
    const anew = await gate.next(LEASES)
    expect(anew.headers['idempotency-key']).not.toBe(ask.headers['idempotency-key'])
    grant(anew, { id: 'lease-2' })
    expect((await acquired).id).toBe('lease-2')
  })

  it('tells that its place was lost', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const { acquired, ask } = await standInLine(client, gate)
    ask.drop()
    const again = await gate.next(LEASES)
    again.event('waiting', { ...WAITING, placeLost: true })
    grant(again)
    await acquired
    expect(client.events.map(({ kind }) => kind)).toEqual([
      'reconnecting',
      'reconnected',
      'place_lost',
    ])
  })
})

describe('an ask that has not been heard', () => {
  it.each<[string, (ask: Exchange) => void]>([
    ['a broken connection', (ask) => ask.drop()],
    ['a gate that stops', (ask) => ask.answer(503, SHUTTING_DOWN)],
    ['a proxy without a gate behind it', (ask) => ask.answer(502)],
    ['a proxy that gave up', (ask) => ask.answer(504)],
    ['what is no coordinator', (ask) => ask.answer(200, { welcome: true })],
  ])('is made again after %s, and had no place to lose', async (_, fail) => {
    await using gate = await scriptCoordinator()
    const acquired = openClient({ url: gate.url }).acquire('model')
    const ask = await gate.next(LEASES)
    fail(ask)
    const again = await gate.next(LEASES)
    expect(again.headers['idempotency-key']).toBe(ask.headers['idempotency-key'])
    expect(again.headers).not.toHaveProperty('x-headgate-resume')
    grant(again)
    await acquired
  })

  it('fails when nobody listens for too long', async () => {
    const clock = new VirtualClock()
    const client = openClient({ url: await deadUrl() }, { clock })
    const failure = failureOf(client.acquire('model'))
    await client.told('reconnecting')
    clock.advanceTo(14_999)
    const error = await failure
    expect(error).toBeInstanceOf(Unreachable)
    expect(error).toMatchObject({ code: 'UNREACHABLE', problem: null, cause: expect.any(Error) })
    expect(String(error)).toMatch(
      /^Unreachable: the gate at http:.* is out of reach: .*ECONNREFUSED/,
    )
    expect(client.events).toMatchObject([{ kind: 'reconnecting', resource: 'model' }])
  })

  it('fails when nothing answers for too long', async () => {
    await using gate = await scriptCoordinator()
    const clock = new VirtualClock()
    const failure = failureOf(openClient({ url: gate.url }, { clock }).acquire('model'))
    const ask = await gate.next(LEASES)
    clock.advanceTo(15_000)
    expect(await failure).toMatchObject({ code: 'UNREACHABLE' })
    await ask.closed()
  })

  it('fails with what the gate said last', async () => {
    await using gate = await scriptCoordinator()
    const clock = new VirtualClock()
    const client = openClient({ url: gate.url }, { clock })
    const failure = failureOf(client.acquire('model'))
    ;(await gate.next(LEASES)).drop()
    await client.told('reconnecting')
    clock.advanceTo(14_999)
    ;(await gate.next(LEASES)).answer(503, problem(503, 'store_failed'))
    expect(await failure).toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining('the gate says store_failed'),
      problem: { status: 503, reason: 'store_failed' },
    })
  })

  it('goes on ungoverned where that is wished, for all to see', async () => {
    const url = await deadUrl()
    const client = openClient({ url, unreachableAfterMs: 50, onUnreachable: 'fail_open' })
    const lease = await client.acquire('model')
    expect(lease).toMatchObject({ resource: 'model', isGoverned: false })
    expect(client.events.at(-1)).toMatchObject({
      kind: 'ungoverned',
      resource: 'model',
      error: { code: 'UNREACHABLE' },
    })
    await lease.settle(5)
    await lease.release()
    await lease[Symbol.asyncDispose]()
    expect(lease.signal.aborted).toBe(false)
  })

  it('is refused, not ungoverned, by a gate that can be reached', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url, onUnreachable: 'fail_open' })
    const acquired = failureOf(client.acquire('model'))
    ;(await gate.next(LEASES)).answer(409, problem(409, 'lease_ended'))
    expect(await acquired).toMatchObject({ code: 'REFUSED' })
  })

  it('takes its key nowhere else', async () => {
    await using other = await stubUpstream((response) => response.end())
    await using gate = await stubUpstream((response) => {
      response.writeHead(307, { location: `${other.url}/headgate/v1/leases` }).end()
    })
    const clock = new VirtualClock()
    const client = openClient({ url: gate.url, key: 'hg_key' }, { clock })
    const failure = failureOf(client.acquire('model'))
    await client.told('reconnecting')
    clock.advanceTo(14_999)
    expect(await failure).toMatchObject({ code: 'UNREACHABLE' })
    expect(gate.received).toHaveLength(2)
    expect(other.received).toEqual([])
  })
})
