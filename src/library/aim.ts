// What a URL means to the providers that Headgate knows. Owns: finding a provider's paths below whatever
// base an SDK was given. Must not know: what is done with the request.
import type { UpstreamBase } from '../dispatch/upstream.ts'
import type { Headers, Operation, Provider } from '../providers/provider.ts'
import { PROVIDERS } from '../providers/providers.ts'

export interface Aim {
  readonly provider: Provider
  readonly operation: Operation
  /** The URL's own origin: a credential goes nowhere else. */
  readonly base: UpstreamBase
}

/** Where a provider's paths begin, in every base that its SDKs are given. */
const VERSION = /(?=\/v1\/)/g

/**
 * Null where the URL is no provider's.
 *
 * @param baseOf where the configuration says that a provider is
 */
export function aimOf(
  url: URL,
  method: string,
  headers: Headers,
  baseOf: (provider: Provider) => UpstreamBase,
): Aim | null {
  const { origin, pathname, search } = url
  if (!/^https?:$/.test(url.protocol)) return null
  const later = [...pathname.matchAll(VERSION)].map(({ index }) => index)
  for (const provider of PROVIDERS) {
    const { pathPrefix } = baseOf(provider)
    const isBelow = pathname.startsWith(`${pathPrefix}/`)
    for (const start of new Set([0, ...(isBelow ? [pathPrefix.length] : []), ...later])) {
      const operation = provider.match(method, pathname.slice(start) + search, headers)
      if (!operation) continue
      const upstreamPath = pathname + search
      return {
        provider,
        operation: { ...operation, upstreamPath },
        base: { origin, pathPrefix: '' },
      }
    }
  }
  return null
}
