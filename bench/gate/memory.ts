// What a key costs in memory once its caller has gone. Must not know: how long anything takes.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { VirtualClock } from '../../src/core/clock.ts'
import { costOf } from '../../src/core/cost.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import {
  bucket,
  newLimiter,
  newScheduler,
  settingsWith,
  THREE_LIMITS,
  ticket,
} from './contenders.ts'

export interface KeyMemory {
  readonly what: string
  readonly keys: number
  readonly bytesPerKey: number
}

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const KEYS = 100_000
const ACTUAL = costOf({ input_tokens: 580, output_tokens: 210 })
const LIMITS = settingsWith([
  bucket('requests', 60),
  bucket('input_tokens', 100_000),
  bucket('output_tokens', 20_000),
])
const HOUR_MS = 3_600_000

export async function measureMemory(): Promise<KeyMemory[]> {
  return [
    await idleFlows(),
    ...(await idleResources()),
    await limiterKeys(),
    await schedulerKeys(1000),
  ]
}

/** Many flows that had one turn each at one resource with room for all. */
async function idleFlows(): Promise<KeyMemory> {
  const store = new MemoryStore(new VirtualClock(0), () => THREE_LIMITS)
  await turnAt(store, 'model', 'agent')
  const before = heapBytes()
  for (let key = 0; key < KEYS; key++) await turnAt(store, 'model', `agent-${key}`)
  const bytes = heapBytes() - before
  await store.close()
  return { what: 'Headgate, per idle flow', keys: KEYS, bytesPerKey: bytes / KEYS }
}

/** Many resources of three limits that had one turn each: at once, and when they are full again. */
async function idleResources(): Promise<KeyMemory[]> {
  const clock = new VirtualClock(0)
  const store = new MemoryStore(clock, (name) => (name === 'busy' ? THREE_LIMITS : LIMITS))
  const before = heapBytes()
  for (let key = 0; key < KEYS; key++) await turnAt(store, `user-${key}`, 'agent')
  const used = heapBytes() - before
  clock.advanceTo(HOUR_MS)
  for (let turn = 0; turn < KEYS; turn++) await turnAt(store, 'busy', 'agent')
  const idle = heapBytes() - before
  await store.close()
  return [
    { what: 'Headgate, per resource used just now', keys: KEYS, bytesPerKey: used / KEYS },
    { what: 'Headgate, per idle resource', keys: KEYS, bytesPerKey: idle / KEYS },
  ]
}

async function turnAt(store: MemoryStore, resource: string, flow: string): Promise<void> {
  await store.enqueue(ticket('turn', resource, flow))
  await store.settle(resource, 'turn', ACTUAL, true)
}

async function limiterKeys(): Promise<KeyMemory> {
  const limiters = [newLimiter(60), newLimiter(100_000), newLimiter(20_000)]
  const before = heapBytes()
  for (let key = 0; key < KEYS; key++)
    for (const limiter of limiters) await limiter.consume(`user-${key}`, 1)
  const bytesPerKey = (heapBytes() - before) / KEYS
  return { what: 'rate-limiter-flexible, per key used just now', keys: KEYS, bytesPerKey }
}

async function schedulerKeys(keys: number): Promise<KeyMemory> {
  const before = heapBytes()
  const schedulers = Array.from({ length: keys }, newScheduler)
  for (const scheduler of schedulers) await scheduler.schedule(async () => null)
  const bytesPerKey = (heapBytes() - before) / keys
  for (const scheduler of schedulers) scheduler.disconnect()
  return { what: 'bottleneck, per limiter', keys, bytesPerKey }
}

function heapBytes(): number {
  collectGarbage()
  collectGarbage()
  return process.memoryUsage().heapUsed
}
