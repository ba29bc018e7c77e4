import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PROVIDERS, routeProvider } from './providers.ts'

test('finds the provider by path', () => {
  const route = routeProvider('POST', '/v1/messages?beta=true', {})
  expect(route?.provider.name).toBe('anthropic')
  expect(route?.operation.upstreamPath).toBe('/v1/messages?beta=true')
  expect(routeProvider('POST', '/v1/nothing', {})).toBeNull()
})

test('takes a provider by name and leaves the name out', () => {
  const route = routeProvider('POST', '/anthropic/v1/messages', {})
  expect(route?.operation).toMatchObject({ pool: 'model', upstreamPath: '/v1/messages' })
})

test('passes through what a named provider does not know', () => {
  expect(routeProvider('GET', '/anthropic/v1/models?limit=3', {})?.operation).toMatchObject({
    pool: 'other',
    body: 'none',
    upstreamPath: '/v1/models?limit=3',
  })
  expect(routeProvider('POST', '/anthropic/v1/chat/completions', {})?.operation).toMatchObject({
    pool: 'other',
    body: 'stream',
    upstreamPath: '/v1/chat/completions',
  })
})

test.each([
  '//evil.example/v1/messages',
  'http://evil.example/v1/messages',
  '/anthropic//evil.example/v1/messages',
  '/anthropic/../v1/messages',
  '/v1/messages/../files',
  '/v1/messages/..',
  '/v1/./messages',
  '/v1/messages/%2e%2e/files',
  '/v1/messages/%2E./files',
  '/v1%2fmessages',
  '/v1/messages\\..\\files',
  '/anthropic\\evil.example',
  '/anthropic/@evil.example//',
  '/v1/messages#fragment',
  '/v1/messages?a=b#c',
  '/v1/messages?a b',
  '/v1/messages\r\nhost: evil.example',
  '/v1/messages?\u0000',
  '*',
  '',
])('routes %j nowhere', (target) => {
  expect(routeProvider('POST', target, { 'anthropic-version': '2023-06-01' })).toBeNull()
})

test('never routes outside of the upstream, whatever the target', () => {
  const piece = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '\\',
    '@',
    ':',
    '?',
    '#',
    'v1',
    'messages',
    'a',
    'anthropic',
  )
  const target = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`)
  fc.assert(
    fc.property(target, (path) => {
      const route = routeProvider('GET', path, { 'anthropic-version': '2023-06-01' })
      if (!route) return
      const { upstreamPath } = route.operation
      const url = new URL(upstreamPath, 'https://upstream.example/')
      expect(url.origin).toBe('https://upstream.example')
      expect(url.pathname).toBe(upstreamPath.split('?')[0])
    }),
    { numRuns: 2000 },
  )
})

test('gives every provider a name that is one plain path segment', () => {
  for (const { name } of PROVIDERS) expect(name).toMatch(/^[a-z][a-z-]*$/)
})
