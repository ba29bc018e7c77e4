import { startRedis } from '../../tests/servers/redis.ts'
import { measureRoundTrips } from './round-trips.ts'
import { measureTries } from './tries.ts'
import { measureReleaseLatency } from './release-latency.ts'
import { measureMemory } from './memory.ts'
import { clusteredScheduler, limiterOfOne, limiterOfThree } from './limit-peers.ts'
import { turnCost } from './throughput.ts'
import { RespClient } from './resp-client.ts'
const server = await startRedis()
const c = await RespClient.connect(server.url)
const what = process.argv[2] ?? ''
if (!what || what==='trips') console.dir(await measureRoundTrips(server.url))
if (!what || what==='mem') console.dir(await measureMemory(server.url), {depth:5})
if (!what || what==='lat') console.dir(await measureReleaseLatency(server.url, 300))
if (!what || what==='tries') { console.dir(await measureTries(server.url, 'headgate', 4000)); console.dir(await measureTries(server.url, 'limiter', 4000)) }
if (!what || what==='peers') for (const p of [limiterOfOne(server.url), limiterOfThree(server.url), await clusteredScheduler(server.url)]) console.log(p.what, await turnCost(server, c, p.load, 700))
process.exit()
