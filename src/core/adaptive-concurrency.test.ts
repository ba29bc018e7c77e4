import { describe, expect, it } from 'vitest'
import { AdaptiveConcurrency } from './adaptive-concurrency.ts'
import { VirtualClock } from './clock.ts'
import { seededRandom } from './random.ts'

const SECOND_MS = 1000
const MINUTE_MS = 60_000

/** Overload answers of a burst, each of which ends a request. */
function burst(bound: AdaptiveConcurrency, inFlight: number, count: number, now: number): void {
  for (let nth = 0; nth < count; nth++) bound.overloaded(inFlight - nth, now)
}

describe('AdaptiveConcurrency', () => {
  it('is unlimited until the first overload', () => {
    const bound = new AdaptiveConcurrency()
    bound.succeeded(100, 0)
    expect(bound.limit).toBe(Number.POSITIVE_INFINITY)
    expect(bound.admits(1_000_000)).toBe(true)
  })

  it('takes an overload among many answers for what it is', () => {
    const bound = new AdaptiveConcurrency()
    bound.overloaded(3, 0)
    for (let count = 0; count < 40; count++) bound.succeeded(null, 0)
    bound.overloaded(3, 0)
    expect(bound.limit).toBe(Number.POSITIVE_INFINITY)
  })

  it('falls as long as overloads come, from what was in flight when they became many', () => {
    const bound = new AdaptiveConcurrency()
    burst(bound, 100, 3, 0)
    expect(bound.limit).toBe(97.5)
    burst(bound, 97, 95, 0)
    expect(bound.limit).toBe(50)
    expect(bound.admits(49)).toBe(true)
    expect(bound.admits(50)).toBe(false)
  })

  it('always lets one through', () => {
    const bound = new AdaptiveConcurrency()
    for (let count = 0; count < 20; count++) bound.overloaded(2, count * 2000)
    expect(bound.limit).toBe(1)
    expect(bound.admits(0)).toBe(true)
    expect(bound.admits(1)).toBe(false)
  })

  it('comes back quickly to what was borne before, and feels its way from there', () => {
    const bound = new AdaptiveConcurrency()
    burst(bound, 100, 180, 0)
    expect(bound.limit).toBeLessThan(12)
    for (let count = 0; count < 150; count++) bound.succeeded(null, 10_000)
    expect(bound.limit).toBeGreaterThan(88)
    const before = bound.limit
    for (let count = 0; count < 90; count++) bound.succeeded(null, 10_000)
    expect(bound.limit).toBeGreaterThan(before + 0.9)
    expect(bound.limit).toBeLessThan(before + 1.1)
  })

  it('does not grow while first answers are slower than usual', () => {
    const bound = new AdaptiveConcurrency()
    for (let count = 0; count < 50; count++) bound.succeeded(100, 0)
    burst(bound, 10, 3, 0)
    for (let count = 0; count < 10; count++) bound.succeeded(1000, 1)
    const slowLimit = bound.limit
    bound.succeeded(1000, 2)
    expect(bound.limit).toBe(slowLimit)
    for (let count = 0; count < 20; count++) bound.succeeded(100, 3)
    expect(bound.limit).toBeGreaterThan(slowLimit)
  })

  it('trusts again when no overload has come for a while', () => {
    const bound = new AdaptiveConcurrency()
    burst(bound, 10, 9, 0)
    expect(bound.remembers(5 * MINUTE_MS)).toBe(true)
    bound.succeeded(null, 4 * MINUTE_MS)
    expect(bound.limit).toBeLessThan(10)
    expect(bound.remembers(6 * MINUTE_MS)).toBe(false)
    bound.succeeded(null, 6 * MINUTE_MS)
    expect(bound.limit).toBe(Number.POSITIVE_INFINITY)
    // And as attentive as before.
    burst(bound, 10, 3, 7 * MINUTE_MS)
    expect(bound.limit).toBeLessThan(10)
  })
})

describe('a provider under as much load as the bound lets through', () => {
  interface Load {
    /** So many always want to be under way. */
    readonly wanted: number
    readonly minutes: number
    readonly isOverloaded: (inFlight: number, elapsedMs: number) => boolean
  }
  const random = seededRandom(5)

  /** Answers take three to seven seconds; overload is told at once, and then a slot rests for a second. */
  function runUnder({ wanted, minutes, isOverloaded }: Load) {
    const clock = new VirtualClock(0)
    const bound = new AdaptiveConcurrency()
    const seen = { answered: 0, overloaded: 0, answeredIn: [] as number[] }
    let inFlight = 0
    let resting = 0
    const begin = (): void => {
      while (inFlight + resting < wanted && bound.admits(inFlight)) send()
    }
    const send = (): void => {
      inFlight++
      const fails = isOverloaded(inFlight, clock.now())
      const tookMs = fails ? 50 : 3000 + random() * 4000
      clock.schedule(clock.now() + tookMs, () => {
        if (fails) {
          seen.overloaded++
          bound.overloaded(inFlight, clock.now())
          resting++
          clock.schedule(clock.now() + SECOND_MS, () => {
            resting--
            begin()
          })
        } else {
          seen.answered++
          const minute = Math.floor(clock.now() / MINUTE_MS)
          seen.answeredIn[minute] = (seen.answeredIn[minute] ?? 0) + 1
          bound.succeeded(null, clock.now())
        }
        inFlight--
        begin()
      })
    }
    begin()
    clock.advanceTo(minutes * MINUTE_MS)
    const best = (wanted / 5) * minutes * 60
    return { ...seen, use: seen.answered / best }
  }

  it.each([
    [0.01, 0.97],
    [0.03, 0.92],
  ])(
    'is used in full where %d of answers are overloads for reasons of their own',
    (share, least) => {
      const { use } = runUnder({ wanted: 60, minutes: 30, isOverloaded: () => random() < share })
      expect(use).toBeGreaterThan(least)
    },
  )

  it('is used as far as it goes, and refuses few, where it bears less than is wanted', () => {
    const { answered, overloaded } = runUnder({
      wanted: 200,
      minutes: 30,
      isOverloaded: (inFlight) => inFlight > 40,
    })
    expect(answered).toBeGreaterThan((40 / 5) * 30 * 60 * 0.95)
    expect(overloaded / (answered + overloaded)).toBeLessThan(0.1)
  })

  it('is used again in full soon after it was down for half a minute', () => {
    const { answeredIn } = runUnder({
      wanted: 60,
      minutes: 6,
      isOverloaded: (_, elapsedMs) => elapsedMs > MINUTE_MS && elapsedMs < 1.5 * MINUTE_MS,
    })
    expect(answeredIn[4]).toBeGreaterThan(0.9 * (60 / 5) * 60)
  })
})
