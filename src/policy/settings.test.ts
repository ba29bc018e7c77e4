import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type LimitRule, limitsOf } from './settings.ts'

const rule = (match: string, amount: number): LimitRule => ({
  match,
  limits: [{ algorithm: 'concurrency', dimension: 'concurrency', amount, source: 'configured' }],
})

const amountFor = (rules: readonly LimitRule[], model: string) =>
  limitsOf(rules, model)?.[0]?.amount ?? null

describe('the limits of a model', () => {
  it('are those of the first rule that matches', () => {
    const rules = [rule('claude-sonnet-4-5', 1), rule('claude-sonnet-*', 2), rule('*', 3)]
    expect(amountFor(rules, 'claude-sonnet-4-5')).toBe(1)
    expect(amountFor(rules, 'claude-sonnet-4')).toBe(2)
    expect(amountFor(rules, 'claude-opus-4')).toBe(3)
  })

  it.each([
    ['claude-*-4', 'claude-opus-4', true],
    ['claude-*-4', 'claude-4', false],
    ['*sonnet*', 'claude-sonnet-4', true],
    ['*a*b*', 'ba', false],
    ['a*a', 'a', false],
    ['a*ab*b', 'aab', false],
    ['claude.4', 'claude-4', false],
    ['claude-4', 'claude-4', true],
    ['claude-4', 'claude-4-5', false],
  ])('%s against %s: %s', (match, model, isMatch) => {
    expect(limitsOf([rule(match, 1)], model) !== null).toBe(isMatch)
  })

  it('match as a regular expression of the pattern would', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 })
    const model = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 })
    fc.assert(
      fc.property(letters, model, (match, name) => {
        const pattern = new RegExp(`^${match.replaceAll('*', '.*')}$`)
        expect(limitsOf([rule(match, 1)], name) !== null).toBe(pattern.test(name))
      }),
    )
  })
})
