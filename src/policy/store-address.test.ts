import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStoreAddress } from './store-address.ts'

const access = { tls: false, user: null, password: null, prefix: 'headgate' }

function refusalOf(text: string): string {
  const read = parseStoreAddress(text)
  return read.kind === 'refused' ? read.why : `was read as ${JSON.stringify(read.value)}`
}

describe('addresses of stores', () => {
  it.each([
    ['memory', { kind: 'memory', shown: 'memory' }],
    [
      'redis://cache',
      { ...access, kind: 'redis', host: 'cache', port: 6379, db: 0, shown: 'redis://cache:6379' },
    ],
    [
      'valkey://[::1]:7000/3?prefix=team-a',
      {
        ...access,
        kind: 'redis',
        host: '::1',
        port: 7000,
        db: 3,
        prefix: 'team-a',
        shown: 'redis://[::1]:7000/3?prefix=team-a',
      },
    ],
    [
      'rediss://ann:p%40ss%2Fw@cache.example.test:6380',
      {
        ...access,
        kind: 'redis',
        tls: true,
        user: 'ann',
        password: 'p@ss/w',
        host: 'cache.example.test',
        port: 6380,
        db: 0,
        shown: 'rediss://cache.example.test:6380',
      },
    ],
    [
      'redis+cluster://:secret@a,b:7001',
      {
        ...access,
        kind: 'redis_cluster',
        password: 'secret',
        nodes: [
          { host: 'a', port: 6379 },
          { host: 'b', port: 7001 },
        ],
        shown: 'redis+cluster://a:6379,b:7001',
      },
    ],
    [
      'rediss+sentinel://:secret@s1,s2:7002/mymaster?sentinel_password=other',
      {
        ...access,
        kind: 'redis_sentinel',
        tls: true,
        password: 'secret',
        sentinels: [
          { host: 's1', port: 26_379 },
          { host: 's2', port: 7002 },
        ],
        sentinelPassword: 'other',
        primary: 'mymaster',
        shown: 'rediss+sentinel://s1:26379,s2:7002/mymaster',
      },
    ],
  ])('reads %s', (text, value) => {
    expect(parseStoreAddress(text)).toEqual({ kind: 'parsed', value })
  })

  it.each([
    ['memori', /^is not a store, write memory or one such as redis:\/\/host:6379$/],
    ['', /^is not a store/],
    ['postgres://db', /^is not a store/],
    ['redis:/cache', /^is not a store/],
    ['redis://', /^names no host/],
    ['redis://a b', /^names no host/],
    ['redis://[nowhere]', /^names no host/],
    ['redis://cache:0', /^has a port that is not a number from 1 to 65535$/],
    ['redis://cache:x', /^has a port/],
    ['redis://cache:', /^has a port/],
    ['redis://cache:1e3', /^has a port/],
    ['redis://cache/zero', /^has a database that is no number/],
    ['redis://cache/0/1', /^has a database that is no number/],
    ['redis://a,b', /^names several hosts, begin it with redis\+cluster:/],
    ['redis+cluster://a/0', /^names a database, a cluster has only one/],
    ['redis+sentinel://a', /^names no primary, write its name after the hosts/],
    ['redis://ann@cache', /^names a user without a password/],
    ['redis://:pa%ss@cache', /^has a % that encodes nothing, write it as %25$/],
    ['redis://:pa#ss@cache', /^has a #, write it as %23$/],
    ['redis://cache?db=1', /^has an option that is not known, known here: prefix$/],
    ['redis://cache?prefix=a{b}', /^has a prefix that is not 1 to 64/],
    ['redis://cache?prefix=', /^has a prefix that is not 1 to 64/],
  ])('refuses %j', (text, why) => {
    expect(refusalOf(text)).toMatch(why)
  })

  it('are never shown with what was secret in them', () => {
    const secret = fc
      .string({ minLength: 1, unit: 'grapheme' })
      .map((text) => `SECRET${text}`)
      .map(encodeURIComponent)
    const scheme = fc.constantFrom('redis', 'rediss', 'redis+cluster', 'valkey+sentinel')
    fc.assert(
      fc.property(scheme, secret, fc.boolean(), (name, word, hasUser) => {
        const path = name.endsWith('sentinel') ? '/main?sentinel_password=SECRET' : ''
        const read = parseStoreAddress(`${name}://${hasUser ? 'SECRET' : ''}:${word}@host${path}`)
        expect(read).toMatchObject({
          kind: 'parsed',
          value: { password: decodeURIComponent(word) },
        })
        if (read.kind === 'parsed') expect(read.value.shown).not.toContain('SECRET')
      }),
    )
  })

  it('are refused without repeating what was written', () => {
    fc.assert(
      fc.property(fc.string(), (junk) => {
        expect(refusalOf(`redis://:SECRET${junk}@`)).not.toContain('SECRET')
      }),
    )
  })
})
