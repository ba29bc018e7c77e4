// Holding a lease: renewing, losing and ending it, against a coordinator that follows a script. A
// client's minutes pass when the test says so.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { TIMINGS } from '../../src/client/patience.ts'
import { VirtualClock } from '../../src/core/clock.ts'
import { ROOT } from '../docs/markdown.ts'
import { failureOf } from '../harness.ts'
import { until } from '../servers/until.ts'
import { deadUrl } from '../stub-upstream.ts'
import { grant, LEASES, openClient, problem } from './clients.ts'
import { type ScriptedCoordinator, scriptCoordinator } from './scripted-coordinator.ts'

const RENEW = 'POST /headgate/v1/leases/lease-1/renew'
const SETTLE = 'POST /headgate/v1/leases/lease-1/settle'
const RELEASE = 'DELETE /headgate/v1/leases/lease-1'
const GONE = problem(404, 'lease_unknown')

const renewed = (ttlMs = 30_000): object => ({ id: 'lease-1', expiresAt: 1_040_000, ttlMs })

/** A lease of 30 s, granted when the clock was at 0, and renewed at 10 s sharp. */
async function hold(gate: ScriptedCoordinator) {
  const clock = new VirtualClock()
  const client = openClient({ url: gate.url }, { clock, random: () => 1, timings: TIMINGS })
  const acquired = client.acquire('model')
  grant(await gate.next(LEASES))
  return { clock, client, lease: await acquired }
}

/** Lets time pass to where the client wants to be woken next. */
async function passTo(clock: VirtualClock, at: number): Promise<void> {
  await until(`it sleeps until ${at}`, async () => clock.nextAt() === at)
  clock.advanceTo(at)
}

describe('a lease that is held', () => {
  it('is renewed when a third of its time has passed', async () => {
    await using gate = await scriptCoordinator()
    const { clock, lease } = await hold(gate)
    clock.advanceTo(9_999)
    expect(gate.untaken).toEqual([])
    clock.advanceTo(10_000)
    const renewal = await gate.next(RENEW)
    expect(renewal.body).toEqual({ ttlMs: 30_000 })
    renewal.answer(200, renewed(6_000))
    await passTo(clock, 12_000)
    const next = await gate.next(RENEW)
    expect(next.body).toEqual({ ttlMs: 6_000 })
    expect(lease.signal.aborted).toBe(false)
  })

  it.each([503, 403])('outlasts renewals that fail with %i', async (status) => {
    await using gate = await scriptCoordinator()
    const { clock, client, lease } = await hold(gate)
    clock.advanceTo(10_000)
    ;(await gate.next(RENEW)).drop()
    await passTo(clock, 10_100)
    ;(await gate.next(RENEW)).answer(status, problem(status, 'not_now'))
    await passTo(clock, 10_300)
    ;(await gate.next(RENEW)).answer(200, renewed())
    await passTo(clock, 20_300)
    await gate.next(RENEW)
    expect(lease.signal.aborted).toBe(false)
    expect(client.events).toEqual([])
  })

  it('is renewed again when a renewal is not answered', async () => {
    await using gate = await scriptCoordinator()
    const { clock } = await hold(gate)
    clock.advanceTo(10_000)
    const renewal = await gate.next(RENEW)
    clock.advanceTo(15_000)
    await renewal.closed()
    await passTo(clock, 15_100)
    await gate.next(RENEW)
  })

  it('is renewed at once when it may have been granted a while ago', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const acquired = client.acquire('model')
    ;(await gate.next(LEASES)).drop()
    grant(await gate.next(LEASES))
    await acquired
    ;(await gate.next(RENEW)).answer(200, renewed())
  })

  it('keeps no program from ending', async () => {
    await using gate = await scriptCoordinator()
    const program = `
      import { connect } from './src/client/connect.ts'
      const lease = await connect({ url: '${gate.url}' }).acquire('model')
      console.log(lease.id)`
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
      cwd: ROOT,
      timeout: 9_000,
    })
    grant(await gate.next(LEASES))
    expect((await run).stdout).toBe('lease-1\n')
  })
})

