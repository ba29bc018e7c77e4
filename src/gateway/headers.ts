// Which headers cross the gateway. Owns: what goes in place of the caller's, and what comes back. Must not
// know: which of the caller's go on (upstream-headers.ts).
import type { IncomingHttpHeaders } from 'node:http'
import {
  CREDENTIALS,
  goesUpstream,
  HOP_BY_HOP,
  namedByConnection,
} from '../dispatch/upstream-headers.ts'
import type { Headers } from '../providers/provider.ts'

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
  const named = namedByConnection(headers)
  // A compressed answer would hide its usage; asking for none keeps the bytes as they are.
  const forwarded = ['accept-encoding', 'identity']
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const value = rawHeaders[index + 1] ?? ''
    const lower = name.toLowerCase()
    if (!goesUpstream(lower, value, named)) continue
    if (lower === 'content-length' && !keepsLength) continue
    if (CREDENTIALS.has(lower) && ownKey !== null) continue
    forwarded.push(name, value)
  }
  if (ownKey !== null) forwarded.push('x-api-key', ownKey)
  return forwarded
}

/** The provider's headers as they go to the caller. */
export function returnedHeaders(headers: Headers): Record<string, string | string[]> {
  const named = namedByConnection(headers)
  const returned: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || HOP_BY_HOP.has(name) || named?.has(name)) continue
    returned[name] = value
  }
  return returned
}
