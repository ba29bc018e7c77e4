// The driver's clients for each kind of address. Owns: their options, so that no command is ever sent
// twice by the driver and none waits for long. Must not know: what is sent.
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { Endpoint, RedisAddress } from './address.ts'
import { stateIn } from './store-failure.ts'

/** The driver's types refuse an option that is there but undefined. */
type Options = Omit<RedisOptions, 'replyMapping'>

/** No answer by then is a failure, whatever the server may still do. */
export const COMMAND_TIMEOUT_MS = 1000
const CONNECT_TIMEOUT_MS = 2000
/** Silence on a connection with commands under way: a peer that is gone without a word. */
export const SILENCE_TIMEOUT_MS = 2000
const FIRST_RETRY_MS = 50
const LONGEST_RETRY_MS = 1000

const retryDelayMs = (attempt: number): number =>
  Math.min(FIRST_RETRY_MS * 2 ** attempt, LONGEST_RETRY_MS)

/** A lost answer means that a command may have run: only its sender can tell what to do then. */
const NEVER_TWICE = {
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
} as const satisfies Options

function commonOptions({ tls, user, password }: RedisAddress) {
  return {
    ...NEVER_TWICE,
    connectTimeout: CONNECT_TIMEOUT_MS,
    connectionName: 'headgate',
    disableClientInfo: true,
    maxLoadingRetryTime: LONGEST_RETRY_MS,
    ...(user !== null && { username: user }),
    ...(password !== null && { password }),
    ...(tls && { tls: {} }),
  } satisfies Options
}

/** Where one connection leads: to an endpoint, or to the primary that the sentinels name. */
function targetOf(address: RedisAddress, endpoint: Endpoint): Options {
  if (address.kind === 'redis') return { ...endpoint, db: address.db }
  if (address.kind === 'redis_cluster') return { ...endpoint }
  const { sentinels, primary, sentinelPassword, tls } = address
  return {
    sentinels: sentinels.map((sentinel) => ({ ...sentinel })),
    name: primary,
    sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
    sentinelRetryStrategy: retryDelayMs,
    ...(sentinelPassword !== null && { sentinelPassword }),
    ...(tls && { sentinelTLS: {}, enableTLSForSentinelMode: true }),
  }
}

/** The endpoints that the address names: of servers, or of sentinels. */
export function endpointsOf(address: RedisAddress): readonly Endpoint[] {
  if (address.kind === 'redis') return [address]
  return address.kind === 'redis_cluster' ? address.nodes : address.sentinels
}

/** One connection that is tried once, for a look at a server. */
export function visitor(address: RedisAddress, endpoint: Endpoint): Redis {
  return new Redis({
    ...commonOptions(address),
    ...targetOf(address, endpoint),
    commandTimeout: COMMAND_TIMEOUT_MS,
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
  })
}

/** For commands. Reconnects for ever; refuses commands while it is not connected. */
export function commandClient(address: RedisAddress): Redis | Cluster {
  const options = {
    ...commonOptions(address),
    // A primary that was demoted keeps its connections: only a new one leads to the new primary.
    reconnectOnError: (error: Error) => stateIn(error) === 'READONLY',
  }
  if (address.kind === 'redis_cluster') return clusterClient(address.nodes, options)
  return new Redis({
    ...options,
    ...targetOf(address, endpointsOf(address)[0] ?? { host: 'localhost', port: 0 }),
    enableOfflineQueue: false,
    retryStrategy: retryDelayMs,
  })
}

function clusterClient(nodes: readonly Endpoint[], redisOptions: Options): Cluster {
  return new Cluster(
    nodes.map(({ host, port }) => ({ host, port })),
    {
      redisOptions,
      scaleReads: 'master',
      clusterRetryStrategy: retryDelayMs,
      slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
      // After a lost connection the driver would send again what may have run. MOVED, ASK and
      // TRYAGAIN are answers: nothing has run, and it may follow them.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      // Certificates are for names, so names stay names until a socket is opened.
      dnsLookup: (host, done) => done(null, host),
    },
  )
}

/** For pushes. Reconnects for ever, each time to what `nextEndpoint` says where there is a choice. */
export function pushClient(address: RedisAddress, nextEndpoint: () => Endpoint): Redis {
  const client: Redis = new Redis({
    ...commonOptions(address),
    ...targetOf(address, nextEndpoint()),
    enableOfflineQueue: false,
    autoResubscribe: false,
    retryStrategy: (attempt) => {
      if (address.kind === 'redis_cluster') Object.assign(client.options, nextEndpoint())
      return retryDelayMs(attempt)
    },
  })
  return client
}
