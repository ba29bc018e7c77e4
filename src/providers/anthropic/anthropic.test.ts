import { expect, test } from 'vitest'
import { anthropic } from './anthropic.ts'

test.each([
  [{ 'x-api-key': 'sk-1' }, 'sk-1'],
  [{ authorization: 'Bearer sk-2' }, 'sk-2'],
  [{ authorization: 'bearer  sk-3' }, 'sk-3'],
  [{ 'x-api-key': 'sk-1', authorization: 'Bearer sk-2' }, 'sk-1'],
  [{ authorization: 'Basic dTpw' }, null],
  [{ authorization: 'Bearer ' }, null],
  [{}, null],
])('finds the credential in %j', (headers, secret) => {
  expect(anthropic.credential(headers)).toBe(secret)
})

test('counts cache reads only where the limit does', () => {
  const usage = {
    inputTokens: 10,
    cacheReadTokens: 1000,
    cacheWriteTokens: 100,
    cacheWriteHourTokens: 60,
    outputTokens: 7,
  }
  expect(anthropic.countedInput('claude-opus-4', usage)).toBe(110)
  expect(anthropic.countedInput('claude-haiku-3-5', usage)).toBe(1110)
})

test('keeps a stream alive with an event of its own', () => {
  expect(anthropic.streamKeepalive).toBe('event: ping\ndata: {"type": "ping"}\n\n')
})
