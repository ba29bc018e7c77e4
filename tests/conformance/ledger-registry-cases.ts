// Keys and budgets that administrators change.
import { describe, expect, test } from 'vitest'
import { KeyExists, type KeyRecord, type Ledger } from '../../src/ledger/ledger.ts'
import { beginAt, type HomeOf, NOON } from './ledger-under-test.ts'

const KEY: KeyRecord = {
  sha256: 'a'.repeat(64),
  id: 'ci',
  user: 'bob',
  team: null,
  tier: 'pro',
  scopes: ['leases', 'a word of later'],
  createdAt: NOON,
  expiresAt: null,
  revokedAt: null,
}
const NEXT = 'b'.repeat(64)

export function registryCases(home: HomeOf): void {
  const begin = async (): Promise<Ledger> => (await beginAt(home(), 'one', NOON)).ledger

  describe('the registry', () => {
    test('keeps keys, and refuses a name that is taken', async () => {
      const ledger = await begin()
      await ledger.addKey(KEY)
      await expect(ledger.addKey({ ...KEY, sha256: NEXT })).rejects.toThrow(KeyExists)
      expect(await ledger.registry()).toEqual({ revision: 1, keys: [KEY], overrides: [] })
    })

    test('knows a key that opens the usual from one that opens nothing', async () => {
      const ledger = await begin()
      await ledger.addKey({ ...KEY, scopes: null })
      await ledger.addKey({ ...KEY, id: 'none', sha256: NEXT, scopes: [] })
      const { keys } = await ledger.registry()
      expect(keys.map(({ scopes }) => scopes)).toEqual([null, []])
    })

    test('revokes all secrets of a key, whose name is free then', async () => {
      const ledger = await begin()
      await ledger.addKey(KEY)
      expect(await ledger.revokeKey('ci', NOON + 5)).toBe(true)
      expect(await ledger.revokeKey('ci', NOON + 6)).toBe(false)
      await ledger.addKey({ ...KEY, sha256: NEXT, createdAt: NOON + 7 })
      expect((await ledger.registry()).keys).toMatchObject([
        { revokedAt: NOON + 5 },
        { sha256: NEXT },
      ])
    })

    test('rotates a key, and lets its former secret expire', async () => {
      const ledger = await begin()
      const next = { sha256: NEXT, at: NOON + 1, othersExpireAt: NOON + 1000 }
      expect(await ledger.rotateKey('ci', next)).toBe(false)
      await ledger.addKey(KEY)
      expect(await ledger.rotateKey('ci', next)).toBe(true)
      expect((await ledger.registry()).keys).toEqual([
        { ...KEY, expiresAt: NOON + 1000 },
        { ...KEY, sha256: NEXT, createdAt: NOON + 1 },
      ])
    })

    test('rotates a key that ends one day into one that ends then too', async () => {
      const ledger = await begin()
      await ledger.addKey({ ...KEY, expiresAt: NOON + 5000 })
      await ledger.rotateKey('ci', { sha256: NEXT, at: NOON + 1, othersExpireAt: NOON + 9000 })
      const { keys } = await ledger.registry()
      expect(keys.map(({ expiresAt }) => expiresAt)).toEqual([NOON + 5000, NOON + 5000])
    })

    test('keeps the latest override of a subject', async () => {
      const ledger = await begin()
      const override = { subject: 'user:bob', period: { unit: 'day', timeZone: 'UTC' } } as const
      await ledger.setOverride({ ...override, amount: 1 })
      await ledger.setOverride({ ...override, amount: 2 })
      expect((await ledger.registry()).overrides).toEqual([{ ...override, amount: 2 }])
      expect(await ledger.removeOverride('user:bob')).toBe(true)
      expect(await ledger.removeOverride('user:bob')).toBe(false)
    })

    test('counts its revision up with each change, for all processes', async () => {
      const ledger = await begin()
      const { ledger: other } = await beginAt(home(), 'two', NOON)
      expect(await other.revision()).toBe(0)
      await ledger.addKey(KEY)
      await ledger.revokeKey('nobody', NOON)
      expect(await other.revision()).toBe(1)
    })
  })
}
