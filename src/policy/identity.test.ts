import { describe, expect, it } from 'vitest'
import { type Claims, identify, trustRules } from './identity.ts'
import { hashSecret, KeyRing } from './key-ring.ts'
import type { IdentitySettings } from './settings.ts'
import { ANONYMOUS, type KeyRule } from './subject.ts'

const NOW = 1000

const keyOf = (secret: string, changes: Partial<KeyRule> = {}): KeyRule => ({
  sha256: hashSecret(secret),
  id: secret,
  user: null,
  team: null,
  tier: null,
  expiresAt: null,
  revokedAt: null,
  ...changes,
})

const ring = new KeyRing([
  keyOf('hgk_bob', { user: 'bob', team: 'research', tier: 'pro' }),
  keyOf('hgk_nobody'),
  keyOf('own-words', { user: 'eve' }),
  keyOf('hgk_revoked', { revokedAt: NOW + 1 }),
  keyOf('hgk_expired', { expiresAt: NOW }),
  keyOf('hgk_leases', { scopes: ['leases'] }),
  keyOf('hgk_all', { scopes: ['a word of later', 'leases:all'] }),
  keyOf('hgk_none', { scopes: [] }),
  keyOf('hgk_lasting', { expiresAt: NOW + 1 }),
])

const settings: IdentitySettings = {
  requireKey: false,
  userHeader: 'x-headgate-user',
  trusted: ['127.0.0.0/8', '10.0.0.0/8', '2001:db8::/32', '::1'],
  metadataUser: false,
}

const TIERS = new Map([['pro', {}]])

const silent: Claims = {
  key: null,
  credential: null,
  user: null,
  address: '10.1.2.3',
}

function who(claims: Partial<Claims>, changes: Partial<IdentitySettings> = {}, keys = ring) {
  return identify(
    { ...silent, ...claims },
    keys,
    trustRules({ ...settings, ...changes }, TIERS),
    NOW,
  )
}

const identified = (identity: object, isVirtual = false) => ({
  kind: 'identified',
  identity: { ...ANONYMOUS, ...identity },
  scopes: new Set(['requests', 'leases']),
  isVirtual,
  maySayWho: expect.any(Boolean),
  isDistrusted: false,
})

describe('a caller with a key', () => {
  const bob = { user: 'bob', team: 'research', tier: 'pro', key: 'hgk_bob' }

  it('is whom the key names, wherever it was sent', () => {
    expect(who({ key: 'hgk_bob' })).toEqual(identified(bob))
    expect(who({ credential: 'hgk_bob' })).toEqual(identified(bob, true))
    expect(who({ credential: 'own-words' })).toEqual(
      identified({ user: 'eve', key: 'own-words' }, true),
    )
  })

  it('keeps a provider’s key of its own beside it', () => {
    expect(who({ key: 'hgk_bob', credential: 'sk-ant-1' })).toEqual(identified(bob))
  })

  it('has no virtual key sent upstream, even one that is not needed', () => {
    expect(who({ key: 'hgk_bob', credential: 'hgk_other' })).toEqual(identified(bob, true))
  })

  it('cannot be another user than the key’s', () => {
    expect(who({ key: 'hgk_bob', user: 'alice' })).toEqual(identified(bob))
  })

  it('may name a user where the key names none and the address is trusted', () => {
    const claims = { key: 'hgk_nobody', user: 'alice' }
    expect(who(claims)).toEqual(identified({ user: 'alice', key: 'hgk_nobody' }))
    expect(who({ ...claims, address: '192.0.2.1' })).toEqual({
      ...identified({ key: 'hgk_nobody' }),
      isDistrusted: true,
    })
  })

  it.each([
    ['key_unknown', 'hgk_unheard-of'],
    ['key_revoked', 'hgk_revoked'],
    ['key_expired', 'hgk_expired'],
  ])('is refused with %s for %s, wherever it was sent', (reason, secret) => {
    expect(who({ key: secret })).toMatchObject({ kind: 'refused', reason })
    expect(who({ credential: secret })).toMatchObject({ kind: 'refused', reason })
  })

  it('is refused for a key of ours where no key exists', () => {
    const none = new KeyRing([])
    const refusal = { kind: 'refused', reason: 'key_unknown' }
    expect(who({ credential: 'hgk_a' }, {}, none)).toMatchObject(refusal)
    expect(who({ key: 'anything' }, {}, none)).toMatchObject(refusal)
    expect(who({ credential: 'sk-ant-1' }, {}, none)).toEqual(identified({}))
  })

  it('is never told the secret back', () => {
    const answer = who({ key: 'hgk_unheard-of' })
    expect(JSON.stringify(answer)).not.toContain('unheard-of')
  })

  it('passes until the instant at which the key expires', () => {
    expect(who({ key: 'hgk_lasting' })).toEqual(identified({ key: 'hgk_lasting' }))
  })
})

