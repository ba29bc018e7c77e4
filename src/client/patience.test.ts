import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { Patience, pauseMs, TIMINGS } from './patience.ts'
import { Lost } from './wire.ts'

const LOST = new Lost('the line is dead')

function patience(random: () => number = () => 1) {
  const clock = new VirtualClock(1_000_000)
  const options = {
    url: 'http://gate',
    clock,
    random,
    timings: TIMINGS,
    unreachableAfterMs: 15_000,
  }
  return { clock, options, patience: new Patience(options) }
}

describe('the pauses', () => {
  it('double from a tenth of a second up to two seconds', () => {
    const { options } = patience()
    const pauses = [1, 2, 3, 4, 5, 6, 7, 100].map((failures) => pauseMs(failures, options))
    expect(pauses).toEqual([100, 200, 400, 800, 1600, 2000, 2000, 2000])
  })

  it('are never all of a length', () => {
    const { options } = patience(() => 0)
    expect(pauseMs(6, options)).toBe(1000)
  })
})

describe('patience', () => {
  it('ends when the gate has not been reached for too long', async () => {
    const { clock, patience: one } = patience()
    const outlasted = one.outlast(LOST)
    clock.step()
    await outlasted
    clock.advanceTo(1_014_700)
    expect(one.leftMs).toBe(300)
    const last = one.outlast(LOST)
    clock.step()
    await last
    clock.advanceTo(1_014_900)
    await expect(one.outlast(LOST)).rejects.toMatchObject({ code: 'UNREACHABLE', cause: LOST })
  })

  it('begins anew when the gate was reached', async () => {
    const { clock, patience: one } = patience()
    const outlasted = one.outlast(LOST)
    clock.step()
    await outlasted
    one.reached()
    clock.advanceTo(9_000_000)
    expect(one.failures).toBe(0)
    const again = one.outlast(LOST)
    expect(clock.nextAt()).toBe(9_000_100)
    clock.step()
    await again
  })

  it('asks again no sooner than the gate wishes', async () => {
    const { clock, patience: one } = patience()
    const problem = { status: 503, reason: 'r', detail: 'd', errors: [], retryAfterMs: 1500 }
    const outlasted = one.outlast(new Lost('stopping', problem))
    expect(clock.nextAt()).toBe(1_001_500)
    clock.step()
    await outlasted
  })

  it('is over at once when nobody wants it any more', async () => {
    const { clock, patience: one } = patience()
    const leaving = new AbortController()
    const outlasted = one.outlast(LOST, { signal: leaving.signal })
    leaving.abort()
    await outlasted
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })
})
