// Virtual keys, as administrators see them. Owns: listing, creating, revoking and rotating them. Must
// not know: how they are shown, or how a caller's key is checked.
import type { EpochMs } from '../core/clock.ts'
import { KeyExists, type KeyRecord } from '../ledger/ledger.ts'
import { scopesOf } from '../policy/identity.ts'
import { createSecret, hashSecret } from '../policy/key-ring.ts'
import type { KeyRule, KeyScope } from '../policy/subject.ts'
import { suggestion } from '../policy/suggest.ts'
import { type Administration, AdminRefusal } from './administration.ts'

/** A key, with all its secrets. */
export interface KeySummary {
  readonly id: string
  readonly user: string | null
  readonly team: string | null
  readonly tier: string | null
  /** What it opens. */
  readonly scopes: readonly KeyScope[]
  /** Those of the configuration are changed there. */
  readonly origin: 'configured' | 'issued'
  readonly state: 'active' | 'expired' | 'revoked'
  /** Secrets in force: two while a rotated one has its grace. */
  readonly secrets: number
  /** Null of configured keys. */
  readonly createdAt: EpochMs | null
  /** When the last of its secrets expires; null: never. */
  readonly expiresAt: EpochMs | null
}

/** A secret just made: the only time that it is seen. */
export interface IssuedSecret {
  readonly id: string
  readonly secret: string
}

export interface NewKey {
  readonly id: string
  readonly user: string | null
  readonly team: string | null
  readonly tier: string | null
  /** What it opens; null: the usual. */
  readonly scopes: readonly KeyScope[] | null
  /** Null: it never expires. */
  readonly expiresInMs: number | null
}

export async function listKeys({ ledger, rules, clock }: Administration): Promise<KeySummary[]> {
  const { keys } = await ledger.registry()
  const now = clock.now()
  return [
    ...grouped(rules().keys).map((secrets) => summary('configured', secrets, null, now)),
    ...grouped(keys).map((secrets) => summary('issued', secrets, firstCreatedAt(secrets), now)),
  ]
}

/** @throws AdminRefusal when the name is taken, or its team or tier is not known. */
export async function createKey(admin: Administration, wanted: NewKey): Promise<IssuedSecret> {
  const { id, user, team, tier, scopes, expiresInMs } = wanted
  refuseConfigured(admin, id)
  refuseUnknown('team', team, [...admin.rules().teams.keys()])
  refuseUnknown('tier', tier, [...admin.rules().tiers.keys()])
  refuseTooLong('expiresIn', expiresInMs ?? 0)
  const secret = createSecret(admin.randomBytes)
  const now = admin.clock.now()
  const record: KeyRecord = {
    sha256: hashSecret(secret),
    id,
    user,
    team,
    tier,
    scopes,
    createdAt: now,
    expiresAt: expiresInMs === null ? null : now + expiresInMs,
    revokedAt: null,
  }
  try {
    await admin.ledger.addKey(record)
  } catch (error) {
    if (!(error instanceof KeyExists)) throw error
    throw new AdminRefusal('conflict', 'id', `${error.message}: rotate or revoke it`)
  }
  return { id, secret }
}

/** @throws AdminRefusal when there is no such key in force. */
export async function revokeKey(admin: Administration, id: string): Promise<void> {
  refuseConfigured(admin, id)
  if (!(await admin.ledger.revokeKey(id, admin.clock.now()))) throw noSuchKey(id)
}

/** Later instants are no dates any more. */
const LONGEST_MS = 100 * 366 * 24 * 3_600_000

function refuseTooLong(field: string, ms: number): void {
  if (ms > LONGEST_MS)
    throw new AdminRefusal(
      'invalid',
      field,
      'this is longer than a hundred years: leave it out for ever',
    )
}

/**
 * Gives a key a new secret; its others stay in force for `graceMs`.
 *
 * @throws AdminRefusal when there is no such key in force.
 */
export async function rotateKey(
  admin: Administration,
  id: string,
  graceMs: number,
): Promise<IssuedSecret & { readonly othersExpireAt: EpochMs }> {
  refuseConfigured(admin, id)
  refuseTooLong('grace', graceMs)
  const secret = createSecret(admin.randomBytes)
  const at = admin.clock.now()
  const next = { sha256: hashSecret(secret), at, othersExpireAt: at + graceMs }
  if (!(await admin.ledger.rotateKey(id, next))) throw noSuchKey(id)
  return { id, secret, othersExpireAt: next.othersExpireAt }
}

function refuseConfigured({ rules }: Administration, id: string): void {
  if (!rules().keys.some((key) => key.id === id)) return
  const why = `the key ${id} is in the configuration: change it there, or choose another name`
  throw new AdminRefusal('conflict', 'id', why)
}

function refuseUnknown(what: 'team' | 'tier', name: string | null, known: readonly string[]): void {
  if (name === null || known.includes(name)) return
  const hint = known.length > 0 ? suggestion(name, known) : 'the configuration names none'
  throw new AdminRefusal('invalid', what, `there is no ${what} ${name}: ${hint}`)
}

const noSuchKey = (id: string): AdminRefusal =>
  new AdminRefusal(
    'not_found',
    'id',
    `there is no key ${id} in force: list them to see their names`,
  )

/** The secrets of each key, the newest last. */
function grouped<T extends KeyRule>(secrets: readonly T[]): T[][] {
  return [...Map.groupBy(secrets, ({ id }) => id).values()]
}

const firstCreatedAt = (secrets: readonly KeyRecord[]): EpochMs =>
  Math.min(...secrets.map(({ createdAt }) => createdAt))

function summary(
  origin: KeySummary['origin'],
  secrets: readonly KeyRule[],
  createdAt: EpochMs | null,
  now: EpochMs,
): KeySummary {
  const inForce = secrets.filter(
    ({ expiresAt, revokedAt }) => revokedAt === null && (expiresAt === null || expiresAt > now),
  )
  const ends = (inForce.length > 0 ? inForce : secrets).map(({ expiresAt }) => expiresAt)
  const newest = secrets.at(-1)
  return {
    id: newest?.id ?? '',
    user: newest?.user ?? null,
    team: newest?.team ?? null,
    tier: newest?.tier ?? null,
    scopes: [...scopesOf(newest ?? null)],
    origin,
    state: inForce.length > 0 ? 'active' : newest?.revokedAt === null ? 'expired' : 'revoked',
    secrets: inForce.length,
    createdAt,
    expiresAt: ends.includes(null) ? null : Math.max(...ends.filter((end) => end !== null)),
  }
}
