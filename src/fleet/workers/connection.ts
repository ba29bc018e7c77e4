// A connection to the Redis that a job's prompts pass through. Owns: that its commands outlast an outage, for
// as long as it takes. Must not know: what is sent over it.
//
// The driver is loaded only where it is used.
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { RedisStoreAddress } from '../../policy/store-address.ts'

const LONGEST_RETRY_MS = 1000

export async function connectTo(address: RedisStoreAddress): Promise<Redis | Cluster> {
  const driver = await import('ioredis')
  const { user, password, tls } = address
  const access = {
    maxRetriesPerRequest: null,
    connectionName: 'headgate-run',
    disableClientInfo: true,
    retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, LONGEST_RETRY_MS),
    ...(user !== null && { username: user }),
    ...(password !== null && { password }),
    ...(tls && { tls: {} }),
  } satisfies Omit<RedisOptions, 'replyMapping'>
  if (address.kind === 'redis') {
    const { host, port, db } = address
    return new driver.Redis({ ...access, host, port, db })
  }
  if (address.kind === 'redis_cluster') {
    const nodes = address.nodes.map(({ host, port }) => ({ host, port }))
    return new driver.Cluster(nodes, {
      redisOptions: access,
      scaleReads: 'master',
      dnsLookup: (host, done) => done(null, host),
    })
  }
  const { sentinels, primary, sentinelPassword } = address
  return new driver.Redis({
    ...access,
    sentinels: sentinels.map((sentinel) => ({ ...sentinel })),
    name: primary,
    ...(sentinelPassword !== null && { sentinelPassword }),
    ...(tls && { sentinelTLS: {}, enableTLSForSentinelMode: true }),
  })
}
