// The providers that Headgate knows, and which of them a request is for.
// Owns: routing by path. Must not know: any provider's own paths.
import { anthropic } from './anthropic/anthropic.ts'
import type { Headers, Operation, Provider } from './provider.ts'
import { parseRequestPath } from './request-path.ts'

/** The first that knows a path has it. */
export const PROVIDERS: readonly Provider[] = [anthropic]

export interface Route {
  readonly provider: Provider
  readonly operation: Operation
}

/** The largest body that any provider takes of a call that nothing is known of: a file's. */
const LARGEST_BODY_BYTES = 500 * 1024 * 1024

/**
 * The provider and operation that a request means, or null. `/<provider>/…` names the provider, and
 * whatever that one does not know is passed through and counted as one request.
 */
export function routeProvider(method: string, target: string, headers: Headers): Route | null {
  const path = parseRequestPath(target)
  if (!path) return null
  for (const provider of PROVIDERS) {
    if (!path.pathname.startsWith(`/${provider.name}/`)) continue
    const rest = target.slice(provider.name.length + 1)
    return {
      provider,
      operation: provider.match(method, rest, headers) ?? passThrough(method, rest),
    }
  }
  for (const provider of PROVIDERS) {
    const operation = provider.match(method, target, headers)
    if (operation) return { provider, operation }
  }
  return null
}

function passThrough(method: string, upstreamPath: string): Operation {
  const body = method === 'GET' || method === 'HEAD' ? 'none' : 'stream'
  const isHarmless = body === 'none'
  return { pool: 'other', upstreamPath, body, maxBodyBytes: LARGEST_BODY_BYTES, isHarmless }
}
