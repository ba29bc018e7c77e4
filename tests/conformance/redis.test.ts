import { sharedRedis } from '../servers/redis.ts'
import { redisUnderTest } from './redis-under-test.ts'
import { sameDecisions, storeContract } from './store-contract.ts'
import { memory } from './stores.ts'

const { url } = await sharedRedis()
const redis = redisUnderTest(url, 40)

storeContract('redis', redis)
sameDecisions('redis', redis, memory)
