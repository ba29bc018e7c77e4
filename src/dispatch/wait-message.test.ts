import { describe, expect, it } from 'vitest'
import type { Prediction } from '../core/admission.ts'
import { describeBinding, describeWait } from './wait-message.ts'

const limit = {
  algorithm: 'token_bucket',
  dimension: 'input_tokens',
  amount: 30_000,
  windowMs: 60_000,
  source: 'learnt',
} as const

describe('describeWait', () => {
  it('says what happened, where, how many are ahead, what binds and when it frees', () => {
    const prediction: Prediction = {
      position: 3,
      expectedAt: 100_000,
      boundBy: { kind: 'limit', limit },
    }
    expect(describeWait('wait_too_long', 'anthropic/f/claude', prediction, 10_500)).toBe(
      'Headgate: The wait would be longer than this request may wait; 3 ahead in the line for ' +
        'anthropic/f/claude; bound by 30000 input_tokens per 60 s; its turn is expected in 90 s.',
    )
  })

  it('leaves out what is not known', () => {
    const unknown: Prediction = { position: 0, expectedAt: Number.POSITIVE_INFINITY, boundBy: null }
    expect(describeWait('queue_full', 'r', unknown, 0)).toBe(
      'Headgate: The line is full; 0 ahead in the line for r.',
    )
    expect(describeWait('waited_out', 'r', null, 0)).toBe(
      'Headgate: The wait was longer than this request may wait.',
    )
  })

  it('never speaks of a time that has passed', () => {
    const late: Prediction = { position: 0, expectedAt: 5, boundBy: { kind: 'paused' } }
    expect(describeWait('waited_out', 'r', late, 10)).toContain('expected in 0 s')
  })
})

describe('describeBinding', () => {
  it('has words for each kind', () => {
    const slots = {
      algorithm: 'concurrency',
      dimension: 'concurrency',
      amount: 4,
      source: 'configured',
    } as const
    expect(describeBinding({ kind: 'limit', limit: slots })).toBe('4 at once')
    expect(describeBinding({ kind: 'paused' })).toContain('pause')
    expect(describeBinding({ kind: 'ramp' })).toContain('slow start')
    expect(describeBinding({ kind: 'overload' })).toContain('overloaded')
  })
})
