// What a caller's own tier does to its calls, seen by the official SDK.
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { hashSecret } from '../../src/policy/key-ring.ts'
import { ask, failureOf, type HarnessOptions, KEY, MODEL, openHarness, until } from '../harness.ts'

const FREE = `
default_tier: free
tiers:
  free: { requests: 10/min burst 2, tokens: 500000/hour }
  premium: { lane: high }
users: { alice: { tier: premium } }
`

const open = (options: HarnessOptions) =>
  openHarness({ emulator: { ttftMs: 0, tokensPerSecond: 5000 }, ...options })

const as = (user: string) => ({ headers: { 'x-headgate-user': user } })

/** The SDK's answer together with the HTTP response that brought it. */
const messages = (client: Anthropic, text = 'hello', options = {}) =>
  client.messages.create(ask(text, { output: 3 }), options).withResponse()

async function refusalOf(
  promise: Promise<unknown>,
): Promise<InstanceType<typeof Anthropic.APIError>> {
  const error = await failureOf(promise)
  if (!(error instanceof Anthropic.APIError)) throw error
  return error
}

describe('limits of a user', () => {
  it('refuse what goes beyond them, and nobody else', async () => {
    await using gate = await open({ config: FREE })
    const client = gate.client()
    await messages(client, 'one', as('bob'))
    await messages(client, 'two', as('bob'))
    const error = await refusalOf(messages(client, 'three', as('bob')))
    expect(error).toBeInstanceOf(Anthropic.RateLimitError)
    expect(error.message).toContain('user bob has reached a limit: 10 requests per 60 s, 0 left')
    expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(0)
    expect(error.headers?.get('x-should-retry')).toBe('true')
    await messages(client, 'four', as('carol'))
    for (let count = 0; count < 5; count++) await messages(client, 'x', as('alice'))
    expect(gate.emulator.report().totals.requests).toBe(8)
    await gate.idle()
  })

  it('are told with every answer and every refusal', async () => {
    await using gate = await open({ config: FREE })
    const { response } = await messages(gate.client(), 'hello', as('bob'))
    expect(response.headers.get('ratelimit-policy')).toBe(
      '"requests";q=10;w=60, "tokens";q=500000;w=3600',
    )
    expect(response.headers.get('ratelimit')).toMatch(
      /^"requests";r=1;t=[56], "tokens";r=\d+;t=\d+$/,
    )
    expect(response.headers.get('x-ratelimit-limit')).toBe('2')
    expect(response.headers.get('x-ratelimit-remaining')).toBe('1')
    const resetsIn = Number(response.headers.get('x-ratelimit-reset')) - Date.now() / 1000
    expect(resetsIn).toBeGreaterThan(3)
    expect(resetsIn).toBeLessThan(8)
    await messages(gate.client(), 'again', as('bob'))
    const error = await refusalOf(messages(gate.client(), 'more', as('bob')))
    expect(error.headers?.get('x-ratelimit-remaining')).toBe('0')
    expect(error.headers?.get('ratelimit')).toMatch(/^"requests";r=0;t=1[12], /)
  })

  it('charge what an answer used, not what was expected', async () => {
    await using gate = await open({
      config: 'default_tier: t\ntiers: { t: { tokens: 100000/hour sliding } }',
    })
    const { data, response } = await messages(gate.client(), 'hello', as('bob'))
    const before = Number(response.headers.get('x-ratelimit-remaining'))
    await gate.idle()
    const look = await gate.wired.store.look('user/bob')
    const { input_tokens, output_tokens } = data.usage
    expect(look?.limits[0]?.remaining).toBe(100_000 - input_tokens - output_tokens)
    expect(look?.limits[0]?.remaining).toBeGreaterThan(before)
  })

  it('make a tier that says so wait instead of failing', async () => {
    await using gate = await open({
      config: 'default_tier: t\ntiers: { t: { requests: 60/min burst 1, overflow: wait } }',
      speed: 20,
    })
    const client = gate.client()
    const all = await Promise.all([1, 2, 3].map(() => messages(client, 'x', as('bob'))))
    const waits = all.map(({ response }) => Number(response.headers.get('x-headgate-queued-ms')))
    expect(waits.sort((a, b) => a - b)[2]).toBeGreaterThan(1500)
    await gate.idle()
  })

  it('stack with those of the team', async () => {
    await using gate = await open({
      config: `
default_tier: t
tiers: { t: { requests: 10/min sliding } }
teams: { research: { requests: 3/min sliding } }
users: { ann: { team: research }, ben: { team: research }, zoe: {} }
`,
    })
    const client = gate.client()
    await messages(client, 'x', as('ann'))
    await messages(client, 'x', as('ben'))
    const { response } = await messages(client, 'x', as('ann'))
    expect(response.headers.get('ratelimit-policy')).toBe(
      '"requests";q=10;w=60, "team-requests";q=3;w=60',
    )
    const error = await refusalOf(messages(client, 'x', as('ben')))
    expect(error.message).toContain('team research has reached a limit')
    // What ben's own limit had given was given back.
    expect((await gate.wired.store.look('user/ben'))?.limits[0]?.remaining).toBe(9)
    await messages(client, 'x', as('zoe'))
  })

  it('count a shadow without refusing, and report what they would have refused', async () => {
    await using gate = await open({
      config: 'default_tier: t\ntiers: { t: { shadow: { requests: 1/hour sliding } } }',
    })
    for (let count = 0; count < 3; count++) await messages(gate.client(), 'x', as('bob'))
    expect(gate.of('shadowed').map(({ rule }) => rule)).toEqual([
      'limits of user:bob',
      'limits of user:bob',
    ])
    expect(gate.of('shadowed')[0]?.facts.user).toBe('bob')
  })

  it('refuse a request that is larger than any may be', async () => {
    await using gate = await open({
      config: 'default_tier: t\ntiers: { t: { max_tokens_per_request: 900 } }',
    })
    const error = await refusalOf(messages(gate.client(), 'hello', as('bob')))
    expect(error.status).toBe(413)
    expect(error.message).toMatch(/too large for bob \(tier t\): about \d+ tokens .* of 900/)
    expect(gate.emulator.report().totals.requests).toBe(0)
  })

  it('leave nothing of a caller that goes while it waits for them', async () => {
    await using gate = await open({
      config: 'default_tier: t\ntiers: { t: { requests: 1/hour, overflow: wait } }\n',
      queue: { maxWaitMs: 7_200_000 },
    })
    await messages(gate.client(), 'x', as('bob'))
    const gone = new AbortController()
    const waiting = failureOf(messages(gate.client(), 'x', { ...as('bob'), signal: gone.signal }))
    await until(async () => ((await gate.status()).queued ?? 0) === 1)
    gone.abort()
    await waiting
    await gate.idle()
    expect(gate.of('cancelled')).toHaveLength(1)
  })

  it('change with the configuration, for those who wait too', async () => {
    await using gate = await open({
      config: 'default_tier: t\ntiers: { t: { requests: 1/hour, overflow: wait } }\n',
      queue: { maxWaitMs: 7_200_000 },
    })
    await messages(gate.client(), 'x', as('bob'))
    const waiting = messages(gate.client(), 'x', as('bob'))
    await until(async () => (await gate.status()).queued === 1)
    await using next = await open({
      config: 'default_tier: t\ntiers: { t: { requests: 5/hour, overflow: wait } }',
    })
    gate.wired.reconfigure(next.settings)
    await waiting
    await gate.idle()
  })

  it('do not change to what needs a ledger, where there is none', async () => {
    await using gate = await open({ config: 'default_tier: t\ntiers: { t: { requests: 1/hour } }' })
    const { rules } = gate.settings
    const tier = rules.tiers.get('t')
    const budget = {
      amount: 1,
      period: { unit: 'month', timeZone: 'UTC' },
      warnAt: [],
      isShadow: false,
    } as const
    const tiers = new Map(tier ? [['t', { ...tier, budgets: [budget] }]] : [])
    const next = { ...gate.settings, rules: { ...rules, tiers } }
    expect(() => gate.wired.reconfigure(next)).toThrow('this gate was started without a ledger')
    await messages(gate.client(), 'x', as('bob'))
  })
})

