import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { EmulatedProvider, organizationId } from './emulated-provider.ts'
import { type EmulatorOptions, resolveEmulatorSettings } from './settings.ts'

const ALICE = { key: 'alice', organization: 'acme' }
const BOB = { key: 'bob', organization: 'acme' }
const EVE = { key: 'eve', organization: 'other' }
const MODEL = 'claude-sonnet-4-5'

function open(options: EmulatorOptions = {}) {
  const clock = new VirtualClock(1_800_000_000_000)
  const provider = new EmulatedProvider(resolveEmulatorSettings(options), clock, () => 0.5)
  const ask = (
    account = ALICE,
    { model = MODEL, promptTokens = 1000, cached = [] as readonly CachedPart[] } = {},
  ) => {
    const prefixes = cached.map((part) => ({ ttlMs: 300_000, ...part }))
    return provider.admit({ ...account, model, promptTokens, prefixes })
  }
  const call = (...args: Parameters<typeof ask>) => {
    const admission = ask(...args)
    if (admission.kind === 'refused') throw new Error(`refused for ${admission.dimension}`)
    return admission.call
  }
  return { clock, provider, ask, call }
}

interface CachedPart {
  readonly key: string
  readonly tokens: number
  readonly ttlMs?: number
}

describe('admission', () => {
  it('shares limits inside an organization and a model class, and nothing beyond', () => {
    const { ask } = open({ limits: { requests: 1, inputTokens: 30_000, outputTokens: 8000 } })
    expect(ask(ALICE).kind).toBe('admitted')
    expect(ask(BOB, { model: 'claude-sonnet-4-6' })).toMatchObject({
      kind: 'refused',
      dimension: 'requests',
    })
    expect(ask(BOB, { model: 'claude-opus-4-5' }).kind).toBe('admitted')
    expect(ask(EVE).kind).toBe('admitted')
  })

  it('takes nothing for a refused request', () => {
    const { provider, ask } = open()
    ask(ALICE, { promptTokens: 25_000 })
    const before = provider.modelHeaders(ALICE, MODEL)
    expect(ask(BOB, { promptTokens: 10_000 }).kind).toBe('refused')
    expect(provider.modelHeaders(ALICE, MODEL)).toEqual(before)
  })

  it('uses the limits that a class has of its own', () => {
    const { provider } = open({ limitsByClass: { 'claude-opus-4': { requests: 7 } } })
    expect(provider.modelHeaders(ALICE, 'claude-opus-4-6')).toMatchObject({
      'anthropic-ratelimit-requests-limit': '7',
      'anthropic-ratelimit-input-tokens-limit': '30000',
    })
  })

  it('counts calls of other pools against those pools alone', () => {
    const { provider, ask } = open({ poolRequests: { count_tokens: 1 } })
    expect(provider.admitAuxiliary(ALICE, 'count_tokens')).toBeNull()
    expect(provider.admitAuxiliary(ALICE, 'count_tokens')).toMatchObject({ amount: 1 })
    expect(provider.admitAuxiliary(ALICE, 'batches')).toBeNull()
    expect(ask().kind).toBe('admitted')
  })
})

