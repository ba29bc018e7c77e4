import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { trustRules } from '../../policy/identity.ts'
import { hashSecret, KeyRing } from '../../policy/key-ring.ts'
import type { KeyRule } from '../../policy/subject.ts'
import { accessOf, type LeaseDoorRules, pageAccess } from './lease-access.ts'

const HERE = '127.0.0.1'
const ELSEWHERE = '192.0.2.7'
const TRUSTED = '10.1.2.3'
const TOKEN = 'a-token-for-tests'

const keyNamed = (id: string, scopes?: readonly string[]): KeyRule => ({
  id,
  sha256: hashSecret(`hgk_${id}`),
  user: null,
  team: null,
  tier: null,
  expiresAt: null,
  revokedAt: null,
  ...(scopes && { scopes }),
})

function rulesWith(requireKey = false): LeaseDoorRules {
  const identity = {
    requireKey,
    userHeader: 'x-user',
    trusted: ['10.0.0.0/8', '127.0.0.0/8', '::1/128'],
    metadataUser: false,
  }
  return {
    keys: new KeyRing([
      keyNamed('ci'),
      keyNamed('all', ['leases:all']),
      keyNamed('no', ['requests']),
    ]),
    trust: trustRules(identity, new Map()),
    userHeader: 'x-user',
    adminToken: TOKEN,
    origins: ['https://app.example'],
  }
}

function requestFrom(address: string, headers: Readonly<Record<string, string>>): IncomingMessage {
  const socket = new Socket()
  Object.defineProperty(socket, 'remoteAddress', { value: address })
  const request = new IncomingMessage(socket)
  Object.assign(request.headers, headers)
  return request
}

async function access(address: string, headers = {}, rules = rulesWith()): Promise<unknown> {
  const found = await accessOf(
    requestFrom(address, headers),
    () => rules,
    0,
    async () => {},
  )
  if (found.kind === 'refused') return found.refusal.reason
  return [found.caller.name, found.caller.seesAll, found.isTrusted]
}

const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` })

describe('without a key', () => {
  it('those that are trusted may ask, and nobody else', async () => {
    expect(await access(HERE)).toEqual(['anonymous', false, true])
    expect(await access(`::ffff:${HERE}`)).toEqual(['anonymous', false, true])
    expect(await access(TRUSTED, { 'x-user': 'alice' })).toEqual(['user:alice', false, true])
    expect(await access(ELSEWHERE)).toBe('key_missing')
    expect(await access(ELSEWHERE, { 'x-user': 'alice' })).toBe('key_missing')
  })

  it('nobody may ask through a proxy: whom it speaks for, nobody knows', async () => {
    expect(await access(HERE, { 'x-forwarded-for': ELSEWHERE })).toBe('key_missing')
    expect(await access(TRUSTED, { forwarded: `for=${ELSEWHERE}` })).toBe('key_missing')
    const shown = { ...bearer('hgk_ci'), 'x-forwarded-for': ELSEWHERE }
    expect(await access(HERE, shown)).toEqual(['key:ci', false, true])
  })

  it('nobody on this machine may ask by a name that a page may have given it', async () => {
    for (const host of ['localhost:4000', 'gate.localhost', '127.0.0.1:4000', '[::1]:4000'])
      expect(await access(HERE, { host })).toEqual(['anonymous', false, true])
    for (const host of ['evil.example', 'evil.example:4000', 'localhost.evil.example'])
      expect(await access(HERE, { host })).toBe('key_missing')
    expect(await access(TRUSTED, { host: 'gate.internal' })).toEqual(['anonymous', false, true])
  })

  it('nobody may ask where keys are required', async () => {
    expect(await access(HERE, {}, rulesWith(true))).toBe('key_missing')
    expect(await access(TRUSTED, {}, rulesWith(true))).toBe('key_missing')
  })
})

describe('with a key', () => {
  it('one may ask from anywhere, by either header', async () => {
    expect(await access(ELSEWHERE, bearer('hgk_ci'))).toEqual(['key:ci', false, false])
    expect(await access(ELSEWHERE, { 'x-headgate-key': 'hgk_ci' })).toEqual([
      'key:ci',
      false,
      false,
    ])
    expect(await access(ELSEWHERE, bearer('hgk_all'))).toEqual(['key:all', true, false])
  })

  it('that opens no leases, or is not known, one may not', async () => {
    expect(await access(HERE, bearer('hgk_no'))).toBe('scope_missing')
    expect(await access(HERE, bearer('hgk_guessed'))).toBe('key_unknown')
    expect(await access(HERE, bearer('not-even-a-key'))).toBe('key_unknown')
  })

  it('that was made a moment ago it is looked again', async () => {
    let rules = rulesWith()
    const request = requestFrom(ELSEWHERE, bearer('hgk_new'))
    const found = await accessOf(
      request,
      () => rules,
      0,
      async () => {
        rules = { ...rules, keys: new KeyRing([keyNamed('new')]) }
      },
    )
    expect(found).toMatchObject({ kind: 'open', caller: { name: 'key:new' } })
  })
})

it('the administrator sees all, wherever from', async () => {
  expect(await access(ELSEWHERE, bearer(TOKEN), rulesWith(true))).toEqual(['anonymous', true, true])
  const nobody = { ...rulesWith(), adminToken: null }
  expect(await access(ELSEWHERE, bearer(TOKEN), nobody)).toBe('key_unknown')
})

it('web pages may ask only where their origin is named', () => {
  expect(pageAccess(undefined, rulesWith())).toEqual({ kind: 'open', headers: {} })
  for (const origin of ['null', 'https://app.example.evil', 'http://app.example', ''])
    expect(pageAccess(origin, rulesWith())).toMatchObject({ refusal: { reason: 'forbidden' } })
  expect(pageAccess('https://app.example', rulesWith())).toMatchObject({
    headers: { 'access-control-allow-origin': 'https://app.example', vary: 'origin' },
  })
})
