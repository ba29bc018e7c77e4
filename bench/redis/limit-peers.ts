// What others ask of the same server. Owns: how each is asked for turns. Must not know: how their cost is
// measured.
import { createRequire } from 'node:module'
import type { Redis } from 'ioredis'
import type { Load } from './turn-loads.ts'

// The peers' packages are not among the root's dependencies, so only what is used of them is typed.
export interface Limiter {
  /** Rejects with the time until there is room again. */
  consume(key: string, points: number): Promise<unknown>
}
type RateLimiterRedis = new (options: {
  storeClient: Redis
  points: number
  duration: number
  keyPrefix: string
}) => Limiter
interface Scheduler {
  ready(): Promise<unknown>
  schedule<T>(work: () => Promise<T>): Promise<T>
}
type Bottleneck = new (options: object) => Scheduler
type Client = new (port: number, host: string) => Redis

const require = createRequire(import.meta.url)
const { RateLimiterRedis }: { RateLimiterRedis: RateLimiterRedis } =
  require('rate-limiter-flexible')
const Bottleneck: Bottleneck = require('bottleneck')
/** Theirs, not the root's. */
const IoRedis: Client = require('ioredis')

const CALLERS = 64
const AMPLE = 1e9

export interface Peer {
  readonly what: string
  readonly load: Load
}

export function newLimiter(url: string, points: number, seconds: number, name: string): Limiter {
  const { hostname, port } = new URL(url)
  const storeClient = new IoRedis(Number(port), hostname)
  return new RateLimiterRedis({ storeClient, points, duration: seconds, keyPrefix: name })
}

export function limiterOfOne(url: string): Peer {
  const requests = newLimiter(url, AMPLE, 60, 'one')
  return {
    what: 'rate-limiter-flexible, one limit',
    load: callers(() => requests.consume('model', 1)),
  }
}

/** Three limits one after the other; it has no line, and no correction to the actual cost. */
export function limiterOfThree(url: string): Peer {
  const [requests, input, output] = ['requests', 'input', 'output'].map((name) =>
    newLimiter(url, AMPLE, 60, name),
  )
  return {
    what: 'rate-limiter-flexible, three limits',
    load: callers(async () => {
      await requests?.consume('model', 1)
      await input?.consume('model', 600)
      await output?.consume('model', 300)
    }),
  }
}

/** One limit, its reservoir, and a line in each process. */
export async function clusteredScheduler(url: string): Promise<Peer> {
  const { hostname: host, port } = new URL(url)
  const scheduler = new Bottleneck({
    id: 'model',
    datastore: 'ioredis',
    Redis: IoRedis,
    clientOptions: { host, port: Number(port) },
    reservoir: AMPLE,
    reservoirRefreshAmount: AMPLE,
    reservoirRefreshInterval: 60_000,
  })
  await scheduler.ready()
  return {
    what: 'bottleneck, one limit',
    load: callers(() => scheduler.schedule(async () => null)),
  }
}

function callers(takeTurn: () => Promise<unknown>): Load {
  return async (isOver) => {
    let turns = 0
    const caller = async (): Promise<void> => {
      while (!isOver()) {
        await takeTurn()
        turns++
      }
    }
    await Promise.all(Array.from({ length: CALLERS }, caller))
    return turns
  }
}
