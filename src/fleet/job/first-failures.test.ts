import { expect, it } from 'vitest'
import type { Answered, Failed } from '../payload.ts'
import { FirstFailures } from './first-failures.ts'

const OUTCOME = {
  id: 'p0',
  index: 0,
  latencyMs: 1,
  attempts: 1,
  tokens: null,
  costNanoUsd: 0,
  costUsd: 0,
}

const answered: Answered = { ...OUTCOME, kind: 'answered', response: {} }

const failed = (message: string): Failed => ({
  ...OUTCOME,
  kind: 'failed',
  error: { status: 404, type: 'not_found_error', message, isRetryable: false },
})

it('are no accident when twenty are alike', () => {
  const first = new FirstFailures()
  for (let count = 0; count < 19; count++) expect(first.take(failed('no such model'))).toBeNull()
  expect(first.take(failed('no such model'))).toMatchObject({
    prompts: 20,
    error: { message: 'no such model' },
  })
})

it.each([
  ['an answer', answered],
  ['another failure', failed('no such tool')],
])('say nothing of all prompts after %s among them', (_, other) => {
  const first = new FirstFailures()
  first.take(failed('no such model'))
  first.take(other)
  for (let count = 0; count < 40; count++) expect(first.take(failed('no such model'))).toBeNull()
})
