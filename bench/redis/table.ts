// The results as tables, with their bars. Must not know: how anything is measured.
import { markdownTable, type Setting } from '../report.ts'
import type { Memory } from './memory.ts'
import type { ReleaseLatency } from './release-latency.ts'
import type { RoundTrips } from './round-trips.ts'
import type { Comparison, TurnCost } from './throughput.ts'
import type { Tries } from './tries.ts'

export interface RedisResults extends Setting {
  readonly server: string
  readonly peers: Readonly<Record<string, string>>
  readonly throughput: readonly Comparison[]
  readonly others: readonly { readonly what: string; readonly cost: TurnCost }[]
  readonly roundTrips: RoundTrips
  readonly tries: { readonly headgate: Tries; readonly polling: Tries }
  readonly release: ReleaseLatency
  readonly memory: Memory
}

const OF_CEILING_BAR = 0.6
const TRIES_BAR = 2
const RELEASE_P99_BAR_MS = 2

export function render(results: RedisResults): string {
  const peers = Object.entries(results.peers).map((peer) => peer.join(' '))
  return [
    `\`${results.command}\`, ${results.date}, Node ${results.node}, ${results.machine},`,
    `load average before ${results.loadAverage.toFixed(1)}, the server on a core of its own. ` +
      `Redis ${results.server}. Peers: ${peers.join('; ')}.`,
    '',
    markdownTable([
      [
        'a turn: enqueue and settle',
        'server CPU',
        'its scripts',
        'commands inside',
        'scripts / commands',
        'turns/s of a core',
        'of the ceiling',
        'bar',
        'verdict',
      ],
      ...results.throughput.flatMap(comparisonRows),
      ...results.others.map(({ what, cost }) => [what, ...costCells(cost), '–', '–', '–']),
    ]),
    '',
    markdownTable([['what', 'bar', 'measured', 'verdict'], ...otherRows(results)]),
  ].join('\n')
}

function comparisonRows({ what, headgate, ceiling, ofCeiling }: Comparison): string[][] {
  const bar = [`≥ ${percent(OF_CEILING_BAR)}`, verdict(ofCeiling >= OF_CEILING_BAR)]
  return [
    [`Headgate, ${what}`, ...costCells(headgate), percent(ofCeiling), ...bar],
    ['its ceiling', ...costCells(ceiling), '–', '–', '–'],
  ]
}

function costCells({ cpuUs, scriptUs, insideUs, scripts, calls }: TurnCost): string[] {
  const perSecond = Math.round(1e6 / cpuUs).toLocaleString('en')
  const counts = `${scripts.toFixed(1)} / ${calls.toFixed(1)}`
  return [...[cpuUs, scriptUs, insideUs].map((us) => `${us.toFixed(1)} µs`), counts, perSecond]
}

function otherRows({ roundTrips, tries, release, memory }: RedisResults): string[][] {
  const besides = besidesOwn(tries.headgate) / tries.headgate.grants
  const { keysLeft, expiredAfterMs } = memory
  return [
    [
      'round trips an operation',
      '1',
      roundTrips.perOperation.toFixed(3),
      verdict(Math.round(roundTrips.perOperation * 100) === 100),
    ],
    [
      `calls a grant besides its enqueue and settle, ${tries.headgate.processes} processes`,
      `≤ ${TRIES_BAR}`,
      `${besides.toFixed(2)} (${sentText(tries.headgate)})`,
      verdict(besides <= TRIES_BAR),
    ],
    ['the same with the enqueue', '–', (besides + 1).toFixed(2), '–'],
    [
      'rate-limiter-flexible, retried when it says: tries a grant',
      '–',
      (besidesOwn(tries.polling) / tries.polling.grants).toFixed(2),
      '–',
    ],
    [
      `grant in another process after a release, p50 / p99 of ${release.releases}`,
      `p99 ≤ ${RELEASE_P99_BAR_MS} ms`,
      `${release.p50Ms.toFixed(2)} / ${release.p99Ms.toFixed(2)} ms`,
      verdict(release.p99Ms <= RELEASE_P99_BAR_MS),
    ],
    ...memory.bytes.map(({ what, bytesEach }) => [what, '–', `${bytesEach.toFixed(0)} bytes`, '–']),
    [
      `keys left of ${memory.subjects.toLocaleString('en')} idle subjects`,
      '0',
      `${keysLeft} after ${(expiredAfterMs / 1000).toFixed(1)} s`,
      verdict(keysLeft === 0),
    ],
  ]
}

function besidesOwn({ sent }: Tries): number {
  const others = Object.entries(sent).filter(([name]) => name !== 'enqueue' && name !== 'settle')
  return others.reduce((sum, [, count]) => sum + count, 0)
}

/** What is not about any turn: signs of life, and who is there. */
function sentText({ sent, grants }: Tries): string {
  const { enqueue: _, settle: __, pump = 0, ...signsOfLife } = sent
  const others = Object.values(signsOfLife).reduce((sum, count) => sum + count, 0)
  return `pumps ${(pump / grants).toFixed(2)}, signs of life ${(others / grants).toFixed(2)}`
}

const percent = (part: number): string => `${Math.round(part * 100)} %`

const verdict = (isMet: boolean): string => (isMet ? 'met' : '**missed**')
