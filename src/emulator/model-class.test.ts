import { expect, it } from 'vitest'
import { modelClassOf } from './model-class.ts'

it.each([
  ['claude-opus-4-5', 'claude-opus-4'],
  ['claude-opus-4-8-20260601', 'claude-opus-4'],
  ['claude-sonnet-4-20250514', 'claude-sonnet-4'],
  ['claude-sonnet-4-6', 'claude-sonnet-4'],
  ['claude-fable-5-2', 'claude-fable-5'],
  ['claude-opus-5', 'claude-opus-5'],
  ['claude-opus-5-5', 'claude-opus-5-5'],
  ['claude-haiku-4-5-20251001', 'claude-haiku-4-5'],
  ['claude-3-5-haiku-latest', 'claude-haiku-3-5'],
  ['claude-3-haiku-20240307', 'claude-haiku-3'],
  ['gpt-5', null],
  ['claude-opus', null],
])('puts %s into %s', (model, modelClass) => {
  expect(modelClassOf(model)).toBe(modelClass)
})
