// Which of a caller's headers go on to the provider. Owns: what is dropped, and why. Must not know: through
// which door they came.
import { looksLikeSecret } from '../policy/key-ring.ts'
import type { Headers } from '../providers/provider.ts'

/** They speak of one connection, not of the message (RFC 9110, 7.6.1). */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Made anew for the upstream connection, or answered here. */
const OWN_TO_CONNECTION = new Set(['host', 'expect', 'accept-encoding'])

export const CREDENTIALS: ReadonlySet<string> = new Set(['x-api-key', 'authorization'])

const OWN_PREFIX = 'x-headgate-'

/**
 * @param name in lower case
 * @param named as `namedByConnection` tells of the same message
 */
export function goesUpstream(
  name: string,
  value: string,
  named: ReadonlySet<string> | null,
): boolean {
  if (HOP_BY_HOP.has(name) || OWN_TO_CONNECTION.has(name) || named?.has(name)) return false
  return !name.startsWith(OWN_PREFIX) && !(CREDENTIALS.has(name) && isOurs(value))
}

/** A Headgate key is nobody else's business. */
const isOurs = (value: string): boolean => value.split(/[\s,]+/).some(looksLikeSecret)

/** Headers that a `Connection` header declares to be of this connection only. */
export function namedByConnection({ connection }: Headers): ReadonlySet<string> | null {
  if (typeof connection !== 'string' || PLAIN.has(connection)) return null
  return new Set(connection.split(',').map((name) => name.trim().toLowerCase()))
}

/** What it says as a rule, and then names none. */
const PLAIN = new Set(['', 'keep-alive', 'close'])
