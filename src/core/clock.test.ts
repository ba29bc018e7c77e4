import { describe, expect, it } from 'vitest'
import { realClock, VirtualClock } from './clock.ts'

describe('VirtualClock', () => {
  it('runs timers in the order of their instants, and of their making among equals', () => {
    const clock = new VirtualClock(100)
    const ran: string[] = []
    clock.schedule(120, () => ran.push('b'))
    clock.schedule(110, () => ran.push('a'))
    clock.schedule(120, () => ran.push('c'))
    clock.advanceTo(120)
    expect(ran).toEqual(['a', 'b', 'c'])
    expect(clock.now()).toBe(120)
  })

  it('stands at each timer’s instant while it runs', () => {
    const clock = new VirtualClock()
    const seen: number[] = []
    clock.schedule(5, () => {
      seen.push(clock.now())
      clock.schedule(7, () => seen.push(clock.now()))
    })
    clock.advanceTo(10)
    expect(seen).toEqual([5, 7])
  })

  it('never runs a cancelled timer, nor one synchronously', () => {
    const clock = new VirtualClock(10)
    let runs = 0
    const cancelled = clock.schedule(11, () => runs++)
    clock.schedule(3, () => runs++)
    expect(runs).toBe(0)
    cancelled.cancel()
    cancelled.cancel()
    clock.advanceTo(20)
    expect(runs).toBe(1)
  })

  it('never goes back', () => {
    const clock = new VirtualClock(50)
    clock.advanceTo(30)
    expect(clock.now()).toBe(50)
    clock.schedule(20, () => {})
    expect(clock.step()).toBe(true)
    expect(clock.now()).toBe(50)
    expect(clock.step()).toBe(false)
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('realClock', () => {
  it('never calls early, and never at once', async () => {
    const clock = realClock()
    const at = clock.now() + 2.5
    let calledSynchronously = true
    const calledAt = await new Promise<number>((resolve) => {
      clock.schedule(at, () => {
        expect(calledSynchronously).toBe(false)
        resolve(clock.now())
      })
      calledSynchronously = false
    })
    expect(calledAt).toBeGreaterThanOrEqual(at)
  })

  it('calls for an instant that has passed', async () => {
    const clock = realClock()
    await new Promise<void>((resolve) => clock.schedule(clock.now() - 1000, resolve))
  })

  it('never calls once cancelled', async () => {
    const clock = realClock()
    let called = false
    clock.schedule(clock.now() + 1, () => (called = true)).cancel()
    await new Promise<void>((resolve) => clock.schedule(clock.now() + 3, resolve))
    expect(called).toBe(false)
  })

  it('runs as many times faster as it is told', async () => {
    const clock = realClock(10_000)
    const at = clock.now() + 10_000
    await new Promise<void>((resolve) => clock.schedule(at, resolve))
    expect(clock.now()).toBeGreaterThanOrEqual(at)
  })
})
