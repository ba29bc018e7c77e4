// The client and the coordinator, each as it ships.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Headgate } from '../../src/client/client.ts'
import { Forbidden, Invalid, Refused } from '../../src/client/errors.ts'
import type { Progress } from '../../src/client/lease.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { startGateway } from '../gateway-process.ts'
import { failureOf, type Harness, openHarness } from '../harness.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'
import { openClient } from './clients.ts'

const CONFIG = `
resources:
  model: { requests: 100/min, tokens: 1000/min, concurrency: 1 }
leases: { max_ttl: 1h }
`

const expiry = z.object({ expiresAt: z.number() })

const openGate = (config = CONFIG): Promise<Harness> => openHarness({ config })

interface Shown {
  readonly inFlight: number
  readonly queued: number
  /** What is left of the tokens. */
  readonly tokens: number | null
}

async function stateOf(gate: Harness): Promise<Shown> {
  const { resources } = await gate.status()
  const model = resources.find(({ name }) => name === 'model')
  const tokens = model?.limits.find(({ dimension }) => dimension === 'tokens')
  const { inFlight = 0, queued = 0 } = model ?? {}
  return { inFlight, queued, tokens: tokens?.remaining ?? null }
}

const becomes = (gate: Harness, what: string, isSo: (shown: Shown) => boolean): Promise<void> =>
  until(what, async () => isSo(await stateOf(gate)))

describe('a worker', () => {
  it('waits for its turn, knows where it stands, and lets the next one in', async () => {
    await using gate = await openGate()
    const client = openClient({ url: gate.url })
    const first = await client.acquire('model', { load: 400 })
    expect(first).toMatchObject({ resource: 'model', isGoverned: true })
    const { promise: stands, resolve: onProgress } = Promise.withResolvers<Progress>()
    const second = client.acquire('model', { load: 100, onProgress })
    expect(await stands).toMatchObject({ position: 0, boundBy: expect.any(String) })
    await first.settle()
    const lease = await second
    expect(await stateOf(gate)).toMatchObject({ inFlight: 1, queued: 0 })
    await lease.release()
    expect(await stateOf(gate)).toMatchObject({ inFlight: 0, queued: 0 })
    expect(client.events).toEqual([])
  })

  it('is charged what it used', async () => {
    await using gate = await openGate()
    const client = openClient({ url: gate.url })
    const lease = await client.acquire('model', { load: 900 })
    await lease.settle({ input_tokens: 40, output_tokens: 60 })
    await becomes(gate, '100 tokens are taken', ({ tokens }) => tokens !== null && tokens > 890)
  })

  it('works under one lease at a time, and many get theirs', async () => {
    await using gate = await openGate()
    const client = openClient({ url: gate.url })
    let atWork = 0
    let most = 0
    const work = async (): Promise<void> => {
      most = Math.max(most, ++atWork)
      await new Promise(setImmediate)
      atWork--
    }
    await Promise.all(Array.from({ length: 50 }, () => client.withLease('model', {}, work)))
    expect(most).toBe(1)
    expect(await stateOf(gate)).toMatchObject({ inFlight: 0, queued: 0 })
  })

  it('leaves the line at once', async () => {
    await using gate = await openGate()
    const client = openClient({ url: gate.url })
    await using _held = await client.acquire('model')
    const leaving = new AbortController()
    const waiting = failureOf(client.acquire('model', { signal: leaving.signal }))
    await becomes(gate, 'it stands in line', ({ queued }) => queued === 1)
    leaving.abort(new Error('enough'))
    expect(await waiting).toEqual(new Error('enough'))
    await becomes(gate, 'the line is empty', ({ queued }) => queued === 0)
  })

  it('has its lease renewed, and loses what somebody else ends', async () => {
    await using gate = await openGate()
    const client = openClient({ url: gate.url })
    const lease = await client.acquire('model', { ttlMs: 1000 })
    const url = `${gate.url}/headgate/v1/leases/${lease.id}`
    const isRenewed = async (): Promise<boolean> => {
      const { expiresAt } = expiry.parse(await (await fetch(url)).json())
      return expiresAt > lease.grantedAt + 1000
    }
    await until('it has been renewed', isRenewed)
    expect(lease.signal.aborted).toBe(false)
    await fetch(url, { method: 'DELETE' })
    await until('it is lost', async () => lease.signal.aborted)
    expect(client.events).toMatchObject([{ kind: 'lost', id: lease.id }])
  })

  it('is refused in time, in words that tell what to do', async () => {
    await using gate = await openGate()
    const client = openClient({ url: gate.url })
    await using _held = await client.acquire('model')
    const full = await failureOf(client.acquire('model', { maxWaitMs: 0 }))
    expect(full).toBeInstanceOf(Refused)
    expect(full).toMatchObject({ message: expect.stringContaining('model') })
    const unknown = await failureOf(client.acquire('modle'))
    expect(unknown).toBeInstanceOf(Invalid)
    expect(unknown).toMatchObject({
      problem: { reason: 'unknown_resource' },
      errors: [{ field: 'resource', detail: expect.stringContaining('model') }],
    })
    const absurd = await failureOf(client.acquire('model', { load: { tokens: 5000 } }))
    expect(absurd).toMatchObject({
      code: 'INVALID',
      problem: { reason: 'load_too_large' },
      errors: [{ field: 'load.tokens' }],
    })
    expect(await failureOf(client.acquire('model', { load: Number.NaN }))).toMatchObject({
      code: 'INVALID',
      errors: [{ field: 'load' }],
    })
  })

  it('asks whether there is room without waiting', async () => {
    await using gate = await openGate()
    const client = openClient({ url: gate.url })
    expect(await client.check('model', { load: 900 })).toMatchObject({ allowed: true })
    const answer = await client.check('model', { load: 900 })
    expect(answer).toMatchObject({ allowed: false, max: 1000 })
    expect(answer.retryAfterMs).toBeGreaterThan(0)
  })
})

