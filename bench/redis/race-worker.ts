// One process of the race: a store shared with all others, one HTTP client, a few callers. Owns: what
// its callers were told, and that each of them ends. Must not know: the other processes.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { Pool } from 'undici'
import { realClock } from '../../src/core/clock.ts'
import { type CostVector, costOf } from '../../src/core/cost.ts'
import { LANES } from '../../src/core/lane.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { connect } from '../../src/stores/redis/connection.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { SharedStore } from '../../src/stores/shared/shared-store.ts'
import { withJournal } from './race-journal.ts'
import {
  BEAT_MS,
  CALLERS,
  estimateOf,
  LEASE_MS,
  type Phase,
  phaseAt,
  RESOURCE,
  type Start,
  settingsFor,
  type Task,
  taskFor,
  type WorkerPlan,
} from './race-plan.ts'

/** What a worker tells of itself when its callers have ended. */
export interface WorkerReport {
  readonly name: string
  answered: number
  left: number
  refused: number
  failed: number
  /** Leases that were gone when they were to be settled. */
  settledTooLate: number
  toldTwice: number
  degraded: number
  returned: number
  errors: string[]
}

/** So many callers in a hundred lose patience. */
const IMPATIENT_PERCENT = 3

/** The part of the race in which callers begin. */
const STARTS_WITHIN = 0.08

const plan: WorkerPlan = JSON.parse(process.argv[2] ?? '{}')
const clock = realClock()
const { random } = Math
const settings = settingsFor(plan.seconds)
const settingsOf = () => settings
const report: WorkerReport = {
  name: plan.name,
  answered: 0,
  left: 0,
  refused: 0,
  failed: 0,
  settledTooLate: 0,
  toldTwice: 0,
  degraded: 0,
  returned: 0,
  errors: [],
}

const connection = await connect(
  {
    kind: 'redis',
    host: '127.0.0.1',
    port: plan.redisPort,
    db: 0,
    tls: false,
    user: null,
    password: null,
    prefix: RESOURCE,
    shown: 'redis',
  },
  { clock },
)
const shared = await RedisStore.open({
  failed: (error) => {
    throw error
  },
  connection,
  clock,
  settingsOf,
  instance: `${plan.name}-${randomUUID().slice(0, 8)}`,
  leaseMs: LEASE_MS,
  scripts: withJournal(),
})
const store = new SharedStore({
  clock,
  random,
  shared,
  settingsOf,
  localStore: (localSettingsOf) => new MemoryStore(clock, localSettingsOf),
  onFailure: 'degrade',
  events: {
    degraded: ({ why }) => {
      report.degraded++
      report.errors.push(`degraded: ${why}`)
    },
    returned: () => report.returned++,
    tellFailed: (error) => report.errors.push(String(error)),
  },
  beatMs: BEAT_MS,
})
const provider = new Pool(plan.providerUrl, { connections: CALLERS })

const admitted = new Map<string, () => void>()
store.onGrant(({ id }) => {
  const admit = admitted.get(id)
  if (!admit) report.toldTwice++
  admitted.delete(id)
  admit?.()
})

let count = 0

async function call(index: number, phase: Phase): Promise<void> {
  const task = taskFor(phase, random)
  const id = `${phase}/${plan.name}/${count++}`
  const estimate = estimateOf(task, random)
  if (!(await turn(id, index, estimate))) return
  const actual = await send(id, task)
  const wasLease = await store.settle(RESOURCE, id, actual, true)
  if (!wasLease) report.settledTooLate++
  report.answered++
}

/** Resolves when the turn has come: false when the caller has left before. */
async function turn(id: string, index: number, estimate: CostVector): Promise<boolean> {
  const granted = new Promise<void>((resolve) => admitted.set(id, resolve))
  const { kind } = await store.enqueue({
    id,
    resource: RESOURCE,
    flow: `flow-${(index + plan.name.length) % 7}`,
    lane: LANES[Math.floor(random() * LANES.length)] ?? 'normal',
    weight: 1 + (index % 2),
    estimate,
    deadlineAt: Number.POSITIVE_INFINITY,
    place: null,
    parked: false,
    holder: null,
  })
  if (kind === 'refused') {
    admitted.delete(id)
    report.refused++
    return false
  }
  if (kind === 'admitted') {
    admitted.delete(id)
    return true
  }
  if (random() * 100 >= IMPATIENT_PERCENT) {
    await granted
    return true
  }
  await Promise.race([granted, pause(random() * 300)])
  await leave(id)
  return false
}

async function leave(id: string): Promise<void> {
  report.left++
  const wasTold = !admitted.delete(id)
  if (wasTold) await store.release(RESOURCE, id)
  else {
    admitted.set(id, () => void store.release(RESOURCE, id))
    const place = await store.cancel(RESOURCE, id)
    if (place) admitted.delete(id)
  }
}

async function send(id: string, { words, outputTokens }: Task): Promise<CostVector> {
  const { body } = await provider.request({
    path: '/v1/messages',
    method: 'POST',
    headers: {
      'x-api-key': 'race',
      'anthropic-version': '2023-06-01',
      'content-type': 'application/json',
      'x-race-ticket': id,
    },
    body: JSON.stringify({
      model: 'claude-sonnet-5',
      max_tokens: 1000,
      messages: [{ role: 'user', content: promptOf(words, outputTokens) }],
    }),
  })
  const answer = await body.json()
  const { input_tokens, output_tokens } = usageOf(answer)
  return costOf({ input_tokens, output_tokens })
}

const promptOf = (words: number, outputTokens: number): string =>
  `${'the '.repeat(words)}[[emulate output=${outputTokens}]]`

function usageOf(answer: unknown): { input_tokens: number; output_tokens: number } {
  if (typeof answer !== 'object' || answer === null || !('usage' in answer))
    throw new Error(`no usage in ${JSON.stringify(answer)}`)
  return Object.assign({ input_tokens: 0, output_tokens: 0 }, answer.usage)
}

async function caller(index: number, startAt: number): Promise<void> {
  for (;;) {
    const phase = phaseAt(clock.now(), { ...plan, startAt })
    if (!phase) return
    await call(index, phase).catch((error: unknown) => {
      report.failed++
      report.errors.push(String(error))
    })
  }
}

// Whoever has started it has gone.
process.on('disconnect', () => process.exit())
process.send?.('ready')
const [start] = await once(process, 'message')
const { startAt }: Start = start
// Not all at the same instant: the first calls of a process take it ten times as long as later ones.
await pause(Math.max(0, startAt - clock.now()) + random() * STARTS_WITHIN * plan.seconds * 1000)
await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index, startAt)))
await store.close()
await provider.close()
process.send?.(report, () => process.exit(0))
