import fc from 'fast-check'
import { expect, test } from 'vitest'
import { limitGroupOf } from './limit-group.ts'

test.each([
  ['claude-opus-4-8', 'claude-opus-4'],
  ['claude-opus-4-5-20251101', 'claude-opus-4'],
  ['claude-opus-4-1-20250805', 'claude-opus-4'],
  ['claude-sonnet-4-20250514', 'claude-sonnet-4'],
  ['claude-sonnet-4-6', 'claude-sonnet-4'],
  ['claude-sonnet-4-5@20250929', 'claude-sonnet-4'],
  ['claude-haiku-4-5', 'claude-haiku-4'],
  ['claude-3-5-haiku-20241022', 'claude-haiku-3-5'],
  ['claude-3-5-haiku-latest', 'claude-haiku-3-5'],
  ['claude-3-opus-20240229', 'claude-opus-3'],
  ['claude-fable-5', 'claude-fable-5'],
  ['claude-fable-5-2', 'claude-fable-5'],
  ['claude-opus-5', 'claude-opus-5'],
  ['claude-opus-5-5', 'claude-opus-5-5'],
  ['claude-sonnet-5', 'claude-sonnet-5'],
  ['claude-sonnet-5-5-20261001', 'claude-sonnet-5-5'],
  ['Claude-Opus-5', 'claude-opus-5'],
  ['my-model.v2', 'my-model.v2'],
])('%s draws on the limits of %s', (model, group) => {
  expect(limitGroupOf(model, false)).toBe(group)
})

test('fast mode has limits of its own', () => {
  expect(limitGroupOf('claude-opus-4-8', true)).toBe('claude-opus-4-fast')
})

test.each([null, '', 'other', 'batches', '../etc', '-x', 'a b', 'a/b', 'é', 'x'.repeat(65)])(
  'does not make a name of %j',
  (model) => {
    expect(limitGroupOf(model, false)).toBe('unknown')
  },
)

test('names are always plain and short', () => {
  fc.assert(
    fc.property(fc.string(), fc.boolean(), (model, isFast) => {
      expect(limitGroupOf(model, isFast)).toMatch(/^[a-z0-9][a-z0-9.-]{0,68}$/)
    }),
  )
})
