import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { forwardedHeaders, returnedHeaders } from './headers.ts'

/** Pairs from names and values in turn. */
const pairsOf = (raw: readonly string[]): [string, string][] =>
  raw
    .flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as const] : []))
    .map(([name, value]) => [name, value])

function forward(
  pairs: readonly (readonly [string, string])[],
  { ownKey = null, keepsLength = false }: { ownKey?: string | null; keepsLength?: boolean } = {},
): [string, string][] {
  const headers: Record<string, string> = {}
  for (const [name, value] of pairs) headers[name.toLowerCase()] = value
  return pairsOf(forwardedHeaders(pairs.flat(), headers, ownKey, keepsLength))
}

const IDENTITY: [string, string] = ['accept-encoding', 'identity']

describe('forwardedHeaders', () => {
  it('asks for an answer that is not compressed', () => {
    expect(forward([['Accept-Encoding', 'gzip, br']])).toEqual([IDENTITY])
  })

  it('drops what is of the connection, by name or because the connection names it', () => {
    const headers: [string, string][] = [
      ['Host', 'gateway'],
      ['Connection', 'keep-alive, X-Mine'],
      ['x-mine', '1'],
      ['Transfer-Encoding', 'chunked'],
      ['Upgrade', 'h2c'],
      ['TE', 'trailers'],
      ['Expect', '100-continue'],
      ['X-Theirs', '2'],
    ]
    expect(forward(headers)).toEqual([IDENTITY, ['X-Theirs', '2']])
  })

  it('leaves the length to the connection, save for a body that passes as a stream', () => {
    const length: [string, string] = ['Content-Length', '5']
    expect(forward([length])).toEqual([IDENTITY])
    expect(forward([length], { keepsLength: true })).toEqual([IDENTITY, length])
  })

  it('puts the gateway’s own key in place of both kinds of credentials', () => {
    const theirs: [string, string][] = [
      ['X-Api-Key', 'theirs'],
      ['Authorization', 'Bearer theirs'],
    ]
    expect(forward(theirs)).toEqual([IDENTITY, ...theirs])
    expect(forward(theirs, { ownKey: 'ours' })).toEqual([IDENTITY, ['x-api-key', 'ours']])
  })

  it('never lets one of Headgate’s headers through, and keeps all others in their order', () => {
    const word = fc.string({ unit: fc.constantFrom(...'abcXYZ-'), minLength: 1, maxLength: 12 })
    const own = word.map((rest) => `X-Headgate-${rest}`)
    const other = word.map((rest) => `p${rest}`)
    const pair = fc.tuple(fc.oneof(own, other), fc.string())
    fc.assert(
      fc.property(fc.array(pair), (pairs) => {
        const expected = pairs.filter(([name]) => name.startsWith('p'))
        expect(forward(pairs)).toEqual([IDENTITY, ...expected])
      }),
    )
  })
})

describe('a Headgate key', () => {
  it('stays here, wherever a caller put it', () => {
    const secret = `hgk_${'a'.repeat(43)}`
    const raw = ['x-api-key', 'sk-own', 'Authorization', `Bearer ${secret}`, 'x-api-key', secret]
    const sent = forwardedHeaders(raw, {}, null, false)
    expect(sent.join(' ')).not.toContain('hgk_')
    expect(sent).toContain('sk-own')
  })
})

describe('returnedHeaders', () => {
  it('keeps the provider’s, several of one name included', () => {
    const headers = { 'request-id': 'req_1', 'set-cookie': ['a=1', 'b=2'], 'content-length': '2' }
    expect(returnedHeaders(headers)).toEqual(headers)
  })

  it('drops what is of the upstream’s connection', () => {
    const headers = {
      connection: 'X-Hop, close',
      'x-hop': '1',
      'keep-alive': 'timeout=5',
      'transfer-encoding': 'chunked',
      trailer: 'x',
      date: 'now',
      'x-none': undefined,
    }
    expect(returnedHeaders(headers)).toEqual({ date: 'now' })
  })
})
