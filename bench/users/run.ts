// node bench/users/run.ts: what one greedy user costs the others, and what a tier's lane is worth, on
// virtual time: the dispatch, gate and estimators of the gateway before a simulated provider.
import { VirtualClock } from '../../src/core/clock.ts'
import type { Lane } from '../../src/core/lane.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { SubjectRules, Tier } from '../../src/policy/subject.ts'
import { describeSetting, markdownTable, writeResults, writeSection } from '../report.ts'
import { headgate } from '../scheduling/contenders.ts'
import { type Agent, percentile, runAgents } from '../scheduling/run-agents.ts'
import { SimulatedAnthropic } from '../scheduling/simulated-anthropic.ts'
import { mixedAgent } from '../scheduling/workloads.ts'

const START_AT = 1_795_000_000_000
const MINUTE_MS = 60_000
const RUN_MS = 60 * MINUTE_MS
const LIMITS = { requests: 600, inputTokens: 300_000, outputTokens: 100_000 }
const SEEDS = [1, 2, 3]
/** Nobody runs out of work before the end. */
const STEPS = 100_000

const user = (name: string, seed: number, sockets: number): Agent =>
  mixedAgent({ name, seed, steps: STEPS, sockets, inputTokens: [500, 4000], outputMedian: 150 })

const polite = (seed: number): Agent[] =>
  Array.from({ length: 9 }, (_, index) => user(`polite-${index + 1}`, seed * 100 + index, 40))

const greedy = (seed: number): Agent => user('greedy', seed * 100 + 99, 200)

function tier(name: string, lane: Lane): Tier {
  return {
    name,
    lane,
    weight: 1,
    limits: [],
    shadowLimits: [],
    maxTokensPerRequest: null,
    shadowMaxTokensPerRequest: null,
    budgets: [],
    routes: [],
    allowedModels: null,
    overflow: 'reject',
  }
}

const RULES: SubjectRules = {
  tiers: new Map([
    ['free', tier('free', 'low')],
    ['premium', tier('premium', 'high')],
  ]),
  defaultTier: 'free',
  users: new Map([['premium', { tier: 'premium', team: null }]]),
  teams: new Map(),
  keys: [],
  warnAt: [],
}

/** How long the users waited whose name begins so, in seconds. */
async function waitsOf(agents: readonly Agent[], names: string, seed: number): Promise<number[]> {
  const clock = new VirtualClock(START_AT)
  const random = seededRandom(seed)
  const provider = new SimulatedAnthropic(clock, random, { limits: LIMITS })
  const gate = headgate(clock, random, provider, { rules: RULES })
  const { agents: results } = await runAgents(clock, gate, agents, RUN_MS)
  gate.dispatcher.abortAll()
  return results
    .filter(({ name }) => name.startsWith(names))
    .flatMap(({ waitsMs }) => waitsMs)
    .map((ms) => ms / 1000)
}

const rounded = (seconds: number): number => Math.round(seconds * 100) / 100

const rows = []
for (const seed of SEEDS) {
  const alone = await waitsOf(polite(seed), 'polite', seed)
  const beside = await waitsOf([greedy(seed), ...polite(seed)], 'polite', seed)
  const premium = [...polite(seed), greedy(seed), user('premium', seed * 100 + 50, 4)]
  const first = await waitsOf(premium, 'premium', seed)
  const row = {
    seed,
    requests: beside.length,
    aloneP50S: rounded(percentile(alone, 0.5)),
    aloneP99S: rounded(percentile(alone, 0.99)),
    besideP50S: rounded(percentile(beside, 0.5)),
    besideP99S: rounded(percentile(beside, 0.99)),
    ratio: rounded(percentile(beside, 0.99) / percentile(alone, 0.99)),
    premiumP50S: rounded(percentile(first, 0.5)),
    premiumP99S: rounded(percentile(first, 0.99)),
    premiumRequests: first.length,
  }
  process.stdout.write(`${JSON.stringify(row)}\n`)
  rows.push(row)
}
const results = { ...describeSetting('node bench/users/run.ts'), limits: LIMITS, rows }
writeResults('users', results)
const table = markdownTable([
  [
    'seed',
    'wait of the nine, p50 / p99',
    'beside the tenth, p50 / p99',
    'p99 ratio (bar ≤ 1.2)',
    'in the lane `high`, p50 / p99',
  ],
  ...rows.map((row) => [
    String(row.seed),
    `${row.aloneP50S} / ${row.aloneP99S} s`,
    `${row.besideP50S} / ${row.besideP99S} s`,
    String(row.ratio),
    `${row.premiumP50S} / ${row.premiumP99S} s`,
  ]),
])
writeSection('users', `\`${results.command}\`, ${results.date}, Node ${results.node}.\n\n${table}`)
