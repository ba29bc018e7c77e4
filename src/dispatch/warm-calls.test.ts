import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { WarmCalls } from './warm-calls.ts'

describe('WarmCalls', () => {
  it('raises a call once, well before the cache forgets its prompt', () => {
    const clock = new VirtualClock()
    const warm = new WarmCalls(clock)
    let raised = 0
    warm.add({ raise: () => raised++ }, 300_000)
    clock.advanceTo(209_999)
    expect(raised).toBe(0)
    clock.advanceTo(1_000_000)
    expect(raised).toBe(1)
  })

  it('leaves one alone that has gone', () => {
    const clock = new VirtualClock()
    const warm = new WarmCalls(clock)
    let raised = 0
    const call = { raise: () => raised++ }
    warm.add(call, 300_000)
    warm.remove(call)
    clock.advanceTo(1_000_000)
    expect(raised).toBe(0)
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })
})
