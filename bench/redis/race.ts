// node bench/redis/race.ts [--processes 50] [--seconds 60] [--kill] [--stop]: processes that race for
// one quota on one Redis, judged by the gate's journal and by the provider's own log.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { realClock } from '../../src/core/clock.ts'
import { connect } from '../../src/stores/redis/connection.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { startRedis } from '../../tests/servers/redis.ts'
import { describeSetting, markdownTable, say, writeResults } from '../report.ts'
import { readJournal, withJournal } from './race-journal.ts'
import {
  LEASE_MS,
  PHASES,
  RESOURCE,
  SLOW_FACTOR,
  type Start,
  settingsFor,
  type WorkerPlan,
} from './race-plan.ts'
import type { ProviderLog } from './race-provider.ts'
import { judge, type Troubles, tableOf, type Verdict } from './race-verdict.ts'
import type { WorkerReport } from './race-worker.ts'

const KILL_EVERY_MS = 1000
const STOP_EVERY_MS = 2000
const STOPPED_FOR_MS = 1.6 * LEASE_MS
/** Everybody's turn must come within this after the end. */
const DRAIN_MS = 30_000

const { values } = parseArgs({
  options: {
    processes: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '60' },
    kill: { type: 'boolean', default: false },
    stop: { type: 'boolean', default: false },
  },
})
const processes = Number(values.processes)
const seconds = Number(values.seconds)
const clock = realClock()

interface Worker {
  readonly name: string
  readonly child: ChildProcess
  readonly ready: Promise<void>
  /** With its report, or null when it was ended. */
  readonly ended: Promise<WorkerReport | null>
  isStopped: boolean
}

function start(file: string, ...args: string[]): ChildProcess {
  return fork(path.join(import.meta.dirname, file), args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}

async function startProvider() {
  const child = start('race-provider.ts')
  const [{ port }] = await once(child, 'message')
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    slowDown: () =>
      fetch(`${url}/emulator/faults`, {
        method: 'POST',
        body: JSON.stringify({ slowFactor: SLOW_FACTOR }),
      }),
    async stop(): Promise<ProviderLog> {
      child.send('log')
      const [log] = await once(child, 'message')
      child.kill()
      return log
    },
  }
}

function startWorker(): Worker {
  const name = `w${count++}`
  const child = start('race-worker.ts', JSON.stringify({ ...plan, name }))
  const { promise, resolve } = Promise.withResolvers<WorkerReport | null>()
  const ready = Promise.withResolvers<void>()
  child.on('message', (message: WorkerReport | 'ready') => {
    if (message === 'ready') ready.resolve()
    else resolve(message)
  })
  child.on('exit', () => {
    resolve(null)
    ready.reject(new Error(`${name} has ended before the race`))
  })
  ready.promise.catch(() => {})
  return { name, child, ended: promise, ready: ready.promise, isStopped: false }
}

let count = 0
const redis = await startRedis({ args: ['--slowlog-log-slower-than', '5000'] })
const provider = await startProvider()
const judgeStore = await openJudge()
// Its first operation gives the server the program.
await judgeStore.renew(RESOURCE, 'judge', LEASE_MS)
const plan: Omit<WorkerPlan, 'name'> = { redisPort: redis.port, providerUrl: provider.url, seconds }
say(`${processes} processes start`)
const workers = await startWorkers(processes)
// Ready before the race: to start a process takes a machine more than all that it does in the race.
const spares = await startWorkers(values.kill ? Math.ceil((seconds * 1000) / KILL_EVERY_MS) : 0)
say('the race begins')
const startAt = Date.now() + 1000
for (const { child } of workers) child.send({ startAt } satisfies Start)
const everyone = [...workers]
const endAt = startAt + seconds * 1000
const killed: { name: string; at: number }[] = []
const stopped: { name: string; from: number; to: number }[] = []

await pause(startAt - Date.now())
const slowAt = startAt + (seconds * 1000 * (PHASES.length - 1)) / PHASES.length
const slowed = pause(slowAt - Date.now()).then(() => provider.slowDown())
await Promise.all([
  values.kill && killSome(),
  values.stop && stopSome(),
  pause(endAt - Date.now()),
  slowed,
])
const reports = await drained()
for (const { child } of spares) child.kill()
const snapshot = await lastSnapshot()
const client = new Redis(redis.port)
const slowestOperationMs = await slowest(client)
const journal = await readJournal(client, RESOURCE)
client.disconnect()
const log = await provider.stop()
await redis.stop()

