import { APIError, RateLimitError } from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { REFUSALS, type RefusalReason } from '../../core/refusal.ts'
import { renderRefusal, renderStreamRefusal } from './refusals.ts'

const REASONS: RefusalReason[] = [
  'queue_full',
  'wait_too_long',
  'waited_out',
  'shutting_down',
  'memory_full',
  'body_too_large',
  'bad_request',
  'unknown_path',
  'upstream_unreachable',
  'upstream_broken',
  'upstream_timeout',
]

test("speaks in Anthropic's error shape", () => {
  const refusal = { reason: 'wait_too_long', message: 'Too "long".', retryAfterMs: 4200 } as const
  const { status, headers, body } = renderRefusal(refusal, 'req_1')
  expect(status).toBe(429)
  expect(headers).toEqual({
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'x-should-retry': 'true',
    'retry-after': '5',
  })
  expect(JSON.parse(body)).toEqual({
    type: 'error',
    error: { type: 'rate_limit_error', message: 'Too "long".', details: null },
    request_id: 'req_1',
  })
})

test.each([
  [0, '1'],
  [1, '1'],
  [1001, '2'],
  [60_000, '60'],
  [3_600_000, '60'],
])('tells a wait of %i ms as %s s', (retryAfterMs, seconds) => {
  const { headers } = renderRefusal({ reason: 'queue_full', message: '', retryAfterMs }, 'r')
  expect(headers['retry-after']).toBe(seconds)
})

test('names no wait where none is known or none helps', () => {
  const unknown = renderRefusal({ reason: 'queue_full', message: '', retryAfterMs: null }, 'r')
  expect(unknown.headers).not.toHaveProperty('retry-after')
  const useless = renderRefusal({ reason: 'bad_request', message: '', retryAfterMs: 5000 }, 'r')
  expect(useless.headers).not.toHaveProperty('retry-after')
  expect(useless.headers['x-should-retry']).toBe('false')
})

test.each(REASONS)("raises the SDK's own exception for %s", (reason) => {
  const { status, headers, body } = renderRefusal({ reason, message: 'm', retryAfterMs: null }, 'r')
  expect(status).toBe(REFUSALS[reason].status)
  const raised = APIError.generate(status, JSON.parse(body), undefined, new Headers(headers))
  expect(raised).toBeInstanceOf(APIError)
  expect(raised instanceof RateLimitError).toBe(status === 429)
  expect(raised.type).toBe(JSON.parse(body).error.type)
})

test('ends a stream that has begun with an error event', () => {
  const refusal = { reason: 'upstream_broken', message: 'line\nbreak', retryAfterMs: null } as const
  const [event, data, ...rest] = renderStreamRefusal(refusal, 'req_1').split('\n')
  expect(event).toBe('event: error')
  expect(JSON.parse(data?.slice('data: '.length) ?? '')).toMatchObject({
    error: { type: 'api_error', message: 'line\nbreak' },
  })
  expect(rest).toEqual(['', ''])
})
