import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Limit } from '../core/limit.ts'
import { ANONYMOUS, type BudgetRule, type SubjectRules, type Tier } from './subject.ts'
import { Subjects } from './subjects.ts'

const slots = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

const dollars = (amount: number, isShadow = false): BudgetRule => ({
  amount: amount * 1e9,
  period: { unit: 'month', timeZone: 'UTC' },
  warnAt: [80],
  isShadow,
})

const tier = (name: string, changes: Partial<Tier> = {}): Tier => ({
  name,
  lane: 'normal',
  weight: 1,
  limits: [],
  shadowLimits: [],
  maxTokensPerRequest: null,
  shadowMaxTokensPerRequest: null,
  budgets: [],
  routes: [],
  allowedModels: null,
  overflow: 'reject',
  ...changes,
})

const free = tier('free', {
  lane: 'low',
  limits: [slots(1)],
  shadowLimits: [slots(2)],
  maxTokensPerRequest: 2000,
  budgets: [dollars(1), dollars(2, true)],
})
const pro = tier('pro', { lane: 'high', weight: 3, limits: [slots(5)], overflow: 'wait' })

const rules: SubjectRules = {
  tiers: new Map([
    ['free', free],
    ['pro', pro],
  ]),
  defaultTier: 'free',
  users: new Map([
    ['alice', { tier: 'pro', team: 'research' }],
    ['bob', { tier: null, team: 'research' }],
  ]),
  teams: new Map([
    [
      'research',
      { ...tier(''), limits: [slots(9)], maxTokensPerRequest: 1000, budgets: [dollars(10)] },
    ],
  ]),
  keys: [],
  warnAt: [50],
}
const subjects = new Subjects(rules)
const named = (user: string) => ({ ...ANONYMOUS, user })

describe('the tier that counts', () => {
  it.each([
    [{ ...ANONYMOUS, user: 'alice', tier: 'free' }, 'free', 'key'],
    [named('alice'), 'pro', 'user'],
    [named('bob'), 'free', 'default'],
    [named('constructor'), 'free', 'default'],
    [ANONYMOUS, 'free', 'default'],
    [{ ...ANONYMOUS, user: 'alice', tier: 'gone' }, 'pro', 'user'],
  ])('of %j is %s, by %s', (identity, name, by) => {
    expect(subjects.tierOf(identity)).toMatchObject({ tier: { name }, by })
    expect(subjects.of(identity).tier).toBe(name)
  })
})

describe('a subject', () => {
  it('has the user’s limits and then the team’s, and the smaller largest request', () => {
    expect(subjects.of(named('bob'))).toMatchObject({
      identity: { user: 'bob', team: 'research' },
      flow: 'bob',
      lane: 'low',
      scopes: [
        {
          subject: 'user:bob',
          resource: 'user/bob',
          limits: [slots(1)],
          shadowResource: 'user/bob?shadow',
          shadowLimits: [slots(2)],
          overflow: 'reject',
        },
        { subject: 'team:research', resource: 'team/research', limits: [slots(9)] },
      ],
      budgets: [
        { ...dollars(1), subject: 'user:bob' },
        { ...dollars(2, true), subject: 'user:bob' },
        { ...dollars(10), subject: 'team:research' },
      ],
      maxTokensPerRequest: 1000,
    })
  })

  it('is made once for each caller', () => {
    expect(subjects.of(named('alice'))).toBe(subjects.of(named('alice')))
    expect(subjects.of(named('alice'))).not.toBe(subjects.of({ ...named('alice'), key: 'ci' }))
  })

  it('is one for all whom nobody names, as the user anonymous', () => {
    const { identity, flow, scopes } = subjects.of(ANONYMOUS)
    expect([identity.user, flow, scopes[0]?.resource]).toEqual([
      'anonymous',
      null,
      'user/anonymous',
    ])
  })

  it('is the key itself where a key names no user', () => {
    const { identity, flow, scopes } = subjects.of({ ...ANONYMOUS, key: 'ci' })
    expect([identity.user, flow, scopes[0]?.subject]).toEqual(['ci', 'ci', 'user:ci'])
  })

  it('is bound by nothing without a tier', () => {
    const none = new Subjects({ ...rules, defaultTier: null })
    expect(none.of(ANONYMOUS)).toEqual({
      identity: ANONYMOUS,
      flow: null,
      tier: null,
      lane: null,
      weight: 1,
      scopes: [],
      budgets: [],
      maxTokensPerRequest: null,
      shadowMaxTokensPerRequest: null,
      routes: [],
      allowedModels: null,
    })
  })

  it('counts what a key with a tier of its own uses apart from the rest of its user', () => {
    const identity = { ...named('alice'), key: 'ci', tier: 'free' }
    const [scope] = subjects.of(identity).scopes
    expect(scope).toMatchObject({ subject: 'user:alice', resource: 'user/alice@free' })
    expect(subjects.limitsOf('user/alice@free')).toEqual([slots(1)])
  })
})

describe('a budget that an administrator set', () => {
  const override = {
    subject: 'user:bob',
    amount: 7,
    period: { unit: 'day', timeZone: 'UTC' },
  } as const

  it('stands in place of the configured ones, those in shadow aside', () => {
    expect(subjects.withOverrides([override]).of(named('bob')).budgets).toEqual([
      { ...override, warnAt: [50], isShadow: false },
      { ...dollars(2, true), subject: 'user:bob' },
      { ...dollars(10), subject: 'team:research' },
    ])
  })

  it('binds a user whom no tier binds', () => {
    const none = new Subjects({ ...rules, defaultTier: null, users: new Map() }, [override])
    expect(none.of(named('bob')).budgets).toMatchObject([{ subject: 'user:bob', amount: 7 }])
  })
})

describe('the limits of a resource', () => {
  it.each(['anthropic/0a1b2c/claude-sonnet-4', 'user/', 'user/a/b', 'user/%zz', 'users/alice'])(
    'of another kind (%s) are not known',
    (resource) => {
      expect(subjects.limitsOf(resource)).toBeNull()
    },
  )

  it('are none for a team that is not in the file', () => {
    expect(subjects.limitsOf('team/unheard-of')).toEqual([])
  })

  it('are those of the scope that it was named for, whatever the names', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    const maybe = fc.option(name)
    const tierName = fc.constantFrom(null, 'free', 'pro')
    const identity = fc.record({ user: maybe, team: maybe, tier: tierName, key: maybe })
    fc.assert(
      fc.property(identity, (who) => {
        for (const scope of subjects.of(who).scopes) {
          expect(subjects.limitsOf(scope.resource)).toEqual(scope.limits)
          expect(subjects.limitsOf(scope.shadowResource)).toEqual(scope.shadowLimits)
        }
      }),
    )
  })
})
