// Measures the gate in process: what a turn costs in time, and an idle key in memory.
// Usage: node bench/gate/run.ts [--quick]
import {
  describeSetting,
  installedVersion,
  installPeers,
  markdownTable,
  median,
  type Setting,
  say,
  writeResults,
  writeSection,
} from '../report.ts'
import {
  bottleneck,
  type Contender,
  headgateGate,
  headgateStore,
  headgateWithWaiting,
  rateLimiterFlexible,
} from './contenders.ts'
import { type KeyMemory, measureMemory } from './memory.ts'

interface TurnTime {
  readonly what: string
  /** Taking a turn and settling it, the median of the rounds. */
  readonly nsPerTurn: number
}

interface GateResults extends Setting {
  readonly peers: Readonly<Record<string, string>>
  readonly turns: readonly TurnTime[]
  readonly memory: readonly KeyMemory[]
}

const NS_PER_TURN_BAR = 2000
/** How much dearer a turn may be beside 100,000 waiting than beside 10: the walk down a heap. */
const FLATNESS_BAR = 2
const BYTES_PER_IDLE_KEY_BAR = 250
const ROUND_MS = 150

const isQuick = process.argv.includes('--quick')
installPeers()
const results: GateResults = {
  ...describeSetting(`node bench/gate/run.ts${isQuick ? ' --quick' : ''}`),
  peers: {
    'rate-limiter-flexible': installedVersion('rate-limiter-flexible'),
    bottleneck: installedVersion('bottleneck'),
  },
  turns: await measureTurns(isQuick ? 5 : 25),
  memory: await measureMemory(),
}
writeResults('gate', results)
writeSection('gate', render(results))
say(render(results))
process.exit()

async function measureTurns(rounds: number): Promise<TurnTime[]> {
  const contenders: Contender[] = [
    headgateGate(),
    await headgateStore(),
    await headgateWithWaiting(10),
    await headgateWithWaiting(1000),
    await headgateWithWaiting(100_000),
    rateLimiterFlexible(),
    bottleneck(),
  ]
  const sizes: number[] = []
  for (const contender of contenders) sizes.push(await turnsPerRound(contender))
  const times = contenders.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [at, contender] of contenders.entries())
      times[at]?.push(await nsPerTurn(contender, sizes[at] ?? 1))
  }
  for (const contender of contenders) contender.close?.()
  return contenders.map(({ name }, at) => ({ what: name, nsPerTurn: median(times[at] ?? []) }))
}

/** Warms up, and finds how many turns fill a round. */
async function turnsPerRound(contender: Contender): Promise<number> {
  let turns = 100
  for (;;) {
    const roundMs = (turns * (await nsPerTurn(contender, turns))) / 1e6
    if (roundMs >= ROUND_MS) return turns
    turns *= 2
  }
}

async function nsPerTurn(contender: Contender, turns: number): Promise<number> {
  const startedAt = performance.now()
  await contender.run(turns)
  return ((performance.now() - startedAt) * 1e6) / turns
}

function render(results: GateResults): string {
  const peers = Object.entries(results.peers).map((peer) => peer.join(' '))
  return [
    `\`${results.command}\`, ${results.date}, Node ${results.node}, ${results.machine},`,
    `load average before ${results.loadAverage.toFixed(1)}. Peers: ${peers.join('; ')}.`,
    '',
    markdownTable([['take a turn and settle it', 'bar', 'time', 'verdict'], ...turnRows(results)]),
    '',
    markdownTable([['memory', 'bar', 'bytes', 'verdict'], ...memoryRows(results)]),
  ].join('\n')
}

function turnRows(results: GateResults): string[][] {
  const few = nsOf(results, 'Headgate, 10 waiting')
  return results.turns.map(({ what, nsPerTurn }) => {
    const time =
      nsPerTurn < 10_000 ? `${nsPerTurn.toFixed(0)} ns` : `${(nsPerTurn / 1000).toFixed(0)} µs`
    if (what === 'Headgate, memory store')
      return [what, `≤ ${NS_PER_TURN_BAR} ns`, time, verdict(nsPerTurn <= NS_PER_TURN_BAR)]
    if (what !== 'Headgate, 100,000 waiting') return [what, '–', time, '–']
    const bar = `≤ ${FLATNESS_BAR} × that beside 10`
    return [what, bar, time, verdict(nsPerTurn <= FLATNESS_BAR * few)]
  })
}

function nsOf(results: GateResults, what: string): number {
  return results.turns.find((turn) => turn.what === what)?.nsPerTurn ?? Number.NaN
}

function memoryRows(results: GateResults): string[][] {
  return results.memory.map(({ what, bytesPerKey }) => {
    const bytes = bytesPerKey.toFixed(0)
    if (!what.startsWith('Headgate, per idle')) return [what, '–', bytes, '–']
    const isMet = bytesPerKey <= BYTES_PER_IDLE_KEY_BAR
    return [what, `≤ ${BYTES_PER_IDLE_KEY_BAR}`, bytes, verdict(isMet)]
  })
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : '**missed**'
}
