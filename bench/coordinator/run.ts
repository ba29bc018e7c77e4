// Measures the coordinator with thousands of clients that wait for leases: memory for each, processor time
// while nothing happens, and how soon after a release the next one hears of its turn.
// Usage: npm run build && node bench/coordinator/run.ts [--quick]
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHistogram } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { Pool } from 'undici'
import { startRedis } from '../../tests/servers/redis.ts'
import { cpuTimeUs, residentBytes } from '../http/process-figures.ts'
import {
  describeSetting,
  markdownTable,
  type Setting,
  say,
  writeResults,
  writeSection,
} from '../report.ts'
import { Crowd, type Granted, type Hearing } from './crowd.ts'

interface Round {
  readonly store: string
  readonly hearing: Hearing
  readonly waiting: number
  readonly bytesPerWaiter: number
  /** Of one core, while everybody waits and nothing happens. */
  readonly idleCpuPercent: number
  readonly grantP50Ms: number
  readonly grantP99Ms: number
}

interface CoordinatorResults extends Setting {
  readonly rounds: readonly Round[]
}

const GRANT_P99_MS_BAR = 5
const SLOTS = 20
const PAUSE_BETWEEN_RELEASES_MS = 5

const isQuick = process.argv.includes('--quick')
const waiting = isQuick ? 500 : 5000
const releases = isQuick ? 200 : 2000
const idleMs = isQuick ? 2000 : 15_000

const redis = await startRedis()
const rounds: Round[] = []
for (const [store, url] of [
  ['memory', 'memory'],
  ['redis', redis.url],
] as const)
  for (const hearing of ['answer', 'events'] as const)
    rounds.push(await measure(store, url === 'memory' ? url : `${url}?prefix=${hearing}`, hearing))
await redis.stop()
const results: CoordinatorResults = {
  ...describeSetting(`node bench/coordinator/run.ts${isQuick ? ' --quick' : ''}`),
  rounds,
}
if (!isQuick) writeResults('coordinator', results)
say(render(results))
if (!isQuick) writeSection('coordinator', render(results))

async function measure(store: string, storeUrl: string, hearing: Hearing): Promise<Round> {
  const { url, child } = await startGate(storeUrl)
  const pid = child.pid ?? 0
  try {
    const crowd = new Crowd(url, hearing)
    const held: Granted[] = []
    crowd.onGranted = (granted) => held.push(granted)
    await crowd.join(SLOTS)
    while (held.length < SLOTS) await pause(5)
    await pause(1000)
    const before = residentBytes(pid)
    await crowd.join(waiting)
    await pause(3000)
    const bytesPerWaiter = (residentBytes(pid) - before) / waiting
    const idleFrom = cpuTimeUs(pid)
    await pause(idleMs)
    const idleCpuPercent = ((cpuTimeUs(pid) - idleFrom) / (idleMs * 1000)) * 100
    const { p50, p99 } = await releaseOneByOne(crowd, url, held)
    crowd.onFailed = () => {}
    crowd.leave()
    return {
      store,
      hearing,
      waiting,
      bytesPerWaiter,
      idleCpuPercent,
      grantP50Ms: p50,
      grantP99Ms: p99,
    }
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

/** From the moment before a release is sent to the first byte that the next client hears. */
async function releaseOneByOne(
  crowd: Crowd,
  url: URL,
  held: Granted[],
): Promise<{ p50: number; p99: number }> {
  const pool = new Pool(url.origin, { connections: 1 })
  const micros = createHistogram()
  for (let count = 0; count < releases; count++) {
    const lease = held.shift()
    if (!lease) throw new Error('nobody holds a lease')
    const next = new Promise<Granted>((resolve) => {
      crowd.onGranted = resolve
    })
    const from = performance.now()
    const released = pool.request({ method: 'DELETE', path: `/headgate/v1/leases/${lease.id}` })
    const granted = await next
    micros.record(Math.max(1, Math.round((granted.at - from) * 1000)))
    held.push(granted)
    const { statusCode, body } = await released
    await body.dump()
    if (statusCode !== 204) throw new Error(`a release was answered with ${statusCode}`)
    await pause(PAUSE_BETWEEN_RELEASES_MS)
  }
  await pool.close()
  return { p50: micros.percentile(50) / 1000, p99: micros.percentile(99) / 1000 }
}

async function startGate(store: string): Promise<{ url: URL; child: ChildProcess }> {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-bench-'))
  const config = join(folder, 'headgate.yaml')
  writeFileSync(config, `resources:\n  slots: { concurrency: ${SLOTS} }\n`)
  const program = join(import.meta.dirname, '../../bin/headgate.js')
  const flags = ['--config', config, '--port', '0', '--store', store, '--ledger', 'off']
  const child = spawn(process.execPath, [program, ...flags, '--log-format', 'json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, url }: { event?: string; url?: string } = JSON.parse(line)
    if (event !== 'gate.listening' || url === undefined) continue
    rmSync(folder, { recursive: true })
    child.stdout.resume()
    return { url: new URL(url), child }
  }
  throw new Error('the gate did not start')
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function render({ command, date, node, machine, loadAverage, rounds: found }: CoordinatorResults) {
  const rows = found.map((round) => [
    `${round.store}, ${round.hearing === 'answer' ? 'the plain answer' : 'events'}`,
    `${round.waiting}`,
    `${(round.bytesPerWaiter / 1024).toFixed(1)} KB`,
    `${round.idleCpuPercent.toFixed(1)} %`,
    `${round.grantP50Ms.toFixed(2)} ms`,
    `${round.grantP99Ms.toFixed(2)} ms`,
    round.grantP99Ms <= GRANT_P99_MS_BAR ? 'met' : '**missed**',
  ])
  return [
    `\`${command}\`, ${date}, Node ${node}, ${machine},`,
    `load average before ${loadAverage.toFixed(1)}. ${releases} releases for each row.`,
    '',
    markdownTable([
      [
        'store, and how clients hear',
        'waiting clients',
        'memory for each',
        'processor while nothing happens',
        'grant after a release, p50',
        'p99',
        `p99 ≤ ${GRANT_P99_MS_BAR} ms`,
      ],
      ...rows,
    ]),
  ].join('\n')
}
