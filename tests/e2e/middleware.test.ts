// The limiter in front of an API of people's own, in each framework, on real sockets.
import { describe, expect, it, onTestFinished } from 'vitest'
import { createLimiter, type Limiter, type LimiterOptions } from '../../src/middleware/limiter.ts'
import { hashSecret } from '../../src/policy/key-ring.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'
import { APPS, type App, type AppParts } from './middleware-apps.ts'

async function openLimiter(options: LimiterOptions, failed: unknown[] = []): Promise<Limiter> {
  const limiter = await createLimiter({
    env: {},
    events: { failed: (error) => failed.push(error) },
    ...options,
  })
  onTestFinished(() => limiter.close())
  return limiter
}

const byHeader = (user: string | null) => (user === null ? null : { user })

/** Requests that are held until the test lets them go. */
function hold() {
  const waiting: (() => void)[] = []
  return {
    released: () => new Promise<void>((resolve) => waiting.push(resolve)),
    heldCount: () => waiting.length,
    release: () => waiting.shift()?.(),
  }
}

const as = (user: string, init: RequestInit = {}): RequestInit => ({
  ...init,
  headers: { 'x-user': user },
})

const queuedIn = async (limiter: Limiter): Promise<number> =>
  (await limiter.snapshot()).reduce((sum, { queued }) => sum + queued, 0)

const inFlightIn = async (limiter: Limiter): Promise<number> =>
  (await limiter.snapshot()).reduce((sum, { inFlight }) => sum + inFlight, 0)

const TIERS = { free: { requests: '2/hour', tokens: '3000/hour' }, pro: { requests: '9/hour' } }

