// A server that has no functions, as before Redis 7.0: operations go to it as scripts.
import { afterAll } from 'vitest'
import { startRedis } from '../servers/redis.ts'
import { redisUnderTest } from './redis-under-test.ts'
import { storeContract } from './store-contract.ts'

const server = await startRedis({ args: ['--rename-command', 'FCALL', ''] })
afterAll(() => server.stop())

storeContract('scripts-only redis', redisUnderTest(server.url, 4))
