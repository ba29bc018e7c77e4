import { describe, expect, it } from 'vitest'
import type { GateSettings, LimitSnapshot } from '../../core/admission.ts'
import { costOf, NOTHING } from '../../core/cost.ts'
import type { Limit } from '../../core/limit.ts'
import { type Known, localSettings } from './local-share.ts'

const tokens: Limit = {
  algorithm: 'token_bucket',
  dimension: 'input_tokens',
  amount: 900,
  burst: 300,
  windowMs: 60_000,
  source: 'configured',
}
const daily: Limit = {
  algorithm: 'fixed_window',
  dimension: 'requests',
  amount: 100,
  windowMs: 86_400_000,
  calendar: { unit: 'day', timeZone: 'Europe/Berlin' },
  source: 'configured',
}
const atOnce: Limit = {
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount: 5,
  source: 'configured',
}

const settings: GateSettings = {
  limits: [tokens, daily, atOnce],
  learns: true,
  agingMs: 60_000,
  maxQueued: 10,
  floors: { soft: 0, hard: 0 },
}

const snapshotOf = (limit: Limit, remaining: number): LimitSnapshot => ({
  dimension: limit.dimension,
  amount: limit.amount,
  windowMs: 'windowMs' in limit ? limit.windowMs : null,
  remaining,
  source: limit.source,
})

const learnt: LimitSnapshot = {
  dimension: 'output_tokens',
  amount: 6000,
  windowMs: 60_000,
  remaining: 4500,
  source: 'learnt',
  guard: 600,
  othersPerMinute: 3000,
}

const unknown: Known = { instances: 1, limits: [], taken: NOTHING }

describe('the share of one process', () => {
  it('is of each limit the part of one among all, of slots one at the least', () => {
    const { limits } = localSettings('degrade', settings, { ...unknown, instances: 3 })
    expect(limits).toEqual([
      { ...tokens, amount: 300, burst: 100 },
      { ...daily, amount: 100 / 3 },
      { ...atOnce, amount: 1 },
    ])
    const many = localSettings('degrade', settings, { ...unknown, instances: 20 })
    expect(many.limits[2]?.amount).toBe(1)
    expect(localSettings('degrade', settings, { ...unknown, instances: 2 }).limits[2]?.amount).toBe(
      2,
    )
  })

  it('learns nothing, and keeps all else', () => {
    const { limits, used, ...rest } = localSettings('degrade', settings, unknown)
    expect(limits).toEqual(settings.limits)
    expect(used).toEqual([0, 0, 0])
    expect(rest).toEqual({ agingMs: 60_000, maxQueued: 10, floors: settings.floors, learns: false })
  })

  it('begins with its part of what was used, and all that it has taken since', () => {
    const known = {
      instances: 2,
      limits: [snapshotOf(tokens, 100), snapshotOf(daily, 90), snapshotOf(atOnce, 0)],
      taken: costOf({ requests: 3, input_tokens: 50 }),
    }
    expect(localSettings('degrade', settings, known).used).toEqual([150, 8, 0])
  })

  it('may begin in debt, never with more than there is', () => {
    const known = {
      instances: 2,
      limits: [snapshotOf(tokens, -500), snapshotOf(daily, 100)],
      taken: costOf({ requests: -2 }),
    }
    expect(localSettings('degrade', settings, known).used).toEqual([400, 0, 0])
  })

  it('heeds no statement on a limit that is another', () => {
    const known = { ...unknown, limits: [snapshotOf({ ...tokens, amount: 5 }, 0)] }
    expect(localSettings('degrade', settings, known).used).toEqual([0, 0, 0])
  })

  it('has learnt limits too, less what others take and what is kept back', () => {
    const known = { ...unknown, instances: 2, limits: [learnt] }
    const { limits, used } = localSettings('degrade', { ...settings, limits: [] }, known)
    expect(limits).toEqual([
      {
        algorithm: 'token_bucket',
        dimension: 'output_tokens',
        amount: 1500,
        burst: 2700,
        windowMs: 60_000,
        source: 'learnt',
      },
    ])
    expect(used).toEqual([750])
  })

  it('is everything where the policy is open', () => {
    expect(localSettings('open', settings, unknown)).toMatchObject({ limits: [], learns: false })
  })
})
