// A cluster: each resource is on one of its nodes, and a process hears from all of them.
import { afterAll } from 'vitest'
import { startCluster } from '../servers/redis-cluster.ts'
import { redisUnderTest } from './redis-under-test.ts'
import { storeContract } from './store-contract.ts'

const cluster = await startCluster()
afterAll(() => cluster.stop())

storeContract('redis cluster', redisUnderTest(cluster.url, 4))