describe('a caller without a key', () => {
  it('is anybody, or is refused where keys are required', () => {
    expect(who({ credential: 'sk-ant-1' })).toEqual(identified({}))
    expect(who({ credential: 'sk-ant-1', user: 'alice' }, { requireKey: true })).toMatchObject({
      kind: 'refused',
      reason: 'key_missing',
    })
  })

  it.each(['127.0.0.1', '10.255.0.1', '::ffff:10.0.0.1', '::1', '2001:db8:1::2', '::1%lo'])(
    'is believed from %s',
    (address) => {
      expect(who({ user: 'alice', address })).toEqual(identified({ user: 'alice' }))
    },
  )

  it.each(['192.0.2.1', '::ffff:192.0.2.1', 'fe80::1%eth0', '', null])(
    'is nobody from %j, and that is told',
    (address) => {
      const expected = { ...identified({}), isDistrusted: true }
      expect(who({ user: 'alice', address })).toEqual(expected)
    },
  )

  it('is not distrusted for naming nobody', () => {
    expect(who({ user: '', address: '192.0.2.1' })).toEqual(identified({}))
  })

  it.each(['a\tb', 'a\u0085b', 'x'.repeat(201)])('is refused as %j', (user) => {
    expect(who({ user })).toMatchObject({ kind: 'refused', reason: 'bad_request' })
  })

  it('has a name beyond ASCII, in UTF-8 or Latin-1', () => {
    const sent = Buffer.from('Übermut', 'utf8').toString('latin1')
    expect(who({ user: sent })).toEqual(identified({ user: 'Übermut' }))
    expect(who({ user: 'José' })).toEqual(identified({ user: 'José' }))
  })
})

describe('the word of a caller for whom it calls', () => {
  const service = new KeyRing([
    keyOf('hgk_service', { user: null, team: null, tier: null, namesUsers: true }),
    keyOf('hgk_bob', { user: 'bob' }),
  ])
  const says = (claims: Partial<Claims>) => {
    const found = who({ address: '192.0.2.1', ...claims }, {}, service)
    return found.kind === 'identified' && { user: found.identity.user, may: found.maySayWho }
  }

  it('is taken from a trusted address, and from a key that may name its users', () => {
    expect(says({ address: '10.1.2.3' })).toEqual({ user: null, may: true })
    expect(says({})).toEqual({ user: null, may: false })
    expect(says({ key: 'hgk_service', user: 'carol' })).toEqual({ user: 'carol', may: true })
    expect(says({ key: 'hgk_service' })).toEqual({ user: null, may: true })
  })

  it('counts for nothing with a key whose tier has gone', () => {
    const ring = new KeyRing([keyOf('hgk_trial', { tier: 'trial' })])
    expect(who({ key: 'hgk_trial' }, {}, ring)).toMatchObject({ reason: 'key_revoked' })
  })

  it('is not taken where a key says who it is', () => {
    expect(says({ key: 'hgk_bob', user: 'carol', address: '10.1.2.3' })).toEqual({
      user: 'bob',
      may: false,
    })
  })
})

describe('what a caller may come for', () => {
  const opened = (claims: Partial<Claims>) => {
    const found = who(claims)
    return found.kind === 'identified' ? [...found.scopes] : found.reason
  }

  it('is the usual without a key, and with one that says nothing', () => {
    expect(opened({})).toEqual(['requests', 'leases'])
    expect(opened({ key: 'hgk_bob' })).toEqual(['requests', 'leases'])
  })

  it('is what the key says, and no word that is not known', () => {
    expect(opened({ key: 'hgk_leases' })).toEqual(['leases'])
    expect(opened({ credential: 'hgk_leases' })).toEqual(['leases'])
    expect(opened({ key: 'hgk_none' })).toEqual([])
  })

  it('has leases of its own where it has everybody’s', () => {
    expect(opened({ key: 'hgk_all' })).toEqual(['leases', 'leases:all'])
  })
})
