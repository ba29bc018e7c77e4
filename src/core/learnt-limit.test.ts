import { describe, expect, it } from 'vitest'
import { LearntLimit, type Uncounted } from './learnt-limit.ts'
import type { TokenBucketLimit } from './limit.ts'
import { TokenBucket } from './meters/token-bucket.ts'
import type { ObservedLimit } from './observation.ts'

const EPOCH = 1.8e12
const NOTHING_UNCOUNTED: Uncounted = { since: () => 0, unconfirmed: 0 }

type Tokens = 'requests' | 'input_tokens'

/** A provider with one bucket, which says of it what Anthropic would. */
class Provider {
  readonly bucket: TokenBucket
  readonly roundTo: number
  readonly dimension: Tokens

  constructor(
    amount: number,
    windowMs: number,
    roundTo = 1000,
    dimension: Tokens = 'input_tokens',
  ) {
    const limit: TokenBucketLimit = {
      algorithm: 'token_bucket',
      dimension,
      amount,
      windowMs,
      source: 'configured',
    }
    this.bucket = new TokenBucket(limit, EPOCH)
    this.roundTo = roundTo
    this.dimension = dimension
  }

  /** What it says in an answer of a level that it read some time before. */
  state(now: number, answeredAt = now): ObservedLimit {
    const { amount, windowMs } = this.bucket.limit
    const level = Math.max(0, this.bucket.remaining(now))
    const fullAt = now + ((amount - level) / amount) * windowMs
    return {
      dimension: this.dimension,
      amount,
      remaining: Math.round(level / this.roundTo) * this.roundTo,
      roundedBy: this.roundTo / 2,
      fullInMs: Math.floor(fullAt / 1000) * 1000 - Math.floor(answeredAt / 1000) * 1000,
      fullInErrorMs: 1000,
    }
  }
}

const learnFrom = (provider: Provider, now: number): LearntLimit => {
  const learnt = new LearntLimit(provider.state(now), now)
  learnt.observe(provider.state(now), now, now, NOTHING_UNCOUNTED)
  return learnt
}