const verdict = judge({
  plan: { ...plan, startAt },
  journal,
  log,
  reports,
  killed,
  stopped,
  snapshot,
  slowestOperationMs,
})
const mode = [values.kill && 'kill', values.stop && 'stop'].filter(Boolean).join('+') || 'plain'
say(markdownTable(tableOf(verdict)))
save(mode, verdict)
if (verdict.failures.length > 0) {
  say(`FAILED: ${verdict.failures.join('; ')}`)
  process.exitCode = 1
}

/** A few at a time: they are slow to start. */
async function startWorkers(wanted: number): Promise<Worker[]> {
  const all: Worker[] = []
  while (all.length < wanted) {
    const some = Array.from({ length: Math.min(5, wanted - all.length) }, startWorker)
    all.push(...some)
    await Promise.all(some.map(({ ready }) => ready))
  }
  return all
}

function any(): Worker | undefined {
  const fit = workers.filter(({ isStopped }) => !isStopped)
  return fit[Math.floor(Math.random() * fit.length)]
}

async function killSome(): Promise<void> {
  while (Date.now() + 2 * KILL_EVERY_MS < endAt) {
    await pause(KILL_EVERY_MS)
    const victim = any()
    if (!victim) continue
    victim.child.kill('SIGKILL')
    killed.push({ name: victim.name, at: Date.now() })
    const next = spares.shift()
    if (!next) return
    next.child.send({ startAt } satisfies Start)
    workers.splice(workers.indexOf(victim), 1, next)
    everyone.push(next)
  }
}

async function stopSome(): Promise<void> {
  const pauses: Promise<void>[] = []
  while (Date.now() + STOP_EVERY_MS < endAt) {
    await pause(STOP_EVERY_MS)
    const victim = any()
    if (victim) pauses.push(stopOne(victim))
  }
  await Promise.all(pauses)
}

async function stopOne(victim: Worker): Promise<void> {
  victim.isStopped = true
  victim.child.kill('SIGSTOP')
  const from = Date.now()
  await pause(STOPPED_FOR_MS)
  victim.child.kill('SIGCONT')
  stopped.push({ name: victim.name, from, to: Date.now() })
  victim.isStopped = false
}

/** Those that ended by themselves have told; of killed ones nothing is known. */
async function drained(): Promise<readonly (WorkerReport | 'stuck')[]> {
  const gone = new Set(killed.map(({ name }) => name))
  const alive = everyone.filter(({ name }) => !gone.has(name))
  return await Promise.all(
    alive.map(async ({ child, ended }) => {
      const report = await Promise.race([ended, pause(DRAIN_MS, null)])
      if (report) return report
      child.kill('SIGKILL')
      return 'stuck' as const
    }),
  )
}

/** Its store, to look at the gate without taking part. */
async function openJudge(): Promise<RedisStore> {
  const connection = await connect({
    kind: 'redis',
    host: '127.0.0.1',
    port: redis.port,
    db: 0,
    tls: false,
    user: null,
    password: null,
    prefix: RESOURCE,
    shown: 'redis',
  })
  return await RedisStore.open({
    failed: (error) => {
      throw error
    },
    connection,
    clock,
    settingsOf: () => settingsFor(seconds),
    instance: 'judge',
    leaseMs: LEASE_MS,
    scripts: withJournal(),
  })
}

/** What is left when everybody has gone, and the last dead process's time is over. */
async function lastSnapshot(): Promise<Troubles['snapshot']> {
  await pause(2 * LEASE_MS)
  const { inFlight, queued } = (await judgeStore.snapshot())[0] ?? { inFlight: 0, queued: 0 }
  await judgeStore.close()
  return { inFlight, queued }
}

/** Of the slow ones that it remembers; the journal is read after this. */
async function slowest(client: Redis): Promise<number> {
  const entries = await client.call('SLOWLOG', 'GET', '1000')
  if (!Array.isArray(entries)) return 0
  return entries.reduce((most: number, [, , micros]) => Math.max(most, Number(micros) / 1000), 0)
}

/** One file for all modes: each run replaces its own. */
function save(name: string, result: Verdict): void {
  const file = path.join(import.meta.dirname, '../results/race.json')
  const before: object = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  const words = [`--processes ${processes}`, `--seconds ${seconds}`]
  if (values.kill) words.push('--kill')
  if (values.stop) words.push('--stop')
  const setting = describeSetting(`node bench/redis/race.ts ${words.join(' ')}`)
  writeResults('race', { ...before, [name]: { ...setting, ...result } })
}
