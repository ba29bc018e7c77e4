// What an operator probably did not mean. Must not know: what stops the gate from starting.
import type { LedgerAddress } from './ledger-address.ts'
import type { Environment } from './load.ts'
import { isLoopback } from './loopback.ts'
import { OPTIONS, PROVIDER_NAMES, upstreamOption } from './setting-table.ts'
import type { Settings } from './settings.ts'
import type { Endpoint, StoreAddress } from './store-address.ts'
import { nearestTo } from './suggest.ts'

const PREFIX = 'HEADGATE_'
const KNOWN_VARIABLES = [
  ...OPTIONS.filter(({ name }) => name !== 'upstream'),
  ...PROVIDER_NAMES.map(upstreamOption),
].map(({ variable }) => variable.slice(PREFIX.length))

export function warningsOf(settings: Settings, env: Environment): string[] {
  return [
    ...unknownVariables(env),
    ...openToOthers(settings),
    ...storeInClear(settings.store),
    ...ledgerInClear(settings.ledger),
    ...PROVIDER_NAMES.filter((name) => sendsKeyInClear(settings, name)).map(
      (name) => `providers.${name}.base_url: keys go there over plain http, use https`,
    ),
  ]
}

function unknownVariables(env: Environment): string[] {
  return Object.keys(env)
    .filter((variable) => variable.startsWith(PREFIX))
    .map((variable) => variable.slice(PREFIX.length))
    .filter((name) => !KNOWN_VARIABLES.includes(name))
    .map((name) => {
      const nearest = nearestTo(name, KNOWN_VARIABLES)
      const advice = nearest === null ? 'remove it' : `did you mean ${PREFIX}${nearest}?`
      return `${PREFIX}${name}: no such variable, ${advice}`
    })
}

function openToOthers({ host, providers, identity }: Settings): string[] {
  if (isLoopback(host) || identity.requireKey) return []
  const hasKey = Object.values(providers).some(({ apiKey }) => apiKey !== null)
  const what = hasKey ? 'spend your API key' : 'use the gate'
  return [`listening on ${host}: whoever can reach this machine can ${what}`]
}

function sendsKeyInClear({ providers }: Settings, name: (typeof PROVIDER_NAMES)[number]): boolean {
  const { baseUrl } = providers[name]
  return baseUrl?.startsWith('http:') === true && !isLoopback(new URL(baseUrl).hostname)
}

/** Whoever can write to the store decides who passes, and everybody's names are in it. */
function storeInClear(store: StoreAddress): string[] {
  const isFar = endpointsOf(store).some(({ host }) => !isLoopback(host))
  if (store.kind === 'memory' || !isFar) return []
  if (store.password === null)
    return ['store: whoever can reach it can change it, give it a password and use rediss://']
  return store.tls ? [] : ['store: its password goes there in clear, use rediss://']
}

/** Who spends how much is nobody else's business, and the password goes along. */
function ledgerInClear(ledger: LedgerAddress): string[] {
  if (ledger.kind !== 'postgres') return []
  const { hostname, searchParams } = new URL(ledger.url)
  const isHere = hostname === '' || isLoopback(hostname)
  const isClear = ['disable', null].includes(searchParams.get('sslmode'))
  return isHere || !isClear
    ? []
    : ['ledger: it is reached in clear, add ?sslmode=verify-full to its address']
}

function endpointsOf(store: StoreAddress): readonly Endpoint[] {
  switch (store.kind) {
    case 'memory':
      return []
    case 'redis':
      return [store]
    case 'redis_cluster':
      return store.nodes
    case 'redis_sentinel':
      return store.sentinels
  }
}
