// Measures the store that many processes share: what its operations cost a Redis server, and how soon
// and how often its processes hear of each other.
// Usage: node bench/redis/run.ts [--quick]
import { type RedisServer, startRedis } from '../../tests/servers/redis.ts'
import { pinTo } from '../http/process-figures.ts'
import {
  describeSetting,
  installedVersion,
  installPeers,
  say,
  writeResults,
  writeSection,
} from '../report.ts'
import { measureMemory } from './memory.ts'
import { measureReleaseLatency } from './release-latency.ts'
import { RespClient } from './resp-client.ts'
import { measureRoundTrips } from './round-trips.ts'
import { type RedisResults, render } from './table.ts'
import { leastCost, measureThroughput, type Rounds, turnCost } from './throughput.ts'
import { measureTries } from './tries.ts'

const isQuick = process.argv.includes('--quick')
const ROUNDS: Rounds = isQuick ? { count: 4, ms: 300 } : { count: 25, ms: 400 }
const RELEASES = isQuick ? 300 : 2000
const COMPETING_MS = isQuick ? 3000 : 10_000
const [OWN_CORE, SERVER_CORE] = [0, 1]

installPeers()
const setting = describeSetting(`node bench/redis/run.ts${isQuick ? ' --quick' : ''}`)
const results: RedisResults = {
  ...setting,
  server: await onServer(versionOf),
  peers: {
    'rate-limiter-flexible': installedVersion('rate-limiter-flexible'),
    bottleneck: installedVersion('bottleneck'),
    'their ioredis': installedVersion('ioredis'),
  },
  roundTrips: await onServer(({ url }) => measureRoundTrips(url)),
  memory: await onServer(({ url }) => measureMemory(url)),
  release: await onServer(({ url }) => measureReleaseLatency(url, RELEASES)),
  tries: await onServer(async ({ url }) => ({
    headgate: await measureTries(url, 'headgate', COMPETING_MS),
    polling: await measureTries(url, 'limiter', COMPETING_MS),
  })),
  // From here on this process stays on its own core, and processes that it starts would, too.
  throughput: await onServer((server) => {
    keepApart(server)
    return measureThroughput(server, ROUNDS)
  }),
  others: await onServer((server) => {
    keepApart(server)
    return measureOthers(server)
  }),
}
writeResults('redis', results)
writeSection('redis', render(results))
say(render(results))
process.exit()

async function onServer<T>(measure: (server: RedisServer) => Promise<T>): Promise<T> {
  const server = await startRedis()
  const measured = await measure(server)
  await server.stop()
  return measured
}

function keepApart(server: RedisServer): void {
  pinTo(OWN_CORE, process.pid)
  pinTo(SERVER_CORE, server.pid)
}

async function versionOf({ url }: RedisServer): Promise<string> {
  const client = await RespClient.connect(url)
  const info = String(await client.call('INFO', 'server'))
  client.close()
  return /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'unknown'
}

async function measureOthers(server: RedisServer): Promise<RedisResults['others']> {
  // The peers' packages are there only after `installPeers`.
  const { clusteredScheduler, limiterOfOne, limiterOfThree } = await import('./limit-peers.ts')
  const client = await RespClient.connect(server.url)
  const peers = [
    limiterOfOne(server.url),
    limiterOfThree(server.url),
    await clusteredScheduler(server.url),
  ]
  const found: RedisResults['others'][number][] = []
  for (const { what, load } of peers) {
    const costs = []
    for (let round = 0; round < ROUNDS.count; round++)
      costs.push(await turnCost(server, client, load, ROUNDS.ms / 2))
    found.push({ what, cost: leastCost(costs) })
  }
  return found
}
