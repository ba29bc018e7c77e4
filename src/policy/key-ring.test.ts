import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createSecret, hashSecret, KeyRing, looksLikeSecret } from './key-ring.ts'
import type { KeyRule } from './subject.ts'

const keyOf = (secret: string, changes: Partial<KeyRule> = {}): KeyRule => ({
  sha256: hashSecret(secret),
  id: 'ci',
  user: null,
  team: null,
  tier: null,
  expiresAt: null,
  revokedAt: null,
  ...changes,
})

describe('a secret', () => {
  it('is ours by its looks, and another each time', () => {
    const secret = createSecret(randomBytes)
    expect(secret).toMatch(/^hgk_[\w-]{43}$/)
    expect(looksLikeSecret(secret)).toBe(true)
    expect(createSecret(randomBytes)).not.toBe(secret)
  })

  it('is kept as sha256sum prints it', () => {
    expect(hashSecret('abc')).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
  })
})

describe('a key ring', () => {
  it('finds keys of the file and issued ones, and nothing else', () => {
    const ring = new KeyRing([keyOf('a')])
    ring.replaceIssued([keyOf('b', { id: 'issued' })])
    expect(['a', 'b', 'c', 'a'].map((secret) => ring.find(secret)?.id)).toEqual([
      'ci',
      'issued',
      undefined,
      'ci',
    ])
  })

  it('forgets what was replaced', () => {
    const ring = new KeyRing([keyOf('a')])
    ring.replaceIssued([keyOf('b')])
    ring.find('b')
    ring.replaceIssued([])
    ring.replaceConfigured([keyOf('c')])
    expect(['a', 'b', 'c'].map((secret) => ring.find(secret) !== null)).toEqual([
      false,
      false,
      true,
    ])
  })

  it('takes the ledger’s word for a secret that the file has too', () => {
    const ring = new KeyRing([keyOf('a')])
    ring.replaceIssued([keyOf('a', { revokedAt: 5 })])
    ring.replaceConfigured([keyOf('a')])
    expect(ring.find('a')?.revokedAt).toBe(5)
  })
})
