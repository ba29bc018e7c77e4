import { startRedis } from '../../tests/servers/redis.ts'
import { pinTo } from '../http/process-figures.ts'
import { measureThroughput } from './throughput.ts'
const server = await startRedis()
pinTo(1, server.pid); pinTo(0, process.pid)
console.dir(await measureThroughput(server, { count: 5, ms: 500 }), { depth: 5 })
process.exit()