describe.each(APPS)('in $framework', ({ openApp }) => {
  async function start(options: LimiterOptions, parts: Partial<AppParts> = {}) {
    const failed: unknown[] = []
    const limiter = await openLimiter(options, failed)
    const app: App = await openApp({
      limiter,
      identify: byHeader,
      released: async () => {},
      ...parts,
    })
    onTestFinished(async () => await app[Symbol.asyncDispose]())
    return { limiter, url: app.url, failed }
  }

  it('admitted and refused responses carry the limits', async () => {
    const { url } = await start({ config: { default_tier: 'free', tiers: TIERS } })
    const first = await fetch(url, as('alice'))
    expect(first.status).toBe(200)
    expect(await first.json()).toEqual({ user: 'alice' })
    expect(first.headers.get('ratelimit-policy')).toBe(
      '"requests";q=2;w=3600, "tokens";q=3000;w=3600',
    )
    expect(first.headers.get('ratelimit')).toMatch(
      /^"requests";r=1;t=1[78]\d\d, "tokens";r=3000;t=0$/,
    )
    expect(first.headers.get('x-ratelimit-remaining')).toBe('1')
    await fetch(url, as('alice'))
    const third = await fetch(url, as('alice'))
    expect(third.status).toBe(429)
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThan(1700)
    expect(third.headers.get('x-ratelimit-limit')).toBe('2')
    expect(third.headers.get('x-ratelimit-remaining')).toBe('0')
    expect(third.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await third.json()).toMatchObject({
      error: 'rate_limit_exceeded',
      limit: '2 requests per 3600 s',
      retry_after: Number(third.headers.get('retry-after')),
    })
    expect((await fetch(url, as('bob'))).status).toBe(200)
  })

  it('keys name user and tier, and without one a caller is anybody', async () => {
    const keys = [{ id: 'web', sha256: hashSecret('key_pro_001'), user: 'bob', tier: 'pro' }]
    const config = { default_tier: 'free', tiers: TIERS, keys, identity: { require_key: false } }
    const { url } = await start({ config }, { identify: null })
    const known = await fetch(url, { headers: { 'x-api-key': 'key_pro_001' } })
    expect(await known.json()).toEqual({ user: 'bob' })
    expect(known.headers.get('x-ratelimit-limit')).toBe('9')
    const anybody = await fetch(url)
    expect(await anybody.json()).toEqual({ user: 'anonymous' })
    expect(anybody.headers.get('x-ratelimit-limit')).toBe('2')
    const unknown = await fetch(url, { headers: { 'x-api-key': 'key_pro_002' } })
    expect(unknown.status).toBe(401)
    expect(await unknown.json()).toMatchObject({ error: 'key_unknown' })
  })

  it('handlers reserve and settle, and a refused reservation is the answer', async () => {
    const tiers = { free: { tokens: '3000/hour', max_tokens_per_request: 2000 } }
    const { url } = await start({ config: { default_tier: 'free', tiers } })
    const chat = (used: number) => fetch(`${url}/chat/${used}`, as('alice', { method: 'POST' }))
    const first = await chat(2000)
    expect(await first.json()).toEqual({ used: 2000 })
    expect(first.headers.get('x-ratelimit-limit')).toBe('3000')
    const second = await chat(1)
    expect(second.status).toBe(429)
    expect(second.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(await second.json()).toMatchObject({
      error: 'rate_limit_exceeded',
      limit: '3000 tokens per 3600 s',
    })
  })

  it('a reservation over the largest request is answered with 413', async () => {
    const tiers = { free: { max_tokens_per_request: 1000 } }
    const { url } = await start({ config: { default_tier: 'free', tiers } })
    const response = await fetch(`${url}/chat/1`, as('alice', { method: 'POST' }))
    expect(response.status).toBe(413)
    expect(await response.json()).toMatchObject({ error: 'tokens_over_cap' })
  })

  it('a handler that throws gives its slot back', async () => {
    const tiers = { free: { concurrency: 1 } }
    const { url, limiter } = await start({ config: { default_tier: 'free', tiers } })
    const response = await fetch(`${url}/throw`, as('alice', { method: 'POST' }))
    expect(response.status).toBe(500)
    await response.text()
    await until('its slot is free', async () => (await inFlightIn(limiter)) === 0)
    expect((await fetch(url, as('alice'))).status).toBe(200)
  })

  it('callers wait by lane, and who leaves frees its place', async () => {
    const { released, release, heldCount } = hold()
    const tiers = { free: { lane: 'low' }, premium: { lane: 'high' } } as const
    const config = { default_tier: 'free', tiers, users: { paula: { tier: 'premium' } } }
    const { url, limiter } = await start({ config, shared: { concurrency: 1 } }, { released })
    const order: string[] = []
    const come = async (user: string, signal?: AbortSignal): Promise<void> => {
      const response = await fetch(`${url}/hold`, as(user, signal ? { signal } : {}))
      expect(response.status).toBe(200)
      await response.text()
      order.push(user)
    }
    const first = come('first')
    await until('the first is in', async () => heldCount() === 1)
    const leaving = new AbortController()
    const left = come('leaver', leaving.signal).catch((error: unknown) => error)
    await until('one waits', async () => (await queuedIn(limiter)) === 1)
    const alice = come('alice')
    await until('two wait', async () => (await queuedIn(limiter)) === 2)
    const paula = come('paula')
    await until('three wait', async () => (await queuedIn(limiter)) === 3)
    leaving.abort()
    expect(await left).toHaveProperty('name', 'AbortError')
    await until('one has left', async () => (await queuedIn(limiter)) === 2)
    for (const request of [first, paula, alice]) {
      await until('one is in', async () => heldCount() === 1)
      release()
      await request
    }
    expect(order).toEqual(['first', 'paula', 'alice'])
    await until('nothing is held', async () => (await inFlightIn(limiter)) === 0)
  })

  it('a caller that leaves while it is served gives its slot back', async () => {
    const { released, release, heldCount } = hold()
    const { url, limiter, failed } = await start({ shared: { concurrency: 1 } }, { released })
    const leaving = new AbortController()
    const { signal } = leaving
    const left = fetch(`${url}/hold`, as('alice', { signal })).catch((error: unknown) => error)
    await until('it is in', async () => heldCount() === 1)
    leaving.abort()
    await left
    await until('nothing is held', async () => (await inFlightIn(limiter)) === 0)
    expect((await fetch(url, as('bob'))).status).toBe(200)
    release()
    expect(failed).toEqual([])
  })

  it('limiters of several processes count together in one Redis', async () => {
    const store = `${(await sharedRedis()).url}/?prefix=${freshPrefix()}`
    const config = { store, default_tier: 'free', tiers: { free: { requests: '10/hour' } } }
    const one = await start({ config })
    const other = await start({ config })
    const urls = Array.from({ length: 24 }, (_, index) => (index % 2 ? one.url : other.url))
    const answers = await Promise.all(urls.map((url) => fetch(url, as('alice'))))
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(10)
    expect(statuses.filter((status) => status === 429)).toHaveLength(14)
  })
})

describe('without its store', () => {
  const store = 'redis://127.0.0.1:1'
  const tiers = { free: { requests: '1/hour' } }

  it.each([
    { on_store_failure: 'closed', statuses: [503, 503] },
    { on_store_failure: 'open', statuses: [200, 200] },
    { on_store_failure: 'degrade', statuses: [200, 429] },
  ] as const)('$on_store_failure answers $statuses', async ({ on_store_failure, statuses }) => {
    const warned: string[] = []
    const limiter = await openLimiter({
      config: { store, on_store_failure, default_tier: 'free', tiers },
      events: { warned: (sentence) => warned.push(sentence) },
    })
    const [node] = APPS
    if (!node) throw new Error('there is no app')
    await using app = await node.openApp({ limiter, identify: null, released: async () => {} })
    const answers = [await fetch(app.url), await fetch(app.url)]
    expect(answers.map(({ status }) => status)).toEqual(statuses)
    expect(warned.join()).toContain(`on_store_failure is ${on_store_failure}`)
  })
})
