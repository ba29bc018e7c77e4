// A primary, its replica, and a sentinel that puts the one in the place of the other. Owns: that all three
// know each other before a test begins. Must not know: what fails over.
import { Redis } from 'ioredis'
import { HOST, startServer } from './child-server.ts'
import { type RedisServer, startRedis } from './redis.ts'
import { until } from './until.ts'

/** The name that the sentinel knows the primary by. */
const PRIMARY = 'headgate'

/** So long the primary must be silent before the sentinel acts. */
const DOWN_AFTER_MS = 1000

export interface ReplicatedRedis {
  readonly primary: RedisServer
  readonly replica: RedisServer
  readonly sentinelUrl: string
  /** The port of the primary in the sentinel's eyes: the replica's after a failover. */
  primaryPort(): Promise<number>
  stop(): Promise<void>
}

export async function startReplicated(): Promise<ReplicatedRedis> {
  const primary = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] })
  const replica = await startRedis({ args: ['--replicaof', HOST, `${primary.port}`] })
  await until('the replica gets what is written', () => hasReplica(primary.port))
  const sentinel = await startServer({ sentinel: sentinelOf(primary.port) })
  await until('the sentinel knows the replica', () => hasInfo(sentinel.port, 'slaves=1'))
  return {
    primary,
    replica,
    sentinelUrl: `redis+sentinel://${HOST}:${sentinel.port}/${PRIMARY}`,
    primaryPort: () => primaryPort(sentinel.port),
    async stop() {
      await Promise.all([sentinel.end('SIGKILL'), replica.stop(), primary.stop()])
    },
  }
}

function sentinelOf(port: number): string {
  return [
    `sentinel monitor ${PRIMARY} ${HOST} ${port} 1`,
    `sentinel down-after-milliseconds ${PRIMARY} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${PRIMARY} 5000`,
    '',
  ].join('\n')
}

/** Each calls the other connected up to a second before the primary really sends anything. */
async function hasReplica(port: number): Promise<boolean> {
  const acknowledged = await ask(port, async (client) => {
    await client.publish('anything', '')
    return await client.wait(1, 1000)
  })
  return acknowledged === 1
}

async function hasInfo(port: number, line: string): Promise<boolean> {
  const info = await ask(port, (client) => client.info())
  return info.includes(line)
}

async function primaryPort(port: number): Promise<number> {
  const answer = await ask(port, (client) =>
    client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', PRIMARY),
  )
  return Array.isArray(answer) ? Number(answer[1]) : 0
}

async function ask<T>(port: number, question: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(port, HOST)
  return await question(client).finally(() => client.disconnect())
}