describe('the prompt cache', () => {
  const cached = [{ key: 'p', tokens: 8000 }]

  it('serves a prefix from the moment its first answer has begun, and not before', () => {
    const { call } = open()
    const leader = call(ALICE, { promptTokens: 8100, cached })
    expect(leader.usage).toMatchObject({ inputTokens: 100, cacheWriteTokens: 8000 })
    const sibling = call(BOB, { promptTokens: 8200, cached })
    expect(sibling.usage).toMatchObject({ cacheReadTokens: 0, cacheWriteTokens: 8000 })
    leader.begun()
    expect(call(BOB, { promptTokens: 8300, cached }).usage).toEqual({
      inputTokens: 300,
      cacheReadTokens: 8000,
      cacheWriteTokens: 0,
      cacheWriteHourTokens: 0,
    })
  })

  it('reads cost no input quota, except on the one class where they do', () => {
    const { provider, call } = open()
    for (const model of [MODEL, 'claude-3-5-haiku-latest']) {
      call(ALICE, { model, promptTokens: 8000, cached: [{ key: model, tokens: 8000 }] }).begun()
      call(ALICE, { model, promptTokens: 8000, cached: [{ key: model, tokens: 8000 }] })
    }
    const remaining = (model: string) =>
      provider.modelHeaders(ALICE, model)['anthropic-ratelimit-input-tokens-remaining']
    expect(remaining(MODEL)).toBe('22000')
    expect(remaining('claude-3-5-haiku-latest')).toBe('14000')
  })

  it('keeps an entry five minutes from its last use', () => {
    const { clock, call } = open()
    const readTokens = () => call(ALICE, { promptTokens: 8000, cached }).usage.cacheReadTokens
    call(ALICE, { promptTokens: 8000, cached }).begun()
    clock.advanceTo(clock.now() + 299_000)
    expect(readTokens()).toBe(8000)
    clock.advanceTo(clock.now() + 299_000)
    expect(readTokens()).toBe(8000)
    clock.advanceTo(clock.now() + 300_000)
    expect(readTokens()).toBe(0)
  })

  it('parts what is written by how long it is kept', () => {
    const { clock, call } = open()
    const both = [
      { key: 'system', tokens: 5000, ttlMs: 3_600_000 },
      { key: 'turn', tokens: 7000, ttlMs: 300_000 },
    ]
    const first = call(ALICE, { promptTokens: 7500, cached: both })
    expect(first.usage).toMatchObject({ cacheWriteTokens: 7000, cacheWriteHourTokens: 5000 })
    first.begun()
    clock.advanceTo(clock.now() + 1_800_000)
    expect(call(ALICE, { promptTokens: 7500, cached: both }).usage).toMatchObject({
      cacheReadTokens: 5000,
      cacheWriteTokens: 2000,
      cacheWriteHourTokens: 0,
    })
  })

  it('does not cache short prefixes, nor across organizations', () => {
    const { call } = open()
    const short = [{ key: 's', tokens: 1023 }]
    expect(call(ALICE, { promptTokens: 1100, cached: short }).usage.cacheWriteTokens).toBe(0)
    call(ALICE, { promptTokens: 8000, cached }).begun()
    expect(call(EVE, { promptTokens: 8000, cached }).usage.cacheReadTokens).toBe(0)
  })
})

describe('the report', () => {
  it('counts per key and minute, and says whether a limit was exceeded', () => {
    const { clock, provider, ask, call } = open({
      limits: { requests: 2, inputTokens: 30_000, outputTokens: 8000 },
    })
    const first = call(ALICE)
    first.generated(40)
    const second = call(BOB)
    expect(provider.report()).toMatchObject({ inFlight: 2, isLimitExceeded: false })
    first.ended()
    first.ended()
    expect(ask(BOB).kind).toBe('refused')
    clock.advanceTo(clock.now() + 60_000)
    second.generated(5)
    second.ended()
    const report = provider.report()
    expect(report).toMatchObject({ inFlight: 0, maxInFlight: 2, isLimitExceeded: true })
    expect(report.totals).toMatchObject({
      requests: 3,
      admitted: 2,
      refusedForRequests: 1,
      inputTokens: 2000,
      outputTokens: 45,
    })
    expect(report.keys.bob).toMatchObject({ requests: 2, admitted: 1, outputTokens: 5 })
    expect(report.minutes.map((minute) => minute.outputTokens)).toEqual([40, 5])
    expect(report.minutes[0]?.keys.alice).toMatchObject({ requests: 1 })
  })

  it('sees output that ran into debt as a limit exceeded', () => {
    const { provider, call } = open()
    call().generated(8001)
    expect(provider.report().isLimitExceeded).toBe(true)
  })
})

it('gives an organization one id that looks like a random UUID', () => {
  expect(organizationId('acme')).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
  expect(organizationId('acme')).toBe(organizationId('acme'))
  expect(organizationId('acme')).not.toBe(organizationId('other'))
})
