import { startRedis } from '../../tests/servers/redis.ts'
import { pinTo } from '../http/process-figures.ts'
import { measureThroughput } from './throughput.ts'
const server = await startRedis()
pinTo(1, server.pid); pinTo(0, process.pid)
console.dir(await measureThroughput(server, { count: 12, ms: 300 }), { depth: 5 })
process.exit()
