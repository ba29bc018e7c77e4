import { describe, expect, it } from 'vitest'
import { AFTER_REFUSAL, COLD_START, Ramp } from './ramp.ts'

/** How many may pass at one instant. */
function admitAll(ramp: Ramp, now: number): number {
  let admitted = 0
  while (!ramp.isOpen && ramp.readyAt(now) <= now) {
    ramp.admitted(now)
    admitted++
  }
  return admitted
}

describe('Ramp', () => {
  it('holds nobody back before it is started', () => {
    const ramp = new Ramp()
    expect(ramp.isOpen).toBe(true)
    expect(ramp.readyAt(5)).toBe(5)
  })

  it('lets the first few pass, then doubles with time', () => {
    const ramp = new Ramp()
    ramp.start(COLD_START)
    expect(admitAll(ramp, 1000)).toBe(4)
    expect(admitAll(ramp, 2000)).toBe(4)
    expect(admitAll(ramp, 3000)).toBe(8)
  })

  it('counts from the first admission, however long after the start', () => {
    const ramp = new Ramp()
    ramp.start(AFTER_REFUSAL)
    expect(ramp.readyAt(1e9)).toBe(1e9)
    expect(admitAll(ramp, 1e9)).toBe(1)
    expect(ramp.readyAt(1e9)).toBe(1e9 + AFTER_REFUSAL.doublesEveryMs)
  })

  it('admits at the very instant that it named', () => {
    const ramp = new Ramp()
    ramp.start(AFTER_REFUSAL)
    let now = 1.8e12 + 0.3
    for (let count = 0; count < 100; count++) {
      now = ramp.readyAt(now)
      expect(ramp.readyAt(now)).toBe(now)
      ramp.admitted(now)
    }
  })

  it('opens no wider on silence than a probe a second', () => {
    const ramp = new Ramp()
    ramp.start(COLD_START)
    admitAll(ramp, 0)
    admitAll(ramp, 4000)
    expect(admitAll(ramp, 4999)).toBe(0)
    expect(admitAll(ramp, 5000)).toBe(1)
    expect(admitAll(ramp, 15_000)).toBe(10)
  })

  it('lets two more pass for each success', () => {
    const ramp = new Ramp()
    ramp.start(AFTER_REFUSAL)
    expect(admitAll(ramp, 0)).toBe(1)
    ramp.succeeded()
    expect(admitAll(ramp, 0)).toBe(2)
    ramp.succeeded()
    expect(admitAll(ramp, 0)).toBe(2)
  })

  it('takes no answer as news of it that came before it admitted anybody', () => {
    const ramp = new Ramp()
    ramp.start(AFTER_REFUSAL)
    for (let count = 0; count < 50; count++) ramp.succeeded()
    expect(admitAll(ramp, 0)).toBe(1)
  })

  it('is open once it has opened wide', () => {
    const ramp = new Ramp()
    ramp.start(COLD_START)
    let now = 0
    for (let count = 0; count < 256; count++) {
      now = ramp.readyAt(now)
      ramp.admitted(now)
    }
    expect(ramp.isOpen).toBe(true)
  })

  it('starts anew', () => {
    const ramp = new Ramp()
    ramp.start(COLD_START)
    admitAll(ramp, 0)
    ramp.succeeded()
    ramp.start(AFTER_REFUSAL)
    expect(admitAll(ramp, 10)).toBe(1)
    ramp.open()
    expect(ramp.isOpen).toBe(true)
  })
})
