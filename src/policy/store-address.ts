// Where the gates live, as people write it: `memory`, or the address of a Redis. Owns: the grammar of
// such addresses. Must not know: how a store is reached.
import { isIPv6 } from 'node:net'
import type { Parsed } from './units.ts'

export interface Endpoint {
  readonly host: string
  readonly port: number
}

interface RedisAccess {
  readonly tls: boolean
  /** Null: the server's default user. */
  readonly user: string | null
  readonly password: string | null
  /** What all keys begin with. */
  readonly prefix: string
  /** The address as it may be shown to anybody: without credentials. */
  readonly shown: string
}

interface SingleAddress extends RedisAccess, Endpoint {
  readonly kind: 'redis'
  readonly db: number
}

interface ClusterAddress extends RedisAccess {
  readonly kind: 'redis_cluster'
  /** Some of its nodes: they tell of the others. */
  readonly nodes: readonly Endpoint[]
}

interface SentinelAddress extends RedisAccess {
  readonly kind: 'redis_sentinel'
  readonly sentinels: readonly Endpoint[]
  /** What the sentinels ask for themselves; null: nothing. */
  readonly sentinelPassword: string | null
  /** The name that the sentinels know the primary by. */
  readonly primary: string
}

export type RedisStoreAddress = SingleAddress | ClusterAddress | SentinelAddress

export type StoreAddress = { readonly kind: 'memory'; readonly shown: string } | RedisStoreAddress

export const MEMORY: StoreAddress = { kind: 'memory', shown: 'memory' }

/** What keys begin with unless the address says otherwise. */
const DEFAULT_PREFIX = 'headgate'

/** What is wrong with an address: a clause that begins with a verb. */
class Mistake extends Error {}

/** `memory`, or `redis://…`, `redis+cluster://…`, `redis+sentinel://…` and their kin. */
export function parseStoreAddress(text: string): Parsed<StoreAddress> {
  if (text === 'memory') return { kind: 'parsed', value: MEMORY }
  try {
    return { kind: 'parsed', value: redisAddress(text) }
  } catch (error) {
    if (!(error instanceof Mistake)) throw error
    return { kind: 'refused', why: error.message }
  }
}

// A list of hosts is no URL that the platform could read, so the parts are taken apart here.
const ADDRESS =
  /^(?:redis|valkey)(?<tls>s?)(?:\+(?<layout>cluster|sentinel))?:\/\/(?:(?<login>[^/?]*)@)?(?<hosts>[^/?]*)(?:\/(?<path>[^?]*))?(?:\?(?<query>.*))?$/

function redisAddress(text: string): RedisStoreAddress {
  const parts = ADDRESS.exec(text)?.groups
  if (!parts) throw new Mistake('is not a store, write memory or one such as redis://host:6379')
  if (text.includes('#')) throw new Mistake('has a #, write it as %23')
  const { login, hosts = '', path = '', layout } = parts
  const options = optionsOf(parts.query ?? '', layout)
  const secure = parts.tls === 's'
  const scheme = `redis${secure ? 's' : ''}${layout === undefined ? '' : `+${layout}`}`
  const endpoints = endpointsOf(hosts, layout === 'sentinel' ? 26_379 : 6379)
  const prefix = options.get('prefix') ?? DEFAULT_PREFIX
  const shownHosts = endpoints.map(shownEndpoint).join()
  const shownPrefix = prefix === DEFAULT_PREFIX ? '' : `?prefix=${prefix}`
  const shownAt = (shownPath: string): string =>
    `${scheme}://${shownHosts}${shownPath}${shownPrefix}`
  const access = { tls: secure, ...loginOf(login), prefix }
  if (layout === 'cluster') {
    if (path !== '') throw new Mistake('names a database, a cluster has only one: leave it out')
    return { kind: 'redis_cluster', ...access, nodes: endpoints, shown: shownAt('') }
  }
  if (layout === 'sentinel') {
    const primary = decoded(path)
    if (!/^[\w.-]+$/.test(primary)) throw new Mistake(NO_PRIMARY)
    const sentinelPassword = options.get('sentinel_password') ?? null
    const shown = shownAt(`/${primary}`)
    return {
      kind: 'redis_sentinel',
      ...access,
      sentinels: endpoints,
      sentinelPassword,
      primary,
      shown,
    }
  }
  const [only, ...others] = endpoints
  if (!only || others.length > 0) throw new Mistake(SEVERAL_HOSTS)
  if (!/^\d{0,5}$/.test(path)) throw new Mistake(NO_DATABASE)
  const shown = shownAt(path === '' ? '' : `/${path}`)
  return { kind: 'redis', ...access, ...only, db: Number(path), shown }
}

const NO_PRIMARY =
  'names no primary, write its name after the hosts, such as redis+sentinel://host:26379/mymaster'
const SEVERAL_HOSTS =
  'names several hosts, begin it with redis+cluster:// or redis+sentinel:// for that'
const NO_DATABASE = 'has a database that is no number, write one such as redis://host:6379/0'

function endpointsOf(hosts: string, usualPort: number): Endpoint[] {
  return hosts.split(',').map((text) => {
    const [, bracketed, plain, portText] = /^(?:\[(.+)\]|([^:]*))(?::(.*))?$/.exec(text) ?? []
    const host = bracketed ?? plain ?? ''
    const isHost = bracketed === undefined ? /^[\w.-]+$/.test(host) : isIPv6(host)
    if (!isHost) throw new Mistake('names no host, write one such as redis://host:6379')
    const port = portText === undefined ? usualPort : Number(portText)
    if (!/^\d+$/.test(portText ?? '0') || port < 1 || port > 65_535)
      throw new Mistake('has a port that is not a number from 1 to 65535')
    return { host, port }
  })
}

function shownEndpoint({ host, port }: Endpoint): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`
}

function loginOf(login: string | undefined): Pick<RedisAccess, 'user' | 'password'> {
  if (login === undefined || login === '') return { user: null, password: null }
  const colon = login.indexOf(':')
  if (colon < 0 || colon === login.length - 1)
    throw new Mistake('names a user without a password, write user:password@ or :password@')
  const user = decoded(login.slice(0, colon))
  return { user: user === '' ? null : user, password: decoded(login.slice(colon + 1)) }
}

const PREFIX = /^[\w.:-]{1,64}$/

function optionsOf(query: string, layout: string | undefined): Map<string, string> {
  const known = layout === 'sentinel' ? ['prefix', 'sentinel_password'] : ['prefix']
  const options = new Map<string, string>()
  for (const pair of query === '' ? [] : query.split('&')) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/.exec(pair) ?? []
    if (!known.includes(name))
      throw new Mistake(`has an option that is not known, known here: ${known.join(', ')}`)
    options.set(name, decoded(value))
  }
  const prefix = options.get('prefix')
  if (prefix !== undefined && !PREFIX.test(prefix))
    throw new Mistake('has a prefix that is not 1 to 64 letters, digits or any of _ . : -')
  return options
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Mistake('has a % that encodes nothing, write it as %25')
  }
}