describe('a gate that dies while one works and one waits', () => {
  /** Whoever connects comes to the gate that is there. */
  function routed(first: { readonly url: string }) {
    let gate = first
    const client = openClient({
      url: 'http://gate.test',
      fetch: (url, init) => fetch(url.replace('http://gate.test', gate.url), init),
    })
    return { client, goTo: (next: { readonly url: string }) => (gate = next) }
  }

  async function workAndWait(client: Headgate) {
    const { promise: stands, resolve: onProgress } = Promise.withResolvers<Progress>()
    const working = await client.acquire('model', { load: 100 })
    const waiting = client.acquire('model', { load: 200, onProgress })
    await stands
    return { working, waiting }
  }

  interface Mortal extends AsyncDisposable {
    readonly url: string
    end(): Promise<void>
  }

  function mortal(url: string, die: () => Promise<void>): Mortal {
    let death: Promise<void> | null = null
    const end = (): Promise<void> => {
      death ??= die()
      return death
    }
    return { url, end, [Symbol.asyncDispose]: end }
  }

  async function mortalHarness(address: string): Promise<Mortal> {
    const gate = await openHarness({ config: CONFIG, store: addressOf(address) })
    return mortal(gate.url, async () => gate[Symbol.asyncDispose]())
  }

  async function mortalProcess(address: string): Promise<Mortal> {
    const folder = await mkdtemp(path.join(tmpdir(), 'headgate-client-'))
    const file = path.join(folder, 'headgate.yaml')
    await writeFile(file, CONFIG)
    const gate = await startGateway('--config', file, '--store', address)
    await rm(folder, { recursive: true })
    return mortal(gate.url, () => gate.kill())
  }

  function addressOf(text: string) {
    const store = parseStoreAddress(text)
    if (store.kind !== 'parsed') throw new Error('not an address')
    return store.value
  }

  it.each([
    ['stopped', mortalHarness],
    ['killed', mortalProcess],
  ])('and is %s loses nothing with a shared store: another one goes on', async (_, openMortal) => {
    const address = `${(await sharedRedis()).url}?prefix=${freshPrefix()}`
    await using first = await openMortal(address)
    await using second = await openHarness({ config: CONFIG, store: addressOf(address) })
    const { client, goTo } = routed(first)
    const { working, waiting } = await workAndWait(client)
    const later = openClient({ url: second.url }).acquire('model')
    await becomes(second, 'two stand in line', ({ queued }) => queued === 2)
    goTo(second)
    await first.end()
    await client.told('reconnected')
    expect(await stateOf(second)).toMatchObject({ inFlight: 1, queued: 2 })
    await working.settle()
    const lease = await waiting
    expect(await stateOf(second)).toMatchObject({ inFlight: 1, queued: 1 })
    await lease.settle()
    await (await later).settle()
    expect(client.events.map(({ kind }) => kind)).toEqual(['reconnecting', 'reconnected'])
  })

  it('forgets with its memory, and both are told', async () => {
    const first = await openGate()
    await using second = await openGate()
    await using other = await openClient({ url: second.url }).acquire('model')
    const { client, goTo } = routed(first)
    const { working, waiting } = await workAndWait(client)
    goTo(second)
    await first[Symbol.asyncDispose]()
    await client.told('place_lost')
    await working.settle()
    expect(working.signal.reason).toMatchObject({
      code: 'LEASE_LOST',
      message: expect.stringContaining('in memory'),
    })
    await other.settle()
    await (await waiting).settle()
    expect(client.events.map(({ kind }) => kind)).toEqual([
      'reconnecting',
      'reconnected',
      'place_lost',
      'lost',
    ])
  })
})

describe('a key', () => {
  it('opens the coordinator, or does not', async () => {
    const keys = 'identity: { require_key: true }\nadmin: { token: an-admin-token-of-some-length }'
    await using gate = await openGate(`${CONFIG}${keys}`)
    const open = (key?: string) => openClient({ url: gate.url, ...(key && { key }) })
    await using lease = await open('an-admin-token-of-some-length').acquire('model')
    expect(lease.isGoverned).toBe(true)
    expect(await failureOf(open().acquire('model'))).toBeInstanceOf(Forbidden)
    expect(await failureOf(open('hg_nobody').acquire('model'))).toBeInstanceOf(Forbidden)
  })
})
