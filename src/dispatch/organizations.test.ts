import { describe, expect, it } from 'vitest'
import { fingerprintOf, Organizations } from './organizations.ts'

describe('fingerprintOf', () => {
  it('tells credentials apart and gives none away', () => {
    const fingerprint = fingerprintOf('sk-ant-secret')
    expect(fingerprint).toMatch(/^[0-9a-f]{12}$/)
    expect(fingerprintOf('sk-ant-secret')).toBe(fingerprint)
    expect(fingerprintOf('sk-ant-secreu')).not.toBe(fingerprint)
    expect(fingerprintOf(null)).toBe('anonymous')
  })
})

describe('Organizations', () => {
  it('gives credentials of one organization the first one’s name', () => {
    const organizations = new Organizations()
    expect(organizations.nameFor('b')).toBe('b')
    expect(organizations.learn('a', 'acme')).toBe('a')
    expect(organizations.learn('b', 'acme')).toBe('a')
    expect(organizations.learn('c', 'other')).toBe('c')
    expect(['a', 'b', 'c', 'd'].map((name) => organizations.nameFor(name))).toEqual([
      'a',
      'a',
      'c',
      'd',
    ])
  })

  it('does not change its mind about a credential', () => {
    const organizations = new Organizations()
    organizations.learn('a', 'acme')
    organizations.learn('b', 'other')
    expect(organizations.learn('b', 'acme')).toBe('b')
  })

  it('forgets the oldest of very many', () => {
    const organizations = new Organizations()
    organizations.learn('first', 'acme')
    organizations.learn('second', 'acme')
    for (let index = 0; index < 10_000; index++) organizations.learn(`k${index}`, `o${index}`)
    expect(organizations.nameFor('second')).toBe('second')
    expect(organizations.nameFor('k9999')).toBe('k9999')
  })
})
