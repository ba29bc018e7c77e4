// Callers who want no lease any more: nothing of their asks is left, at whatever moment they go.
import { describe, expect, it } from 'vitest'
import type { Progress } from '../../src/client/lease.ts'
import { failureOf } from '../harness.ts'
import { deadUrl } from '../stub-upstream.ts'
import { grant, LEASES, openClient, problem, WAITING } from './clients.ts'
import { scriptCoordinator } from './scripted-coordinator.ts'

const FORGET = 'DELETE /headgate/v1/leases/lease-1'
const REASON = new Error('the user went home')

describe('a caller that leaves', () => {
  it('before asking never asks', async () => {
    await using gate = await scriptCoordinator()
    const acquired = openClient({ url: gate.url }).acquire('model', {
      signal: AbortSignal.abort(REASON),
    })
    expect(await failureOf(acquired)).toBe(REASON)
    expect(gate.untaken).toEqual([])
  })

  it('while it waits in line gives its place up', async () => {
    await using gate = await scriptCoordinator()
    const { promise: stands, resolve: onProgress } = Promise.withResolvers<Progress>()
    const leaving = new AbortController()
    const { signal } = leaving
    const acquired = openClient({ url: gate.url }).acquire('model', { signal, onProgress })
    const ask = await gate.next(LEASES)
    ask.event('waiting', WAITING)
    await stands
    leaving.abort(REASON)
    expect(await failureOf(acquired)).toBe(REASON)
    await ask.closed()
    ;(await gate.next(FORGET)).answer(204)
  })

  it('before it is heard has its place given up as soon as it has one', async () => {
    await using gate = await scriptCoordinator()
    const leaving = new AbortController()
    const acquired = openClient({ url: gate.url }).acquire('model', { signal: leaving.signal })
    const ask = await gate.next(LEASES)
    leaving.abort(REASON)
    expect(await failureOf(acquired)).toBe(REASON)
    ask.event('waiting', WAITING)
    await ask.closed()
    ;(await gate.next(FORGET)).answer(204)
  })

  it('before it is granted a lease has the lease released', async () => {
    await using gate = await scriptCoordinator()
    const leaving = new AbortController()
    const acquired = openClient({ url: gate.url }).acquire('model', { signal: leaving.signal })
    const ask = await gate.next(LEASES)
    leaving.abort(REASON)
    expect(await failureOf(acquired)).toBe(REASON)
    grant(ask)
    ;(await gate.next(FORGET)).answer(204)
  })

  it('while the connection is lost gives its place up', async () => {
    await using gate = await scriptCoordinator()
    const { promise: stands, resolve: onProgress } = Promise.withResolvers<Progress>()
    const leaving = new AbortController()
    const { signal } = leaving
    const timings = { firstPauseMs: 1_000_000, longestPauseMs: 1_000_000 }
    const unreachableAfterMs = 10_000_000
    const client = openClient({ url: gate.url, unreachableAfterMs }, { timings })
    const acquired = client.acquire('model', { signal, onProgress })
    const ask = await gate.next(LEASES)
    ask.event('waiting', WAITING)
    await stands
    ask.drop()
    await client.told('reconnecting')
    leaving.abort(REASON)
    expect(await failureOf(acquired)).toBe(REASON)
    ;(await gate.next(FORGET)).answer(204)
  })

  it('a gate that cannot be reached leaves at once', async () => {
    const client = openClient({ url: await deadUrl() })
    const leaving = new AbortController()
    const acquired = client.acquire('model', { signal: leaving.signal })
    await client.told('reconnecting')
    leaving.abort(REASON)
    expect(await failureOf(acquired)).toBe(REASON)
  })

  it('tries to give its place up again, and tells when it could not', async () => {
    await using gate = await scriptCoordinator()
    const leaving = new AbortController()
    const client = openClient({ url: gate.url })
    const acquired = client.acquire('model', { signal: leaving.signal })
    const ask = await gate.next(LEASES)
    leaving.abort(REASON)
    expect(await failureOf(acquired)).toBe(REASON)
    ask.event('waiting', WAITING)
    ;(await gate.next(FORGET)).drop()
    ;(await gate.next(FORGET)).answer(403, problem(403, 'scope_missing'))
    expect(await client.told('left_open')).toMatchObject({
      resource: 'model',
      id: 'lease-1',
      error: { code: 'FORBIDDEN' },
    })
  })

  it('after it holds the lease keeps it', async () => {
    await using gate = await scriptCoordinator()
    const leaving = new AbortController()
    const acquired = openClient({ url: gate.url }).acquire('model', { signal: leaving.signal })
    grant(await gate.next(LEASES))
    const lease = await acquired
    leaving.abort(REASON)
    expect(lease.signal.aborted).toBe(false)
    const settled = lease.settle()
    ;(await gate.next('POST /headgate/v1/leases/lease-1/settle')).answer(200, {})
    await settled
  })

  it('by an error in its own onProgress leaves the line with it', async () => {
    await using gate = await scriptCoordinator()
    const acquired = openClient({ url: gate.url }).acquire('model', {
      onProgress() {
        throw REASON
      },
    })
    const ask = await gate.next(LEASES)
    ask.event('waiting', WAITING)
    expect(await failureOf(acquired)).toBe(REASON)
    await ask.closed()
    ;(await gate.next(FORGET)).answer(204)
  })
})