describe('a lease that is lost', () => {
  it('tells its holder, and is not renewed any more', async () => {
    await using gate = await scriptCoordinator()
    const { clock, client, lease } = await hold(gate)
    clock.advanceTo(10_000)
    ;(await gate.next(RENEW)).answer(404, GONE)
    const event = await client.told('lost')
    expect(event).toMatchObject({ resource: 'model', id: 'lease-1' })
    expect(lease.signal.aborted).toBe(true)
    expect(lease.signal.reason).toMatchObject({
      code: 'LEASE_LOST',
      name: 'LeaseLost',
      message: 'the gate says lease_unknown',
      problem: { status: 404 },
    })
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })

  it('by time, since the gate is out of reach, tells so when the time is over', async () => {
    await using gate = await scriptCoordinator()
    const { clock, client, lease } = await hold(gate)
    await gate[Symbol.asyncDispose]()
    const { promise: isLost, resolve } = Promise.withResolvers<void>()
    lease.signal.addEventListener('abort', () => resolve())
    clock.advanceTo(10_000)
    await until('the time is over', async () => {
      clock.step()
      return clock.now() >= 30_000
    })
    await isLost
    expect(clock.now()).toBe(30_000)
    expect(lease.signal.reason).toMatchObject({ code: 'LEASE_LOST', cause: expect.any(Error) })
    expect(client.events.map(({ kind }) => kind)).toEqual(['lost'])
  })

  it('has nothing to settle', async () => {
    await using gate = await scriptCoordinator()
    const { clock, client, lease } = await hold(gate)
    clock.advanceTo(10_000)
    ;(await gate.next(RENEW)).answer(404, GONE)
    await client.told('lost')
    await lease.settle(12)
    await lease.release()
    expect(gate.untaken).toEqual([])
  })
})

describe('a lease that ends', () => {
  it('is settled at what was used, and not renewed any more', async () => {
    await using gate = await scriptCoordinator()
    const { clock, lease } = await hold(gate)
    const settled = lease.settle({ output_tokens: 12 })
    const request = await gate.next(SETTLE)
    expect(request.body).toEqual({ actual: { output_tokens: 12 } })
    request.answer(200, { id: 'lease-1', settled: true })
    await settled
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })

  it('is released', async () => {
    await using gate = await scriptCoordinator()
    const { lease } = await hold(gate)
    const released = lease.release()
    ;(await gate.next(RELEASE)).answer(204)
    await released
  })

  it('is settled at what was asked for when its block is left', async () => {
    await using gate = await scriptCoordinator()
    const { lease } = await hold(gate)
    const left = (async () => {
      await using _ = lease
    })()
    const request = await gate.next(SETTLE)
    expect(request.body).toEqual({})
    request.answer(200, {})
    await left
  })

  it('ends once', async () => {
    await using gate = await scriptCoordinator()
    const { lease } = await hold(gate)
    const ended = Promise.all([lease.release(), lease.settle(5), lease[Symbol.asyncDispose]()])
    ;(await gate.next(RELEASE)).answer(204)
    await ended
    await lease.settle()
    expect(gate.untaken).toEqual([])
  })

  it('ends over a restart of the gate, whether it was heard before or not', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const acquired = client.acquire('model')
    grant(await gate.next(LEASES))
    const settled = (await acquired).settle(7)
    ;(await gate.next(SETTLE)).answer(503, problem(503, 'shutting_down'))
    ;(await gate.next(SETTLE)).drop()
    const last = await gate.next(SETTLE)
    expect(last.body).toEqual({ actual: 7 })
    last.answer(404, GONE)
    await settled
    expect(client.events).toEqual([])
  })

  it('after the gate ended it is told as lost, and throws nothing', async () => {
    await using gate = await scriptCoordinator()
    const { client, lease } = await hold(gate)
    const settled = lease.settle()
    ;(await gate.next(SETTLE)).answer(404, GONE)
    await settled
    expect(client.events).toMatchObject([{ kind: 'lost', error: { code: 'LEASE_LOST' } }])
    expect(lease.signal.aborted).toBe(true)
  })

  it('while the gate is out of reach is told as left open, and throws nothing', async () => {
    await using gate = await scriptCoordinator()
    const { clock, client, lease } = await hold(gate)
    await gate[Symbol.asyncDispose]()
    const settled = lease.settle()
    await until('it is told', async () => {
      clock.step()
      return client.events.length > 0
    })
    await settled
    expect(clock.now()).toBeGreaterThan(10_000)
    expect(client.events).toMatchObject([
      { kind: 'left_open', resource: 'model', id: 'lease-1', error: { code: 'UNREACHABLE' } },
    ])
  })

  it('in a way that the gate never takes is told as left open, and throws nothing', async () => {
    await using gate = await scriptCoordinator()
    const { client, lease } = await hold(gate)
    const settled = lease.settle()
    ;(await gate.next(SETTLE)).answer(405)
    await settled
    expect(client.events).toMatchObject([{ kind: 'left_open', error: { code: 'INVALID' } }])
  })

  it('is still held after a mistake in what was used', async () => {
    await using gate = await scriptCoordinator()
    const { clock, lease } = await hold(gate)
    const wrong = failureOf(lease.settle(-1))
    const errors = [{ field: 'actual', detail: 'actual is below 0' }]
    ;(await gate.next(SETTLE)).answer(400, problem(400, 'bad_request', { errors }))
    expect(await wrong).toMatchObject({ code: 'INVALID', errors })
    await passTo(clock, 0)
    ;(await gate.next(RENEW)).answer(200, renewed())
    const settled = lease.settle(1)
    const request = await gate.next(SETTLE)
    expect(request.body).toEqual({ actual: 1 })
    request.answer(200, {})
    await settled
  })
})

