// Whether a Redis can keep gates. Owns: what is asked of a server, and each mistake in words that say
// what to do. Must not know: what will be kept there.
import type { Redis } from 'ioredis'
import type { RedisAddress } from './address.ts'
import { endpointsOf, visitor } from './clients.ts'
import { clauseOf, stateIn } from './store-failure.ts'

/** The address or the server is wrong, so waiting does not help. The message is one line to print. */
export class StoreSetupError extends Error {
  override readonly name = 'StoreSetupError'
  readonly code = 'STORE_SETUP'
}

/** What a look at a server finds, when nothing is wrong that only people can mend. */
export type Look =
  | { readonly kind: 'fit'; readonly warnings: readonly string[] }
  /** Not now; `why` is a clause that begins with a verb. */
  | { readonly kind: 'unreachable'; readonly why: string }

/**
 * Looks at the server once, over a connection of its own; in a cluster at the first node that answers.
 *
 * @throws StoreSetupError
 */
export async function lookAt(address: RedisAddress): Promise<Look> {
  const places = address.kind === 'redis_sentinel' ? [] : endpointsOf(address).slice(1)
  let look = await visit(address, visitor(address, endpointsOf(address)[0] ?? NOWHERE))
  for (const place of places) {
    if (look.kind === 'fit') return look
    look = await visit(address, visitor(address, place))
  }
  return look
}

const NOWHERE = { host: 'localhost', port: 0 }

async function visit(address: RedisAddress, client: Redis): Promise<Look> {
  // The driver's promise only says that the connection was closed; why, it says in events.
  let reason: unknown = null
  const remember = (error: unknown): void => {
    reason ??= error
  }
  client.on('error', remember).on('sentinelError', remember)
  try {
    await client.connect()
    if (reason !== null) throw reason
    return judge(await client.info(), address)
  } catch (error) {
    if (error instanceof StoreSetupError) throw error
    return explain(reason ?? error, address)
  } finally {
    client.disconnect()
  }
}

/** What `INFO` says, held against what gates and the address need. */
export function judge(text: string, address: RedisAddress): Look {
  const info = new Map(
    text.split('\r\n').map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1)]
    }),
  )
  const mistake = mistakeIn(info, address)
  if (mistake !== null) throw new StoreSetupError(`the store ${address.shown} ${mistake}`)
  if (info.get('loading') === '1') return { kind: 'unreachable', why: 'is still loading its data' }
  if (address.kind === 'redis' && info.get('role') === 'slave')
    return { kind: 'unreachable', why: 'is a replica, which cannot be written to' }
  return { kind: 'fit', warnings: warningsOf(info, address) }
}

const LEAST_VERSION = [6, 2] as const

function mistakeIn(info: ReadonlyMap<string, string>, address: RedisAddress): string | null {
  if (info.get('redis_mode') === 'sentinel')
    return 'is a sentinel: begin the address with redis+sentinel:// and end it with the primary’s name'
  const version = info.get('redis_version') ?? '0'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_VERSION
  if (major < leastMajor || (major === leastMajor && minor < leastMinor))
    return `is Redis ${version}: use ${LEAST_VERSION.join('.')} or newer`
  const isCluster = info.get('cluster_enabled') === '1'
  if (isCluster && address.kind !== 'redis_cluster')
    return 'is part of a cluster: begin the address with redis+cluster://'
  if (!isCluster && address.kind === 'redis_cluster')
    return 'is no cluster: begin the address with redis://'
  return null
}

function warningsOf(info: ReadonlyMap<string, string>, { shown }: RedisAddress): string[] {
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  const isBounded = Number(info.get('maxmemory') ?? 0) > 0
  if (!isBounded || policy === 'noeviction') return []
  return [
    `the store ${shown} throws keys away when its memory is full (${policy}), and with them lines and meters: set maxmemory-policy to noeviction`,
  ]
}

/** Why a visit failed: a mistake that is thrown, or nothing but bad luck. */
function explain(error: unknown, address: RedisAddress): Look {
  const remedy = remedyFor(error, address)
  if (remedy === null) return { kind: 'unreachable', why: clauseOf(error) }
  throw new StoreSetupError(`the store ${address.shown} ${remedy}`)
}

function remedyFor(error: unknown, { kind }: RedisAddress): string | null {
  switch (stateIn(error)) {
    case 'NOAUTH':
      return 'wants a password: write it into the address, as in redis://:password@host'
    case 'WRONGPASS':
      return 'refuses the user or the password of the address: correct them'
    case 'NOPERM':
      return 'does not allow this user INFO: give the user the rights that the documentation lists'
  }
  const text = error instanceof Error ? error.message : ''
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (/DB index/i.test(text)) return 'has no database of that number: use 0, or raise "databases"'
  if (kind === 'redis_sentinel' && /unknown command/i.test(text))
    return 'is no sentinel: begin the address with redis://'
  if (kind === 'redis_sentinel' && /No such master|invalid reply/.test(text))
    return 'has sentinels that know no primary of that name: correct the name at its end'
  if (/CERT|SIGNED|ALTNAME|UNABLE_TO/.test(code))
    return `shows a certificate that is not trusted (${code}): name its authority in NODE_EXTRA_CA_CERTS, and use the host name that it is for`
  if (code.startsWith('ERR_SSL') || code === 'EPROTO')
    return 'does not speak TLS there: name its TLS port, or begin the address with redis instead of rediss'
  return null
}
