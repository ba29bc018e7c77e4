import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { FaultPlan, faultChanges, NO_FAULTS } from './faults.ts'
import { readMarker } from './marker.ts'

describe('FaultPlan', () => {
  it('shares one draw among the faults in force', () => {
    let drawn = 0
    const settings = { ...NO_FAULTS, overloadRate: 0.1, hangRate: 0.2, streamErrorRate: 0.3 }
    const plan = new FaultPlan(settings, new VirtualClock(), () => drawn)
    const faults = [0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 0.99].map((value) => {
      drawn = value
      return plan.draw()
    })
    expect(faults).toEqual([
      'overload',
      'overload',
      'hang',
      'hang',
      'stream-error',
      'stream-error',
      null,
      null,
    ])
  })

  it('draws for requests of a batch among their own faults', () => {
    let drawn = 0
    const settings = { ...NO_FAULTS, overloadRate: 1, batchErrorRate: 0.2, batchExpiryRate: 0.3 }
    const plan = new FaultPlan(settings, new VirtualClock(), () => drawn)
    const faults = [0.19, 0.21, 0.49, 0.51].map((value) => {
      drawn = value
      return plan.drawForBatch()
    })
    expect(faults).toEqual(['batch-error', 'batch-expiry', 'batch-expiry', null])
  })

  it('overloads everything for as long as it was told, and keeps what it was not told', () => {
    const clock = new VirtualClock(1000)
    const plan = new FaultPlan({ ...NO_FAULTS, slowFactor: 3 }, clock, () => 0.5)
    expect(plan.draw()).toBeNull()
    plan.change(faultChanges.parse({ overloadForMs: 500 }))
    expect(plan.draw()).toBe('overload')
    expect(plan.settings.slowFactor).toBe(3)
    clock.advanceTo(1500)
    expect(plan.draw()).toBeNull()
  })
})

describe('readMarker', () => {
  it.each([
    ['no marker', null, null],
    ['x [[emulate output=37]] y', 37, null],
    ['[[emulate fault=reset-mid-stream]]', null, 'reset-mid-stream'],
    ['[[emulate output=5 fault=hang]]', 5, 'hang'],
    ['[[emulate fault=batch-expiry]]', null, 'batch-expiry'],
    ['[[emulate fault=none]]', null, 'none'],
    ['[[emulate output=5]] later [[emulate output=6]]', 6, null],
    ['[[emulate fault=toString output=x]]', null, null],
    ['[[emulate unfinished', null, null],
  ])('reads %j', (body, outputTokens, fault) => {
    expect(readMarker(body)).toEqual({ outputTokens, fault })
  })
})