describe('withLease', () => {
  it('gives what the work gives, and settles at what was asked for', async () => {
    await using gate = await scriptCoordinator()
    const client = openClient({ url: gate.url })
    const done = client.withLease('model', { load: 5 }, (lease) => `work under ${lease.id}`)
    const ask = await gate.next(LEASES)
    expect(ask.body).toEqual({ resource: 'model', load: 5 })
    grant(ask)
    const settling = await gate.next(SETTLE)
    expect(settling.body).toEqual({})
    settling.answer(200, {})
    expect(await done).toBe('work under lease-1')
  })

  it('throws what the work throws, and settles all the same', async () => {
    await using gate = await scriptCoordinator()
    const failure = new Error('the model is of another opinion')
    const done = failureOf(
      openClient({ url: gate.url }).withLease('model', {}, () => Promise.reject(failure)),
    )
    grant(await gate.next(LEASES))
    ;(await gate.next(SETTLE)).answer(200, {})
    expect(await done).toBe(failure)
  })

  it('leaves an end of the work’s own as it is', async () => {
    await using gate = await scriptCoordinator()
    const done = openClient({ url: gate.url }).withLease('model', {}, (lease) => lease.release())
    grant(await gate.next(LEASES))
    ;(await gate.next(RELEASE)).answer(204)
    await done
    expect(gate.untaken).toEqual([])
  })
})

describe('check', () => {
  const CHECK = 'POST /headgate/v1/check'

  it('says whether there is room', async () => {
    await using gate = await scriptCoordinator()
    const asked = openClient({ url: gate.url }).check('model', { load: 5, flow: 'f', lane: 'low' })
    const request = await gate.next(CHECK)
    expect(request.body).toEqual({ resource: 'model', load: 5, flow: 'f', lane: 'low' })
    request.answer(200, { allowed: false, count: 10, max: 10, retry_after: 1.5 })
    expect(await asked).toEqual({ allowed: false, count: 10, max: 10, retryAfterMs: 1500 })
  })

  it('is asked once', async () => {
    await using gate = await scriptCoordinator()
    const asked = failureOf(openClient({ url: gate.url }).check('model'))
    ;(await gate.next(CHECK)).drop()
    expect(await asked).toMatchObject({ code: 'UNREACHABLE' })
    expect(gate.untaken).toEqual([])
  })

  it('is never a yes that nobody said', async () => {
    const client = openClient({ url: await deadUrl(), onUnreachable: 'fail_open' })
    expect(await failureOf(client.check('model'))).toMatchObject({ code: 'UNREACHABLE' })
  })

  it('names what is wrong', async () => {
    await using gate = await scriptCoordinator()
    const asked = failureOf(openClient({ url: gate.url }).check('modle'))
    const errors = [{ field: 'resource', detail: 'did you mean model?' }]
    ;(await gate.next(CHECK)).answer(404, problem(404, 'unknown_resource', { errors }))
    expect(await asked).toMatchObject({ code: 'INVALID', errors })
  })

  it('can be given up', async () => {
    await using gate = await scriptCoordinator()
    const leaving = new AbortController()
    const asked = failureOf(openClient({ url: gate.url }).check('model', leaving))
    const request = await gate.next(CHECK)
    leaving.abort(new Error('enough'))
    expect(await asked).toEqual(new Error('enough'))
    await request.closed()
  })
})