describe('a tier', () => {
  const ROUTED = `
default_tier: free
tiers:
  free: { models: { "claude-opus*": claude-haiku-4-5 }, allowed_models: [claude-haiku*] }
`

  it('routes to another model, and says so', async () => {
    await using gate = await open({ config: ROUTED })
    const { data, response } = await gate
      .client()
      .messages.create({ ...ask('hi', { output: 3 }), model: 'claude-opus-4-5' })
      .withResponse()
    expect(data.model).toBe('claude-haiku-4-5')
    expect(response.headers.get('x-headgate-model')).toBe('claude-haiku-4-5')
    expect(response.headers.get('x-headgate-model-reason')).toBe('tier')
  })

  it('refuses models that it does not allow, and bodies in which none can be read', async () => {
    await using gate = await open({ config: ROUTED })
    const error = await refusalOf(messages(gate.client()))
    expect(error).toBeInstanceOf(Anthropic.PermissionDeniedError)
    expect(error.message).toContain(`may not use ${MODEL}; allowed: claude-haiku*`)
    const packed = await fetch(`${gate.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': KEY, 'content-encoding': 'br', 'content-type': 'application/json' },
      body: 'anything',
    })
    expect(packed.status).toBe(403)
    const batch = await fetch(`${gate.url}/v1/messages/batches`, {
      method: 'POST',
      headers: { 'x-api-key': KEY, 'content-type': 'application/json' },
      body: '{"requests":[]}',
    })
    expect(batch.status).toBe(403)
  })

  it.each(['/v1/%6dessages', '/v1/messages/', '/messages/', '/v1/Messages', '/v1/sessions'])(
    'binds a caller who writes the path as %s',
    async (target) => {
      await using gate = await open({ config: FREE })
      const { status } = await fetch(`${gate.url}${target}`, {
        method: 'POST',
        headers: { 'x-api-key': KEY, 'anthropic-version': '2023-06-01' },
        body: JSON.stringify(ask('x')),
      })
      expect(status).toBe(403)
      expect(gate.emulator.report().totals.requests).toBe(0)
    },
  )

  it('sets the lane, which a caller may lower and not raise', async () => {
    await using gate = await open({ config: FREE })
    const lanes = async (user: string, lane: string) => {
      await messages(gate.client(), 'x', {
        headers: { 'x-headgate-user': user, 'x-headgate-lane': lane },
      })
      return gate.of('settled').at(-1)?.facts.lane
    }
    expect(await lanes('alice', 'critical')).toBe('high')
    expect(await lanes('alice', 'low')).toBe('low')
  })
})

describe('a fallback', () => {
  it('is taken when the wait for the model would be long', async () => {
    await using gate = await open({
      config: 'fallbacks: { claude-sonnet*: [claude-haiku-4-5] }\nfallback_after: 5s',
      anthropic: {
        limits: [
          {
            match: 'claude-sonnet*',
            limits: [
              {
                algorithm: 'token_bucket',
                dimension: 'requests',
                amount: 1,
                windowMs: 3_600_000,
                source: 'configured',
              },
            ],
          },
        ],
      },
    })
    await messages(gate.client())
    const { data, response } = await messages(gate.client())
    expect(data.model).toBe('claude-haiku-4-5')
    expect(response.headers.get('x-headgate-model-reason')).toBe('wait')
    await gate.idle()
  })
})

describe('a fallback, after a wait', () => {
  const slots = (amount: number) => [
    {
      match: 'claude-sonnet*',
      limits: [
        {
          algorithm: 'concurrency' as const,
          dimension: 'concurrency' as const,
          amount,
          source: 'configured' as const,
        },
      ],
    },
  ]

  it('is not taken for a wait that nobody can foretell, and is once it was long', async () => {
    await using gate = await openHarness({
      config: 'fallbacks: { claude-sonnet*: [claude-haiku-4-5] }\nfallback_after: 5s',
      emulator: { ttftMs: 0, tokensPerSecond: 100 },
      speed: 10,
      anthropic: { limits: slots(1) },
    })
    const ask = (output: number) =>
      gate
        .client()
        .messages.create({
          model: MODEL,
          max_tokens: 4000,
          messages: [{ role: 'user', content: `[[emulate output=${output}]]` }],
        })
        .withResponse()
    // The first takes twenty seconds; the second waits for it in vain, the third comes in time.
    const long = ask(2000)
    await until(async () => (await gate.status()).inFlight === 1)
    const elsewhere = await ask(1)
    expect(elsewhere.data.model).toBe('claude-haiku-4-5')
    expect(elsewhere.response.headers.get('x-headgate-model-reason')).toBe('wait')
    expect(Number(elsewhere.response.headers.get('x-headgate-queued-ms'))).toBeGreaterThan(4900)
    const first = await long
    expect(first.data.model).toBe(MODEL)
    const [one, two] = await Promise.all([ask(100), ask(100)])
    expect([one.data.model, two.data.model]).toEqual([MODEL, MODEL])
    await gate.idle()
  })
})

describe('who is calling', () => {
  const SECRET = `hgk_${'a'.repeat(43)}`
  const KEYS = `
providers: { anthropic: { api_key: sk-ant-the-gates-own } }
default_tier: t
tiers: { t: { requests: 100/min } }
keys:
  - { id: ci, sha256: ${hashSecret(SECRET)}, user: bob }
`

  it('is known by a virtual key, in any of the places where keys go', async () => {
    await using gate = await open({ config: KEYS })
    await messages(gate.client({ apiKey: SECRET }))
    await messages(gate.client({ apiKey: null, authToken: SECRET }))
    await messages(
      gate.client({ apiKey: 'whatever', defaultHeaders: { 'x-headgate-key': SECRET } }),
    )
    expect(gate.of('settled').map(({ facts }) => facts.user)).toEqual(['bob', 'bob', 'bob'])
    // One credential of the gate's own went upstream, however the callers showed theirs.
    expect(new Set(gate.of('settled').map(({ facts }) => facts.resource)).size).toBe(1)
  })

  it.each([
    ['a wrong key', `hgk_${'b'.repeat(43)}`, 'this Headgate key is not known'],
    ['a malformed key', 'hgk_', 'this Headgate key is not known'],
    ['a key of the provider', KEY, 'no Headgate key came with this request'],
  ])('is refused with %s, at once and finally', async (_, apiKey, message) => {
    await using gate = await open({ config: KEYS })
    const error = await refusalOf(messages(gate.client({ apiKey, maxRetries: 2 })))
    expect(error).toBeInstanceOf(Anthropic.AuthenticationError)
    expect(error.message).toContain(message)
    expect(gate.of('turned_away')).toHaveLength(1)
    expect(gate.emulator.report().totals.requests).toBe(0)
  })

  it('is refused with a key that does not open requests, before anything is counted', async () => {
    const scoped = KEYS.replace('user: bob', 'user: bob, scopes: [leases]')
    await using gate = await open({ config: scoped })
    const error = await refusalOf(messages(gate.client({ apiKey: SECRET, maxRetries: 2 })))
    expect(error).toBeInstanceOf(Anthropic.PermissionDeniedError)
    expect(error.message).toContain(
      'the key ci does not open requests: ask for one with the scope requests',
    )
    expect(gate.of('turned_away')).toEqual([expect.objectContaining({ reason: 'scope_missing' })])
    expect(gate.emulator.report().totals.requests).toBe(0)
    expect(await gate.wired.store.look('user/bob')).toBeNull()
  })

  it('is what a header says only where its sender is trusted', async () => {
    await using gate = await open({ config: `${FREE}\nidentity: { trusted: [10.0.0.0/8] }` })
    await messages(gate.client(), 'x', as('alice'))
    expect(gate.of('settled')[0]?.facts.user).toBe('anonymous')
    expect(gate.of('warned').map(({ sentence }) => sentence)).toEqual([
      'a caller at 127.0.0.1 names a user and is not trusted to: identity.trusted says who is',
    ])
  })

  it('is what the body says, where that is believed', async () => {
    await using gate = await open({
      config: `${FREE}\nidentity: { metadata_user: true }`,
    })
    await gate
      .client()
      .messages.create({ ...ask('hi', { output: 3 }), metadata: { user_id: 'carol' } })
    await gate
      .client()
      .messages.create({ ...ask('hi', { output: 3 }), metadata: { user_id: 'carol' } }, as('dave'))
    expect(gate.of('settled').map(({ facts }) => facts.user)).toEqual(['carol', 'dave'])
  })
})
