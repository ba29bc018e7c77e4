// Who is calling. Owns: which of a caller's claims are believed, and what its key opens. Must not know:
// headers' names, bodies, or how much a caller may use.
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import type { EpochMs } from '../core/clock.ts'
import { type KeyRing, looksLikeSecret } from './key-ring.ts'
import type { IdentitySettings } from './settings.ts'
import {
  ANONYMOUS,
  type Identity,
  KEY_SCOPES,
  type KeyRule,
  type KeyScope,
  USUAL_SCOPES,
} from './subject.ts'
import { isName } from './values.ts'

/** What a call says of its caller. Null or nothing: it does not say. */
export interface Claims {
  /** `x-headgate-key`. */
  readonly key: string | null
  /** What stands where the provider's own key goes, without `Bearer`. */
  readonly credential: string | null
  /** The header that names the user, as Node gives headers: one character for each byte. */
  readonly user: string | null
  /** The peer's address, as its socket gives it. */
  readonly address: string | null
}

/** Whose word is taken, ready to be asked. */
export interface TrustRules {
  readonly requireKey: boolean
  readonly metadataUser: boolean
  readonly trusts: (address: string | null) => boolean
  /** Whether there is such a tier: a key whose tier has gone would be bound by nothing. */
  readonly hasTier: (name: string) => boolean
}

export type IdentityRefusal =
  | 'key_missing'
  | 'key_unknown'
  | 'key_revoked'
  | 'key_expired'
  | 'bad_request'

export interface Refused {
  readonly kind: 'refused'
  readonly reason: IdentityRefusal
  /** For the caller: what is wrong and what to do. */
  readonly message: string
}

export type Identified =
  | {
      readonly kind: 'identified'
      readonly identity: Identity
      /** What the caller may come for. */
      readonly scopes: ReadonlySet<KeyScope>
      /** What stands where the provider's key goes is a virtual key: it must never go upstream. */
      readonly isVirtual: boolean
      /** Whether the caller's word is taken for whom it calls. */
      readonly maySayWho: boolean
      /** Somebody who is not trusted to named a user: the name was left out. */
      readonly isDistrusted: boolean
    }
  | Refused

export function trustRules(
  { requireKey, metadataUser, trusted }: IdentitySettings,
  tiers: ReadonlyMap<string, unknown>,
): TrustRules {
  const list = new BlockList()
  for (const network of trusted) addNetwork(list, network)
  return {
    requireKey,
    metadataUser,
    trusts: (address) => address !== null && isIn(list, address),
    hasTier: (name) => tiers.has(name),
  }
}

function addNetwork(list: BlockList, network: string): void {
  const [address = '', prefix] = network.split('/')
  const family = isIPv4(address) ? 'ipv4' : 'ipv6'
  list.addSubnet(address, Number(prefix ?? (family === 'ipv4' ? 32 : 128)), family)
}

function isIn(list: BlockList, address: string): boolean {
  const [plain = ''] = address.split('%')
  if (isIPv4(plain)) return list.check(plain, 'ipv4')
  // An IPv4 address that arrives at a socket for both (`::ffff:10.0.0.1`) is found in IPv4 networks.
  return isIPv6(plain) && list.check(plain, 'ipv6')
}

/** Decides who a caller is. A key's word beats a header's, unless the key may name its users. */
export function identify(
  claims: Claims,
  keys: KeyRing,
  rules: TrustRules,
  now: EpochMs,
): Identified {
  const shown = shownKey(claims, keys, now)
  if (shown.kind === 'refused') return shown
  const { key, isVirtual } = shown
  if (key === null && rules.requireKey) return refused('key_missing', KEY_MISSING)
  if (key?.tier && !rules.hasTier(key.tier)) return refused('key_revoked', tierGone(key))
  const maySayWho = key?.namesUsers === true || (!key?.user && rules.trusts(claims.address))
  const named = maySayWho && claims.user ? asText(claims.user) : null
  if (named !== null && !isName(named)) return refused('bad_request', BAD_NAME)
  const identity = identityOf(key, named ?? key?.user ?? null)
  const isDistrusted = Boolean(claims.user) && !maySayWho && !key?.user
  const scopes = scopesOf(key)
  return { kind: 'identified', identity, scopes, isVirtual, maySayWho, isDistrusted }
}

const KEY_MISSING =
  "no Headgate key came with this request: send one as x-headgate-key, or where the provider's own key goes"
const KEY_UNKNOWN = 'this Headgate key is not known: check it, or ask for another'
const BAD_NAME =
  'the user that this request names is not a name: send 1 to 200 characters without control characters'

const tierGone = ({ id }: KeyRule): string =>
  `the tier of the Headgate key ${id} is no more: ask for another`

function refused(reason: IdentityRefusal, message: string): Refused {
  return { kind: 'refused', reason, message }
}

interface ShownKey {
  readonly kind: 'shown'
  /** Null: the caller has none. */
  readonly key: KeyRule | null
  readonly isVirtual: boolean
}

function shownKey({ key, credential }: Claims, keys: KeyRing, now: EpochMs): ShownKey | Refused {
  const inPlace = credential ? keys.find(credential) : null
  const isVirtual = inPlace !== null || (credential !== null && looksLikeSecret(credential))
  if (!key && !isVirtual) return { kind: 'shown', key: null, isVirtual }
  const found = key ? keys.find(key) : inPlace
  return refusalOf(found, now) ?? { kind: 'shown', key: found, isVirtual }
}

function refusalOf(key: KeyRule | null, now: EpochMs): Refused | null {
  if (key === null) return refused('key_unknown', KEY_UNKNOWN)
  // Whoever revoked it may have a clock that is ahead of ours.
  if (key.revokedAt !== null)
    return refused('key_revoked', `the Headgate key ${key.id} was revoked: ask for another`)
  if (key.expiresAt !== null && key.expiresAt <= now)
    return refused('key_expired', `the Headgate key ${key.id} has expired: ask for another`)
  return null
}

const USUAL: ReadonlySet<KeyScope> = new Set(USUAL_SCOPES)

/** What a key opens; null: of whoever may come without one. */
export function scopesOf(key: Pick<KeyRule, 'scopes'> | null): ReadonlySet<KeyScope> {
  const named = key?.scopes
  if (!named) return USUAL
  const leases = named.includes('leases:all') ? ['leases'] : []
  return new Set(KEY_SCOPES.filter((scope) => [...named, ...leases].includes(scope)))
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Names beyond ASCII come as UTF-8, or as Latin-1 from older programs. */
function asText(header: string): string {
  if (!/[\u0080-\u00ff]/.test(header)) return header
  try {
    return utf8.decode(Buffer.from(header, 'latin1'))
  } catch {
    return header
  }
}

function identityOf(key: KeyRule | null, user: string | null): Identity {
  if (key === null) return user === null ? ANONYMOUS : { ...ANONYMOUS, user }
  return { user, team: key.team, tier: key.tier, key: key.id }
}