describe('LearntLimit', () => {
  it('believes the documented minute while the statements allow it', () => {
    const provider = new Provider(50_000, 60_000)
    const learnt = new LearntLimit(provider.state(EPOCH), EPOCH)
    for (let now = EPOCH; now < EPOCH + 120_000; now += 1700) {
      provider.bucket.take(900, now)
      learnt.observe(provider.state(now), now - 400, now, NOTHING_UNCOUNTED)
      expect(learnt.windowMs).toBe(60_000)
    }
  })

  it('infers the window of a provider that is ten times faster', () => {
    const provider = new Provider(50_000, 6000)
    const learnt = new LearntLimit(provider.state(EPOCH), EPOCH)
    for (let now = EPOCH; now < EPOCH + 30_000; now += 700) {
      provider.bucket.take(8000, now)
      learnt.observe(provider.state(now), now - 50, now, NOTHING_UNCOUNTED)
    }
    expect(learnt.windowMs).toBeGreaterThan(5000)
    expect(learnt.windowMs).toBeLessThan(7000)
  })

  it('follows a window that changes', () => {
    const fast = new Provider(50_000, 6000, 1)
    const learnt = learnFrom(fast, EPOCH)
    for (let now = EPOCH; now < EPOCH + 20_000; now += 1000) {
      fast.bucket.take(8000, now)
      learnt.observe(fast.state(now), now, now, NOTHING_UNCOUNTED)
    }
    const slow = new Provider(50_000, 60_000, 1)
    for (let now = EPOCH + 20_000; now < EPOCH + 40_000; now += 1000) {
      slow.bucket.take(2000, now)
      learnt.observe(slow.state(now), now, now, NOTHING_UNCOUNTED)
    }
    expect(learnt.windowMs).toBe(60_000)
  })

  it('leaves room to those who have not been answered yet', () => {
    const provider = new Provider(50_000, 60_000, 1)
    provider.bucket.take(1, EPOCH)
    const learnt = learnFrom(provider, EPOCH)
    learnt.meter.take(10_000, EPOCH)
    learnt.observe(provider.state(EPOCH), EPOCH - 100, EPOCH, {
      since: () => 0,
      unconfirmed: 10_000,
    })
    expect(learnt.meter.remaining(EPOCH)).toBeLessThanOrEqual(40_000)
  })

  it('starts from the least that the first statement can mean', () => {
    const provider = new Provider(50_000, 60_000)
    provider.bucket.take(20_000, EPOCH)
    const learnt = new LearntLimit(provider.state(EPOCH), EPOCH)
    learnt.observe(provider.state(EPOCH), EPOCH, EPOCH, {
      since: () => 0,
      unconfirmed: 3000,
    })
    expect(learnt.meter.remaining(EPOCH)).toBe(50_000 - 20_000 - 500 - 3000)
  })

  it('does not move while its own count lies within the rounding', () => {
    const provider = new Provider(50_000, 60_000)
    provider.bucket.take(20_000, EPOCH)
    const learnt = learnFrom(provider, EPOCH)
    const before = learnt.meter.remaining(EPOCH)
    learnt.meter.take(300, EPOCH)
    learnt.observe(provider.state(EPOCH), EPOCH, EPOCH, {
      since: () => 300,
      unconfirmed: 300,
    })
    expect(learnt.meter.remaining(EPOCH)).toBe(before - 300)
    expect(learnt.othersPerMinute).toBe(0)
  })

  it('is not raised by statements that arrive late and out of order', () => {
    const provider = new Provider(50_000, 60_000, 1)
    provider.bucket.take(1, EPOCH)
    const learnt = learnFrom(provider, EPOCH)
    const departed: { at: number; tokens: number }[] = []
    const uncounted: Uncounted = {
      since: (at) =>
        departed.filter((lease) => lease.at > at).reduce((sum, lease) => sum + lease.tokens, 0),
      unconfirmed: 40_000,
    }
    const statements: { state: ObservedLimit; sentAt: number }[] = []
    for (let index = 0; index < 10; index++) {
      const sentAt = EPOCH + index * 100
      provider.bucket.take(4000, sentAt)
      learnt.meter.take(4000, sentAt)
      departed.push({ at: sentAt, tokens: 4000 })
      statements.push({ state: provider.state(sentAt + 10, EPOCH + 3000), sentAt })
    }
    for (const { state, sentAt } of statements.reverse()) {
      const now = EPOCH + 3000
      learnt.observe(state, sentAt, now, uncounted)
      expect(learnt.meter.remaining(now)).toBeLessThanOrEqual(provider.bucket.remaining(now) + 1)
    }
    const now = EPOCH + 3000
    const shortBy = provider.bucket.remaining(now) - learnt.meter.remaining(now)
    expect(shortBy).toBeLessThan(2000)
    expect(learnt.othersPerMinute).toBe(0)
  })

  it('follows a drop that its own leases do not explain', () => {
    const provider = new Provider(50_000, 60_000)
    const learnt = learnFrom(provider, EPOCH)
    provider.bucket.take(30_000, EPOCH + 1000)
    learnt.observe(provider.state(EPOCH + 1000), EPOCH + 900, EPOCH + 1000, NOTHING_UNCOUNTED)
    expect(learnt.meter.remaining(EPOCH + 1000)).toBeLessThanOrEqual(20_500)
    expect(learnt.meter.remaining(EPOCH + 1000)).toBeGreaterThan(18_000)
  })

  it('learns the rate at which others take, and forgets it when they stop', () => {
    const provider = new Provider(60_000, 60_000, 1)
    const learnt = learnFrom(provider, EPOCH)
    let now = EPOCH
    for (; now < EPOCH + 120_000; now += 1000) {
      provider.bucket.take(500, now)
      learnt.meter.take(400, now)
      provider.bucket.take(400, now)
      learnt.observe(provider.state(now), now - 10, now, NOTHING_UNCOUNTED)
    }
    expect(learnt.othersPerMinute).toBeGreaterThan(15_000)
    expect(learnt.othersPerMinute).toBeLessThan(45_000)
    for (; now < EPOCH + 1_200_000; now += 5000)
      learnt.observe(provider.state(now), now - 10, now, NOTHING_UNCOUNTED)
    expect(learnt.othersPerMinute).toBeLessThan(1500)
  })

  it('never believes that others take it all', () => {
    const provider = new Provider(60_000, 60_000, 1)
    const learnt = learnFrom(provider, EPOCH)
    for (let now = EPOCH; now < EPOCH + 300_000; now += 1000) {
      provider.bucket.take(provider.bucket.remaining(now), now)
      learnt.observe(provider.state(now), now, now, NOTHING_UNCOUNTED)
    }
    expect(learnt.meter.ratePerMs).toBeGreaterThan(0.04)
  })

  it('keeps a little more back at each surprise, up to a bound, and relaxes after', () => {
    const provider = new Provider(50_000, 60_000)
    const learnt = learnFrom(provider, EPOCH)
    const first = learnt.guard
    expect(first).toBe(500)
    learnt.surprised()
    expect(learnt.guard).toBeGreaterThan(first)
    for (let count = 0; count < 50; count++) learnt.surprised()
    const most = learnt.guard
    expect(most).toBeLessThanOrEqual(15_000)
    learnt.surprised()
    expect(learnt.guard).toBe(most)
    expect(learnt.meter.reserve).toBe(most)
    let previous = most
    for (let hours = 1; hours <= 20; hours++) {
      const now = EPOCH + hours * 3_600_000
      learnt.observe(provider.state(now), now, now, NOTHING_UNCOUNTED)
      expect(learnt.guard).toBeLessThan(previous)
      previous = learnt.guard
    }
    expect(learnt.guard).toBeCloseTo(first, 0)
  })

  it('halves the burst of requests at each surprise, and always lets one through', () => {
    const provider = new Provider(64, 60_000, 1, 'requests')
    const learnt = learnFrom(provider, EPOCH)
    expect(learnt.guard).toBe(0)
    const guards = [1, 2, 3].map(() => {
      learnt.surprised()
      return learnt.guard
    })
    expect(guards).toEqual([32, 48, 56])
    for (let count = 0; count < 50; count++) learnt.surprised()
    expect(learnt.guard).toBe(63)
    expect(learnt.meter.readyAt(1, EPOCH)).toBeLessThan(EPOCH + 1000)
  })

  it('keeps a floor beside the guard', () => {
    const learnt = learnFrom(new Provider(50_000, 60_000), EPOCH)
    learnt.setFloor(10_000)
    expect(learnt.meter.reserve).toBe(10_500)
  })
})
