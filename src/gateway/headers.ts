// Which headers cross the gateway. Owns: what is dropped in each direction, and why.
import type { IncomingHttpHeaders } from 'node:http'
import { looksLikeSecret } from '../policy/key-ring.ts'
import type { Headers } from '../providers/provider.ts'

/** They speak of one connection, not of the message (RFC 9110, 7.6.1). */
const HOP_BY_HOP = new Set([
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

/** Made anew for the upstream connection, or answered by this server itself. */
const OWN_TO_CONNECTION = new Set(['host', 'expect', 'accept-encoding'])

const CREDENTIALS = new Set(['x-api-key', 'authorization'])

const OWN_PREFIX = 'x-headgate-'

/**
 * The caller's headers as they go upstream, names and values in turn and as they were written.
 *
 * @param ownKey the gateway's key, which replaces the caller's, or null to let the caller's pass.
 * @param keepsLength whether the body passes as a stream, whose length only the caller knows.
 */
export function forwardedHeaders(
  rawHeaders: readonly string[],
  headers: IncomingHttpHeaders,
  ownKey: string | null,
  keepsLength: boolean,
): string[] {
  const named = namedByConnection(headers.connection)
  // A compressed answer would hide its usage; asking for none keeps the bytes as they are.
  const forwarded = ['accept-encoding', 'identity']
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || OWN_TO_CONNECTION.has(lower) || named?.has(lower)) continue
    if (lower.startsWith(OWN_PREFIX) || (lower === 'content-length' && !keepsLength)) continue
    if (CREDENTIALS.has(lower) && (ownKey !== null || isOurs(rawHeaders[index + 1]))) continue
    forwarded.push(name, rawHeaders[index + 1] ?? '')
  }
  if (ownKey !== null) forwarded.push('x-api-key', ownKey)
  return forwarded
}

/** A Headgate key is nobody else's business. */
const isOurs = (value = ''): boolean => value.split(/[\s,]+/).some(looksLikeSecret)

/** The provider's headers as they go to the caller. */
export function returnedHeaders(headers: Headers): Record<string, string | string[]> {
  const connection = headers.connection
  const named = namedByConnection(typeof connection === 'string' ? connection : undefined)
  const returned: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || HOP_BY_HOP.has(name) || named?.has(name)) continue
    returned[name] = value
  }
  return returned
}

/** Headers that a `Connection` header declares to be of this connection only. */
function namedByConnection(connection: string | undefined): ReadonlySet<string> | null {
  if (!connection || connection === 'keep-alive' || connection === 'close') return null
  return new Set(connection.split(',').map((name) => name.trim().toLowerCase()))
}
