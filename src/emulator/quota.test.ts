import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { seededRandom } from '../core/random.ts'
import { ExternalTraffic } from './external-traffic.ts'
import { Quota } from './quota.ts'

const LIMITS = { requests: 60, inputTokens: 30_000, outputTokens: 8000 }
const START_AT = Date.UTC(2026, 10, 21, 10, 15, 30)

function open(options: { requestBurst?: number; externalShare?: number; windowMs?: number } = {}) {
  const clock = new VirtualClock(START_AT)
  const random = seededRandom(7)
  const quota = new Quota(
    {
      limits: LIMITS,
      windowMs: options.windowMs ?? 60_000,
      requestBurst: options.requestBurst,
      externalShare: options.externalShare ?? 0,
    },
    clock,
    random,
  )
  return { clock, quota }
}

describe('Quota', () => {
  it('names the limit that frees last, and the instant at which the request fits', () => {
    const { clock, quota } = open()
    quota.take(25_000)
    expect(quota.shortage(5000)).toBeNull()
    const shortage = quota.shortage(20_000)
    expect(shortage).toMatchObject({ dimension: 'input_tokens', amount: 30_000 })
    clock.advanceTo(START_AT + 30_000 - 1)
    expect(quota.shortage(20_000)).not.toBeNull()
    clock.advanceTo(shortage?.freeAt ?? 0)
    expect(clock.now()).toBeCloseTo(START_AT + 30_000)
    expect(quota.shortage(20_000)).toBeNull()
  })

  it('lets a request larger than the bucket in when the bucket is full, and collects the debt', () => {
    const { clock, quota } = open()
    expect(quota.shortage(45_000)).toBeNull()
    quota.take(45_000)
    clock.advanceTo(START_AT + 30_000)
    expect(quota.shortage(1)).not.toBeNull()
    clock.advanceTo(START_AT + 30_010)
    expect(quota.shortage(1)).toBeNull()
  })

  it('lets output run into debt, and admits nobody until it is paid', () => {
    const { clock, quota } = open()
    quota.generated(12_000)
    expect(quota.shortage(1)).toMatchObject({ dimension: 'output_tokens' })
    clock.advanceTo(START_AT + 29_000)
    expect(quota.shortage(1)).not.toBeNull()
    clock.advanceTo(START_AT + 30_100)
    expect(quota.shortage(1)).toBeNull()
  })

  it('enforces a minute of requests in slices that the headers do not show', () => {
    const { clock, quota } = open({ requestBurst: 2 })
    quota.take(10)
    quota.take(10)
    expect(quota.shortage(10)).toMatchObject({ dimension: 'requests', amount: 60 })
    expect(quota.headers()['anthropic-ratelimit-requests-remaining']).toBe('58')
    clock.advanceTo(START_AT + 1000)
    expect(quota.shortage(10)).toBeNull()
  })

  it('tells levels to the thousand and the whole second of full refill', () => {
    const { quota } = open()
    quota.take(1234)
    quota.generated(600)
    expect(quota.headers()).toEqual({
      'anthropic-ratelimit-requests-limit': '60',
      'anthropic-ratelimit-requests-remaining': '59',
      'anthropic-ratelimit-requests-reset': '2026-11-21T10:15:31Z',
      'anthropic-ratelimit-input-tokens-limit': '30000',
      'anthropic-ratelimit-input-tokens-remaining': '29000',
      'anthropic-ratelimit-input-tokens-reset': '2026-11-21T10:15:33Z',
      'anthropic-ratelimit-output-tokens-limit': '8000',
      'anthropic-ratelimit-output-tokens-remaining': '7000',
      'anthropic-ratelimit-output-tokens-reset': '2026-11-21T10:15:35Z',
      'anthropic-ratelimit-tokens-limit': '38000',
      'anthropic-ratelimit-tokens-remaining': '36000',
      'anthropic-ratelimit-tokens-reset': '2026-11-21T10:15:35Z',
    })
  })

  it('tells the true reset when it refills faster than its minute', () => {
    const { quota } = open({ windowMs: 6000 })
    quota.take(30_000)
    expect(quota.headers()['anthropic-ratelimit-input-tokens-reset']).toBe('2026-11-21T10:15:36Z')
  })

  it('shows what someone else takes as a drop that nothing else explains', () => {
    const { clock, quota } = open({ externalShare: 1 / 3 })
    const levels = new Set<string | undefined>()
    while (clock.now() < START_AT + 60_000) {
      clock.advanceTo(clock.now() + 1000)
      levels.add(quota.headers()['anthropic-ratelimit-input-tokens-remaining'])
    }
    expect(levels.size).toBeGreaterThan(1)
  })

  it('never admits more than amount and burst in any window', () => {
    const arrival = fc.record({
      waitMs: fc.double({ min: 0, max: 5000, noNaN: true }),
      tokens: fc.integer({ min: 1, max: LIMITS.inputTokens }),
    })
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 200 }), (arrivals) => {
        const { clock, quota } = open()
        const admitted: { at: number; tokens: number }[] = []
        for (const { waitMs, tokens } of arrivals) {
          clock.advanceTo(clock.now() + waitMs)
          if (quota.shortage(tokens)) continue
          quota.take(tokens)
          admitted.push({ at: clock.now(), tokens })
        }
        for (const { at: from } of admitted) {
          const inWindow = admitted.filter(({ at }) => at >= from && at < from + 60_000)
          const tokens = inWindow.reduce((sum, request) => sum + request.tokens, 0)
          expect(tokens).toBeLessThanOrEqual(2 * LIMITS.inputTokens)
          expect(inWindow.length).toBeLessThanOrEqual(2 * LIMITS.requests)
        }
      }),
    )
  })
})

describe('ExternalTraffic', () => {
  const HOUR_MS = 3_600_000

  it('asks for the set share of the input limit', () => {
    const load = { share: 1 / 3, limits: LIMITS, windowMs: 60_000 }
    const traffic = new ExternalTraffic(load, seededRandom(3), START_AT)
    let tokens = 0
    for (let at = START_AT; at <= START_AT + 10 * HOUR_MS; at += 1000) {
      for (let other = traffic.next(at); other; other = traffic.next(at)) {
        tokens += other.inputTokens
      }
    }
    const share = tokens / (600 * LIMITS.inputTokens)
    expect(share).toBeCloseTo(1 / 3, 1)
  })

  it('replays no more than the last two minutes of a long silence', () => {
    const load = { share: 1, limits: LIMITS, windowMs: 60_000 }
    const traffic = new ExternalTraffic(load, seededRandom(3), START_AT)
    const instants: number[] = []
    const now = START_AT + 1000 * HOUR_MS
    for (let other = traffic.next(now); other; other = traffic.next(now)) instants.push(other.at)
    expect(instants.length).toBeGreaterThan(50)
    expect(Math.min(...instants)).toBe(now - 120_000)
  })
})
