import fc from 'fast-check'
import { expect, test } from 'vitest'
import { verdictOn } from './verdict.ts'

const error = (type: string, code?: string): string =>
  JSON.stringify({
    type: 'error',
    error: { type, message: 'm', details: code && { error_code: code } },
  })

test.each([200, 201, 204, 304])('lets %i pass', (status) => {
  expect(verdictOn(status, {}, '')).toEqual({ kind: 'passed' })
})

test.each([
  [{ 'retry-after': '12' }, 12_000],
  [{ 'retry-after': '0.5' }, 500],
  [{ 'retry-after': '0' }, 0],
  [{ 'retry-after': '-3' }, 0],
  [{ 'retry-after': '86400' }, 3_600_000],
  [{ 'retry-after': '12', 'retry-after-ms': '250' }, 250],
  [
    { 'retry-after': 'Sat, 21 Nov 2026 10:15:40 GMT', date: 'Sat, 21 Nov 2026 10:15:30 GMT' },
    10_000,
  ],
  [{ 'retry-after': 'Sat, 21 Nov 2026 10:15:40 GMT' }, null],
  [{ 'retry-after': 'NaN' }, null],
  [{ 'retry-after': 'Infinity' }, null],
  [{ 'retry-after': 'soon' }, null],
  [{}, null],
])('waits on a 429 with %j for %s ms', (headers, retryAfterMs) => {
  const verdict = verdictOn(429, headers, error('rate_limit_error'))
  expect(verdict).toEqual({ kind: 'rate_limited', retryAfterMs })
})

test('takes an acceleration limit for a rate limit', () => {
  const body = error('rate_limit_error', 'ramp_limit_exceeded')
  expect(verdictOn(429, { 'retry-after': '5' }, body).kind).toBe('rate_limited')
})

test.each([
  ['a spent monthly cap', {}, error('rate_limit_error', 'enforced_spend_limit_reached')],
  ['a spent contract', {}, error('rate_limit_error', 'contract_spend_limit_reached')],
  ['a used-up plan', { 'anthropic-ratelimit-unified-status': 'rejected', 'retry-after': '9' }, ''],
  ['a provider that says so', { 'x-should-retry': 'false', 'retry-after': '9' }, ''],
])('gives a 429 for %s to the caller', (_, headers, body) => {
  expect(verdictOn(429, headers, body)).toEqual({ kind: 'final' })
})

test.each([408, 409, 500, 502, 503, 504, 529])('takes %i for trouble of theirs', (status) => {
  expect(verdictOn(status, {}, '')).toEqual({ kind: 'overloaded', retryAfterMs: null })
  expect(verdictOn(status, { 'retry-after': '2' }, '')).toMatchObject({ retryAfterMs: 2000 })
  expect(verdictOn(status, { 'x-should-retry': 'false' }, '')).toEqual({ kind: 'final' })
})

test.each([400, 401, 402, 403, 404, 405, 413, 415, 422])('takes %i for an answer', (status) => {
  expect(
    verdictOn(status, {}, error('x', 'You have reached your specified API usage limits')).kind,
  ).toBe('final')
})

test('never waits for less than nothing or more than an hour', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (retryAfter, date) => {
      const verdict = verdictOn(429, { 'retry-after': retryAfter, date }, '')
      if (verdict.kind !== 'rate_limited' || verdict.retryAfterMs === null) return
      expect(verdict.retryAfterMs).toBeGreaterThanOrEqual(0)
      expect(verdict.retryAfterMs).toBeLessThanOrEqual(3_600_000)
    }),
  )
})
