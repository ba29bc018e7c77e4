// Measures the ledger: settled requests, durable, and what a reservation adds to a request's latency.
// Usage: node bench/ledger/run.ts [--quick]
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  describeSetting,
  markdownTable,
  median,
  type Setting,
  say,
  writeResults,
  writeSection,
} from '../report.ts'
import type { Finding, Load } from './load.ts'

interface LedgerResults extends Setting {
  readonly oneProcess: number
  readonly fourProcesses: number
  readonly reserveP50Ms: number
  readonly reserveP99Ms: number
}

const SETTLED_PER_SECOND_BAR = 5000
const ADDED_P50_MS_BAR = 1
const CALLERS = 64
const OPEN_LOOP_PER_SECOND = 200

const isQuick = process.argv.includes('--quick')
const [rounds, roundMs] = isQuick ? [1, 2000] : [5, 4000]
const latency = await run(1, { kind: 'open', perSecond: OPEN_LOOP_PER_SECOND, ms: roundMs * 2 })
const results: LedgerResults = {
  ...describeSetting(`node bench/ledger/run.ts${isQuick ? ' --quick' : ''}`),
  oneProcess: await settledPerSecond(1),
  fourProcesses: await settledPerSecond(4),
  reserveP50Ms: latency[0]?.p50Ms ?? Number.NaN,
  reserveP99Ms: latency[0]?.p99Ms ?? Number.NaN,
}
writeResults('ledger', results)
say(render(results))
writeSection('ledger', render(results))

/** The median of the rounds; the callers are shared out among the processes. */
async function settledPerSecond(processes: number): Promise<number> {
  const found: number[] = []
  for (let round = 0; round < rounds; round++) {
    const load = { kind: 'closed', callers: CALLERS / processes, ms: roundMs } as const
    const findings = await run(processes, load)
    found.push(findings.reduce((sum, { perSecond }) => sum + perSecond, 0))
  }
  return median(found)
}

/** Processes upon one new file, all loaded at once. */
async function run(processes: number, load: Load): Promise<Finding[]> {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-bench-'))
  const file = join(folder, 'ledger.db')
  const findings = Array.from({ length: processes }, () => findingOf(file, load))
  const all = await Promise.all(findings)
  rmSync(folder, { recursive: true })
  return all
}

function findingOf(file: string, load: Load): Promise<Finding> {
  return new Promise((resolve, reject) => {
    const child = fork(join(import.meta.dirname, 'load.ts'), [file, JSON.stringify(load)])
    child.on('message', (finding: Finding) => resolve(finding))
    child.on('exit', (code) => {
      if (code !== 0) reject(new Error(`a process of the load ended with ${code}`))
    })
  })
}

function render(found: LedgerResults): string {
  const settled = (perSecond: number): string => `${Math.round(perSecond)} /s`
  const bar = `≥ ${SETTLED_PER_SECOND_BAR} /s`
  return [
    `\`${found.command}\`, ${found.date}, Node ${found.node}, ${found.machine},`,
    `load average before ${found.loadAverage.toFixed(1)}.`,
    '',
    markdownTable([
      ['SQLite ledger, durable, with a budget', 'bar', 'measured', 'verdict'],
      [
        `reserved and settled, ${CALLERS} callers in one process`,
        bar,
        settled(found.oneProcess),
        verdict(found.oneProcess >= SETTLED_PER_SECOND_BAR),
      ],
      [
        `reserved and settled, ${CALLERS} callers in four processes`,
        '–',
        settled(found.fourProcesses),
        '–',
      ],
      [
        `added to a request at ${OPEN_LOOP_PER_SECOND}/s, p50 / p99`,
        `p50 ≤ ${ADDED_P50_MS_BAR} ms`,
        `${found.reserveP50Ms.toFixed(2)} / ${found.reserveP99Ms.toFixed(2)} ms`,
        verdict(found.reserveP50Ms <= ADDED_P50_MS_BAR),
      ],
    ]),
  ].join('\n')
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : '**missed**'
}
