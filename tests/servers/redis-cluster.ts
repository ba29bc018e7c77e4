// A Redis Cluster without replicas. Owns: which node has which slots, and that all of them agree before a
// test begins. Must not know: what is kept in it.
import { Redis } from 'ioredis'
import { HOST } from './child-server.ts'
import { type RedisServer, startRedis } from './redis.ts'
import { until } from './until.ts'

const SLOTS = 16_384

export interface RedisCluster {
  /** One address that names all nodes. */
  readonly url: string
  readonly urls: readonly string[]
  readonly ports: readonly number[]
  readonly nodes: readonly RedisServer[]
  stop(): Promise<void>
}

export async function startCluster(size = 3): Promise<RedisCluster> {
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000']
  const nodes = await Promise.all(Array.from({ length: size }, () => startRedis({ args })))
  const clients = nodes.map(({ port }) => new Redis(port, HOST))
  try {
    await join(clients, nodes)
  } finally {
    for (const client of clients) client.disconnect()
  }
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `${HOST}:${port}`).join()}`,
    urls: nodes.map(({ url }) => url),
    ports: nodes.map(({ port }) => port),
    nodes,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()))
    },
  }
}

/** Without epochs of their own the nodes would have to settle first who is who. */
async function join(clients: readonly Redis[], nodes: readonly RedisServer[]): Promise<void> {
  const [first] = nodes
  await Promise.all(
    clients.map(async (client, i) => {
      await client.cluster('ADDSLOTS', ...slotsOf(i, clients.length))
      await client.cluster('SET-CONFIG-EPOCH', i + 1)
      if (first && i > 0) await client.cluster('MEET', HOST, first.port)
    }),
  )
  await until('the cluster is whole', async () => {
    const infos = await Promise.all(clients.map((client) => client.cluster('INFO')))
    return infos.every(
      (info) =>
        info.includes('cluster_state:ok') &&
        info.includes(`cluster_known_nodes:${clients.length}\r`) &&
        info.includes(`cluster_slots_ok:${SLOTS}\r`),
    )
  })
}

function slotsOf(i: number, size: number): number[] {
  const first = Math.floor((SLOTS * i) / size)
  const end = Math.floor((SLOTS * (i + 1)) / size)
  return Array.from({ length: end - first }, (_, n) => first + n)
}
