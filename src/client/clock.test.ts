import { describe, expect, it, vi } from 'vitest'
import { platformClock } from './clock.ts'
import { contextOf } from './options.ts'

describe('the platform’s clock', () => {
  it('waits longer than its timers can', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      let runs = 0
      const inTwoMonths = performance.now() + 60 * 86_400_000
      platformClock.schedule(inTwoMonths, () => runs++)
      vi.advanceTimersByTime(59 * 86_400_000)
      expect(runs).toBe(0)
      vi.advanceTimersByTime(86_400_000)
      expect(runs).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('options', () => {
  it('that leave a gate no time to answer are a mistake', () => {
    const url = 'http://127.0.0.1:4000'
    for (const unreachableAfterMs of [0, -1, Number.NaN])
      expect(() => contextOf({ url, unreachableAfterMs }, {})).toThrow(/above 0/)
    expect(() => contextOf({ url, unreachableAfterMs: Infinity }, {})).not.toThrow()
  })
})
