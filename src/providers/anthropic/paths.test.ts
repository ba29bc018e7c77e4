import { expect, test } from 'vitest'
import { matchPath } from './paths.ts'

const VERSIONED = { 'anthropic-version': '2023-06-01' }
const MB = 1024 * 1024

test.each([
  ['POST', '/v1/messages', 'model', 'read', 32 * MB],
  ['POST', '/v1/messages?beta=true', 'model', 'read', 32 * MB],
  ['POST', '/v1/complete', 'model', 'read', 32 * MB],
  ['POST', '/v1/messages/count_tokens?beta=true', 'count_tokens', 'read', 32 * MB],
  ['POST', '/v1/messages/batches', 'batches', 'stream', 256 * MB],
  ['GET', '/v1/messages/batches/msgbatch_01/results', 'batches', 'none', 256 * MB],
  ['POST', '/v1/messages/cache_touch', 'other', 'stream', 32 * MB],
  ['GET', '/v1/messages', 'other', 'none', 32 * MB],
  ['GET', '/v1/organizations/rate_limits', 'other', 'none', 32 * MB],
  ['HEAD', '/api/hello', 'other', 'none', 32 * MB],
] as const)('%s %s draws on %s', (method, path, pool, body, maxBodyBytes) => {
  expect(matchPath(method, path, {})).toMatchObject({
    pool,
    body,
    maxBodyBytes,
    upstreamPath: path,
  })
})

test.each([
  ['/messages', '/v1/messages'],
  ['/messages?beta=true', '/v1/messages?beta=true'],
  ['/messages/count_tokens', '/v1/messages/count_tokens'],
  ['/messages/batches?limit=2', '/v1/messages/batches?limit=2'],
])('sends %s to %s', (path, upstreamPath) => {
  expect(matchPath('POST', path, {})?.upstreamPath).toBe(upstreamPath)
})

test.each(['/v1/models?limit=1000', '/v1/files', '/v1/skills', '/v1/agents/a/runs', '/v1/new'])(
  'takes %s for its own only with an anthropic-version',
  (path) => {
    expect(matchPath('GET', path, {})).toBeNull()
    expect(matchPath('GET', path, VERSIONED)).toMatchObject({ pool: 'other', upstreamPath: path })
  },
)

test('lets a file be as large as the Files API takes', () => {
  const upload = matchPath('POST', '/v1/files', VERSIONED)
  expect(upload).toMatchObject({ body: 'stream', maxBodyBytes: 500 * MB })
})

test.each([
  '/v1/chat/completions',
  '/v1/responses',
  '/v1/responses/resp_1',
  '/v1/completions',
  '/v1/embeddings',
])("leaves OpenAI's %s alone", (path) => {
  expect(matchPath('POST', path, VERSIONED)).toBeNull()
})

test.each(['/', '', '/healthz', '/messagesx', '/v2/messages', '/headgate/v1/status', '/v1'])(
  'does not know %j',
  (path) => {
    expect(matchPath('POST', path, VERSIONED)).toBeNull()
  },
)

test.each([
  ['GET', '/v1/files', true],
  ['POST', '/v1/files', true],
  ['DELETE', '/v1/files/f', true],
  ['POST', '/v1/messages/count_tokens', true],
  ['POST', '/v1/messages/batches/b/cancel', true],
  ['POST', '/v1/messages', false],
  ['POST', '/v1/messages/batches', false],
  ['POST', '/v1/%6dessages', false],
  ['POST', '/v1/messages/', false],
  ['POST', '/v1/Messages', false],
  ['POST', '/v1/messages;x', false],
  ['POST', '/v1/sessions', false],
])('%s %s is known to run no model: %s', (method, path, isHarmless) => {
  const headers = { 'anthropic-version': '2023-06-01' }
  expect(matchPath(method, path, headers)?.isHarmless).toBe(isHarmless)
})

test('TRACE, whose answer would show the keys, is nobody’s', () => {
  expect(matchPath('TRACE', '/v1/messages', {})).toBeNull()
})
