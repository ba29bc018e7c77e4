import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { openLedger } from '../backends/open-ledger.ts'
import { VirtualClock } from '../core/clock.ts'
import { hashSecret } from '../policy/key-ring.ts'
import {
  type Caller,
  createLimiter,
  type Entrance,
  type LimiterOptions,
  LimitReached,
  type RequestLimits,
  type Visit,
} from './limiter.ts'

const NOON = Date.UTC(2026, 4, 31, 12)

async function open(options: LimiterOptions) {
  const clock = new VirtualClock(NOON)
  const shadowed: string[] = []
  const warned: number[] = []
  const failures: unknown[] = []
  const limiter = await createLimiter({
    clock,
    env: {},
    events: {
      shadowed: (who, rule) => shadowed.push(`${who.user}: ${rule}`),
      budgetWarned: ({ step }) => warned.push(step),
      failed: (error) => failures.push(error),
    },
    ...options,
  })
  onTestFinished(async () => {
    await limiter.close()
    expect(failures).toEqual([])
  })
  const arrive = (caller: Caller) => {
    const visit = limiter.visit()
    const headers: Record<string, string> = {}
    visit.onHeaders = (told) => Object.assign(headers, told)
    return { visit, headers, entering: visit.enter(caller) }
  }
  const enter = async (caller: Caller) => {
    const { visit, headers, entering } = arrive(caller)
    return { visit, headers, entrance: await entering }
  }
  const admit = async (user: string) => {
    const { visit, headers, entrance } = await enter(by(user))
    return { visit, headers, limits: admitted(entrance) }
  }
  return { clock, limiter, shadowed, warned, arrive, enter, admit }
}

const by = (user: string): Caller => ({ kind: 'named', name: { user } })

const showing = (headers: Readonly<Record<string, string>>): Caller => ({
  kind: 'shown',
  header: (name) => headers[name] ?? null,
})

function admitted(entrance: Entrance): RequestLimits {
  if (entrance.kind !== 'admitted') throw new Error(`not admitted: ${JSON.stringify(entrance)}`)
  return entrance.limits
}

function answerOf(entrance: Entrance) {
  if (entrance.kind !== 'refused') throw new Error(`not refused: ${entrance.kind}`)
  return entrance.answer
}

async function refusalOf(reserving: Promise<unknown>): Promise<LimitReached> {
  const error = await reserving.catch((reason: unknown) => reason)
  if (!(error instanceof LimitReached)) throw new Error(`not refused: ${error}`)
  return error
}

