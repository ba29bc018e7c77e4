// Who may ask for leases. Owns: that decision, and what web pages are told. Must not know: what is asked.
import type { IncomingMessage } from 'node:http'
import type { EpochMs } from '../../core/clock.ts'
import { callerOf, type LeaseCaller } from '../../dispatch/lease-policy.ts'
import { type LeaseRefusal, leaseRefusal } from '../../dispatch/lease-refusals.ts'
import { type Identified, identify, type TrustRules } from '../../policy/identity.ts'
import type { KeyRing } from '../../policy/key-ring.ts'
import { isToken } from '../api/access.ts'
import { isPassedOn, isRebound } from '../from-here.ts'

/** Who may come in. Replaced whole when the configuration changes. */
export interface LeaseDoorRules {
  readonly keys: KeyRing
  readonly trust: TrustRules
  /** In lower case. */
  readonly userHeader: string
  /** Null: nobody administers. */
  readonly adminToken: string | null
  /** Origins of web pages that may ask. */
  readonly origins: readonly string[]
}

export type Access =
  | {
      readonly kind: 'open'
      readonly caller: LeaseCaller
      /** Whether it may say how it shares, and how urgent it is. */
      readonly isTrusted: boolean
    }
  | { readonly kind: 'refused'; readonly refusal: LeaseRefusal }

/** @param lookForKeys reads again which keys there are: one may have been made a moment ago. */
export async function accessOf(
  request: IncomingMessage,
  rules: () => LeaseDoorRules,
  now: EpochMs,
  lookForKeys: () => Promise<void>,
): Promise<Access> {
  const access = judge(request, rules(), now)
  if (access.kind === 'open' || access.refusal.reason !== 'key_unknown') return access
  await lookForKeys()
  return judge(request, rules(), now)
}

function judge(request: IncomingMessage, rules: LeaseDoorRules, now: EpochMs): Access {
  const { keys, trust, userHeader, adminToken } = rules
  const { headers } = request
  const address = request.socket.remoteAddress ?? null
  const [, bearer = null] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
  const isAdmin = bearer !== null && adminToken !== null && isToken(bearer, adminToken)
  const isTrusted = trust.trusts(address)
  const claims = {
    key: textOf(headers['x-headgate-key']) ?? (isAdmin ? null : bearer),
    credential: null,
    user: textOf(headers[userHeader]),
    address,
  }
  const who = identify(claims, keys, isAdmin ? { ...trust, requireKey: false } : trust, now)
  if (who.kind === 'refused') return refused(who.reason, sentence(who.message))
  const { identity } = who
  if (isAdmin) return { kind: 'open', caller: callerOf(identity, true), isTrusted: true }
  if (identity.key === null && !(isTrusted && isDirect(request)))
    return refused('key_missing', KEY_MISSING)
  if (!who.scopes.has('leases')) return refused('scope_missing', scopeMissing(who))
  const caller = callerOf(identity, who.scopes.has('leases:all'))
  return { kind: 'open', caller, isTrusted }
}

const KEY_MISSING =
  'Send a Headgate key, as x-headgate-key or Authorization: Bearer: without one only callers under identity.trusted may ask, directly and by an address or localhost.'

/** Whom a proxy speaks for, or by whose name a page asks, nobody knows. */
const isDirect = (request: IncomingMessage): boolean => !isPassedOn(request) && !isRebound(request)

const scopeMissing = ({ identity }: Extract<Identified, { kind: 'identified' }>): string =>
  `The key ${identity.key} does not open leases: ask for one with the scope leases.`

function refused(reason: LeaseRefusal['reason'], message: string): Access {
  return { kind: 'refused', refusal: leaseRefusal(reason, message) }
}

const sentence = (clause: string): string => `${clause.charAt(0).toUpperCase()}${clause.slice(1)}.`

const textOf = (value: string | string[] | undefined): string | null =>
  value === undefined ? null : String(value)

export type PageAccess =
  | { readonly kind: 'open'; readonly headers: Readonly<Record<string, string>> }
  | { readonly kind: 'refused'; readonly refusal: LeaseRefusal }

/** What a web page's request is answered with; any page could ask from a browser on this machine. */
export function pageAccess(
  origin: string | undefined,
  { origins, userHeader }: LeaseDoorRules,
): PageAccess {
  if (origin === undefined) return { kind: 'open', headers: {} }
  if (!origins.includes(origin)) {
    const message = `Pages of ${origin.slice(0, 100)} may not ask for leases: leases.origins names those that may.`
    return { kind: 'refused', refusal: leaseRefusal('forbidden', message) }
  }
  return {
    kind: 'open',
    headers: {
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'GET, HEAD, POST, DELETE',
      'access-control-allow-headers': `authorization, content-type, idempotency-key, x-headgate-key, x-headgate-resume, ${userHeader}`,
      'access-control-expose-headers': 'location, retry-after',
      'access-control-max-age': '600',
      vary: 'origin',
    },
  }
}