/** Lets all that is under way without any timer come to an end. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

function folderForTest(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'headgate-middleware-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const sqlite = (): string => `sqlite:${path.join(folderForTest(), 'ledger.db')}`

describe('a request', () => {
  const config = {
    default_tier: 'free',
    tiers: { free: { requests: '2/min' }, pro: { requests: '3/min' } },
    users: { bob: { tier: 'pro' } },
  }

  it('is let in while its user has requests left, and told how many', async () => {
    const { admit } = await open({ config })
    const { headers } = await admit('alice')
    expect(headers).toMatchObject({
      'ratelimit-policy': '"requests";q=2;w=60',
      ratelimit: '"requests";r=1;t=30',
      'x-ratelimit-limit': '2',
      'x-ratelimit-remaining': '1',
      'x-ratelimit-reset': String(NOON / 1000 + 30),
    })
  })

  it('is refused when none is left, until one is there again', async () => {
    const { admit, enter, clock } = await open({ config })
    await admit('alice')
    await admit('alice')
    const { entrance } = await enter(by('alice'))
    const { status, headers, body } = answerOf(entrance)
    expect(status).toBe(429)
    expect(headers).toMatchObject({ 'retry-after': '30', 'x-ratelimit-remaining': '0' })
    expect(body).toMatchObject({
      error: 'rate_limit_exceeded',
      limit: '2 requests per 60 s',
      retry_after: 30,
    })
    clock.advanceTo(NOON + 30_000)
    await admit('alice')
  })

  it('is counted for its user alone, by the tier of that user', async () => {
    const { admit, enter } = await open({ config })
    for (const user of ['alice', 'alice', 'bob', 'bob', 'bob']) await admit(user)
    expect((await enter(by('bob'))).entrance.kind).toBe('refused')
    expect((await admit('carol')).headers['x-ratelimit-remaining']).toBe('1')
  })

  it('takes the tier that the program names, and counts it apart', async () => {
    const { enter } = await open({ config })
    const caller: Caller = { kind: 'named', name: { user: 'alice', tier: 'pro' } }
    const { headers, entrance } = await enter(caller)
    expect(admitted(entrance).tier).toBe('pro')
    expect(headers['x-ratelimit-limit']).toBe('3')
  })

  it('is refused for a name that is none', async () => {
    const { enter } = await open({ config })
    const { entrance } = await enter(by('alice\n'))
    expect(answerOf(entrance).status).toBe(400)
  })

  it('holds a slot until it ends', async () => {
    const { admit, enter } = await open({
      config: { default_tier: 'free', tiers: { free: { concurrency: 1 } } },
    })
    const { visit } = await admit('alice')
    expect((await enter(by('alice'))).entrance.kind).toBe('refused')
    visit.end()
    visit.end()
    await admit('alice')
    expect((await enter(by('alice'))).entrance.kind).toBe('refused')
  })

  it('is let in by a limit in shadow mode that has no room, and told of', async () => {
    const { admit, shadowed } = await open({
      config: { default_tier: 'free', tiers: { free: { shadow: { requests: '1/min' } } } },
    })
    await admit('alice')
    expect(shadowed).toEqual([])
    await admit('alice')
    expect(shadowed).toEqual(['alice: limits of user:alice'])
  })
})

describe('keys', () => {
  const keys = [{ id: 'mobile', sha256: hashSecret('key_pro_001'), user: 'bob' }]
  const tiers = { free: { requests: '2/min' }, pro: { requests: '3/min' } }
  const config = { default_tier: 'free', tiers, users: { bob: { tier: 'pro' } }, keys }

  it.each(['x-api-key', 'x-headgate-key'])('in %s name user and tier', async (name) => {
    const { enter } = await open({ config })
    const { entrance } = await enter(showing({ [name]: 'key_pro_001' }))
    expect(admitted(entrance)).toMatchObject({ tier: 'pro', identity: { user: 'bob' } })
  })

  it('that are not known are refused', async () => {
    const { enter } = await open({ config })
    const { entrance } = await enter(showing({ 'x-api-key': 'key_pro_002' }))
    expect(answerOf(entrance)).toMatchObject({ status: 401, body: { error: 'key_unknown' } })
  })

  it('are needed where there are some, unless the configuration says otherwise', async () => {
    const strict = await open({ config })
    const { entrance } = await strict.enter(showing({}))
    expect(answerOf(entrance)).toMatchObject({ status: 401, body: { error: 'key_missing' } })
    const lax = await open({ config: { ...config, identity: { require_key: false } } })
    const anybody = await lax.enter(showing({ 'x-headgate-user': 'bob' }))
    expect(admitted(anybody.entrance)).toMatchObject({
      tier: 'free',
      identity: { user: 'anonymous' },
    })
  })

  it('that were issued and revoked elsewhere are known within a second', async () => {
    const file = path.join(folderForTest(), 'ledger.db')
    const { enter, clock } = await open({ config: { ...config, ledger: `sqlite:${file}` } })
    const address = { kind: 'sqlite', file, isDefault: false, shown: file } as const
    const told = { unavailable() {}, returned() {}, recovered() {}, warned() {}, failed() {} }
    const ledger = await openLedger(address, { clock, events: told })
    onTestFinished(async () => await ledger?.close(1000))
    await ledger?.addKey({
      sha256: hashSecret('hgk_issued'),
      id: 'issued',
      user: 'bob',
      team: null,
      tier: null,
      // A key that opens nothing of the gateway's: a program of its own has other doors.
      scopes: ['leases'],
      createdAt: NOON,
      expiresAt: null,
      revokedAt: null,
    })
    const becomes = (kind: string) =>
      vi.waitFor(async () => {
        clock.advanceTo(clock.now() + 1000)
        const { visit, entrance } = await enter(showing({ 'x-api-key': 'hgk_issued' }))
        visit.end()
        expect(entrance.kind === 'refused' ? entrance.answer.body.error : entrance.kind).toBe(kind)
      })
    await becomes('admitted')
    await ledger?.revokeKey('issued', clock.now())
    await becomes('key_revoked')
  })

  it('of the program’s own are left alone where none are configured', async () => {
    const { enter } = await open({ config: { default_tier: 'free', tiers } })
    const { entrance } = await enter(showing({ 'x-api-key': 'something else' }))
    expect(admitted(entrance).identity.user).toBe('anonymous')
  })
})

describe('waiting', () => {
  const config = {
    default_tier: 'free',
    tiers: {
      free: { lane: 'low', requests: '1/min', overflow: 'wait' },
      premium: { lane: 'high' },
    },
    users: { paula: { tier: 'premium' } },
  } as const

  it('ends when the limit has room', async () => {
    const { admit, arrive, clock } = await open({ config, maxWaitMs: 61_000 })
    await admit('alice')
    const { entering } = arrive(by('alice'))
    await settled()
    clock.advanceTo(NOON + 60_000)
    expect((await entering).kind).toBe('admitted')
  })

  it('is refused at once where it would be too long', async () => {
    const { admit, enter } = await open({ config })
    await admit('alice')
    const { entrance } = await enter(by('alice'))
    expect(answerOf(entrance)).toMatchObject({ status: 429, body: { retry_after: 60 } })
  })

  it('ends with 429 when its time is up', async () => {
    const { admit, arrive, clock } = await open({ shared: { concurrency: 1 } })
    await admit('alice')
    const { entering } = arrive(by('bob'))
    await settled()
    clock.advanceTo(NOON + 29_999)
    await settled()
    clock.advanceTo(NOON + 30_000)
    expect(answerOf(await entering).body.message).toContain('has waited 30 s')
  })

  it('for what all share lets premium go before free', async () => {
    const { limiter, arrive, clock } = await open({ config, shared: '1/s' })
    const order: string[] = []
    const come = (user: string) => {
      const { entering } = arrive(by(user))
      return entering.then((entrance) => order.push(`${user} ${entrance.kind}`))
    }
    await come('first')
    const all = [come('alice'), come('bob')]
    await settled()
    all.push(come('paula'))
    await settled()
    const queued = (await limiter.snapshot()).find(({ name }) => name === 'api-shared')?.queued
    expect(queued).toBe(3)
    for (const second of [1, 2, 3]) {
      clock.advanceTo(NOON + second * 1000)
      await settled()
    }
    await Promise.all(all)
    expect(order).toEqual(['first admitted', 'paula admitted', 'alice admitted', 'bob admitted'])
  })

  it('gives its place back when the caller leaves', async () => {
    const { admit, arrive } = await open({ shared: { concurrency: 1 } })
    const { visit } = await admit('alice')
    const leaver = arrive(by('bob'))
    const stayer = arrive(by('carol'))
    await settled()
    leaver.visit.end()
    expect(await leaver.entering).toEqual({ kind: 'gone' })
    visit.end()
    expect((await stayer.entering).kind).toBe('admitted')
  })

  it('ends with 503 when the limiter closes', async () => {
    const { limiter, admit, arrive, enter } = await open({ shared: { concurrency: 1 } })
    await admit('alice')
    const { entering } = arrive(by('bob'))
    await settled()
    await limiter.close()
    expect(answerOf(await entering).status).toBe(503)
    expect(answerOf((await enter(by('carol'))).entrance).status).toBe(503)
  })
})

describe('a reservation', () => {
  const config = {
    default_tier: 'free',
    tiers: {
      free: {
        requests: '100/min',
        concurrency: 1,
        tokens: '1000/hour',
        max_tokens_per_request: 800,
      },
    },
  }
  const tokensLeft = async (visitor: { admit(user: string): Promise<{ headers: object }> }) =>
    /"tokens";r=(\d+)/.exec(
      JSON.stringify((await visitor.admit('alice')).headers).replaceAll('\\', ''),
    )?.[1]
  const end = (visit: Visit) => visit.end()

  it('takes tokens, and gives back what was not used', async () => {
    const gate = await open({ config })
    const { visit, limits, headers } = await gate.admit('alice')
    const reservation = await limits.reserve({ tokens: 600 })
    expect(headers.ratelimit).toContain('"tokens";r=400')
    await reservation.settle({ inputTokens: 100, outputTokens: 50 })
    end(visit)
    expect(await tokensLeft(gate)).toBe('850')
  })

  it('owes what was used beyond it', async () => {
    const gate = await open({ config })
    const { visit, limits } = await gate.admit('alice')
    const reservation = await limits.reserve({ tokens: 600 })
    await reservation.settle({ tokens: 900 })
    end(visit)
    expect(await tokensLeft(gate)).toBe('100')
  })

  it('is given back by release, once', async () => {
    const gate = await open({ config })
    const { visit, limits } = await gate.admit('alice')
    const reservation = await limits.reserve({ tokens: 600 })
    await reservation.release()
    await reservation.settle({ tokens: 600 })
    end(visit)
    expect(await tokensLeft(gate)).toBe('1000')
  })

  it('is refused when the tokens are used up', async () => {
    const { admit } = await open({ config })
    const { limits, visit } = await admit('alice')
    await limits.reserve({ tokens: 700 })
    end(visit)
    const next = await admit('alice')
    const refusal = await refusalOf(next.limits.reserve({ tokens: 700 }))
    expect(refusal.status).toBe(429)
    expect(refusal.answer.body.limit).toBe('1000 tokens per 3600 s')
    expect(refusal.headers).toHaveProperty('retry-after', '1440')
  })

  it('is refused with 413 when the request with all its reservations is too large', async () => {
    const { admit } = await open({ config })
    const { limits } = await admit('alice')
    await limits.reserve({ tokens: 500 })
    const refusal = await refusalOf(limits.reserve({ inputTokens: 200, outputTokens: 101 }))
    expect(refusal.answer).toMatchObject({ status: 413, body: { error: 'tokens_over_cap' } })
  })

  it('may be settled after the response, for ten minutes', async () => {
    const gate = await open({ config })
    const { visit, limits } = await gate.admit('alice')
    const reservation = await limits.reserve({ tokens: 600 })
    end(visit)
    gate.clock.advanceTo(NOON + 599_999)
    await reservation.settle({ tokens: 0 })
    expect(await tokensLeft(gate)).toBe('1000')
  })

  it('that nobody ends is charged as reserved', async () => {
    const gate = await open({ config })
    const { visit, limits } = await gate.admit('alice')
    const reservation = await limits.reserve({ tokens: 800 })
    end(visit)
    gate.clock.advanceTo(NOON + 600_000)
    await reservation.settle({ tokens: 0 })
    expect(Number(await tokensLeft(gate))).toBeLessThan(400)
  })

  it('that waits ends when its caller leaves', async () => {
    const { admit } = await open({
      config: { default_tier: 'free', tiers: { free: { tokens: '10/min', overflow: 'wait' } } },
    })
    const { visit, limits } = await admit('alice')
    await limits.reserve({ tokens: 10 })
    const waiting = limits.reserve({ tokens: 5 })
    await settled()
    end(visit)
    await expect(waiting).rejects.toHaveProperty('code', 'CALLER_GONE')
  })

  it('of amounts that are none is a mistake of the program', async () => {
    const { admit } = await open({ config })
    const { limits } = await admit('alice')
    await expect(limits.reserve({ tokens: -1 })).rejects.toThrow(/^reserve: tokens: /)
  })
})

describe('money', () => {
  const tiers = { free: { requests: '100/min', budget: '1 USD/month' } }
  const config = () => ({ default_tier: 'free', tiers, ledger: sqlite() })

  it('is counted against the budget, which refuses when it is spent', async () => {
    const { admit, enter, warned } = await open({ config: config() })
    const { limits } = await admit('alice')
    const first = await limits.reserve({ costUsd: 0.9 })
    const refusal = await refusalOf(limits.reserve({ costUsd: 0.2 }))
    expect(refusal.answer).toMatchObject({ status: 402, body: { error: 'budget_spent' } })
    await first.settle({ costUsd: 1 })
    // The last step is told of at the first refusal.
    expect(warned).toEqual([100, 80])
    const { entrance } = await enter(by('alice'))
    expect(answerOf(entrance).status).toBe(402)
    const { headers } = await admit('bob')
    expect(headers).toMatchObject({ 'x-headgate-budget-remaining-usd': '1' })
  })

  it('comes anew with the next month', async () => {
    const { admit, enter, clock } = await open({ config: config() })
    const { limits } = await admit('alice')
    await (await limits.reserve({ costUsd: 1 })).settle()
    expect((await enter(by('alice'))).entrance.kind).toBe('refused')
    clock.advanceTo(Date.UTC(2026, 5, 1))
    await admit('alice')
  })

  it('is what a model’s tokens cost', async () => {
    const prices = { 'house-*': { input: '1 USD/Mtok', output: '10 USD/Mtok' } }
    const { admit } = await open({ config: { ...config(), prices } })
    const { limits, headers } = await admit('alice')
    const asked = { model: 'house-1', inputTokens: 10_000, outputTokens: 20_000 }
    const reservation = await limits.reserve(asked)
    expect(headers['x-headgate-budget-remaining-usd']).toBe('0.79')
    await reservation.settle({ inputTokens: 10_000, outputTokens: 1000 })
    expect((await admit('alice')).headers['x-headgate-budget-remaining-usd']).toBe('0.98')
  })

  it('of a model without a known price is refused', async () => {
    const { admit } = await open({ config: config() })
    const { limits } = await admit('alice')
    const refusal = await refusalOf(limits.reserve({ model: 'nobody-knows', tokens: 1 }))
    expect(refusal.answer.body.error).toBe('price_unknown')
  })

  it('that was set aside and never settled is charged when the limiter closes', async () => {
    const kept = config()
    const first = await open({ config: kept })
    const { limits } = await first.admit('alice')
    await limits.reserve({ costUsd: 0.4 })
    await first.limiter.close()
    const second = await open({ config: kept })
    const { headers } = await second.admit('alice')
    expect(headers['x-headgate-budget-remaining-usd']).toBe('0.6')
  })
})

describe('options', () => {
  const problemsOf = (options: LimiterOptions) =>
    createLimiter({ env: {}, ...options }).then(
      () => [],
      (error: unknown) => (error instanceof Error ? error.message.split('\n') : []),
    )

  it('that are wrong are told, one line each, with the key', async () => {
    const tiers = { free: { requests: '10 a minute' } }
    expect(await problemsOf({ config: { default_tier: 'fre', tiers } })).toEqual([
      expect.stringMatching(/^config: tiers\.free\.requests: "10 a minute" is not a limit/),
    ])
    expect(await problemsOf({ shared: 'much' })).toEqual([
      expect.stringMatching(/^shared\.requests: is not a limit/),
    ])
    expect(await problemsOf({ maxWaitMs: -1 })).toEqual([
      'maxWaitMs: -1 is no time, write milliseconds from 0',
    ])
  })

  it('name a file that is not there in one line', async () => {
    expect(await problemsOf({ file: '/nowhere/headgate.yaml' })).toEqual([
      expect.stringContaining('/nowhere/headgate.yaml: there is no such file'),
    ])
  })
})
