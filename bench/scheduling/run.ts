// node bench/scheduling/run.ts [--quick] [NAME…]: every scenario with every contender, on virtual time.
import type { Agent } from './run-agents.ts'
import { type ContenderName, type Figures, measure, type Scenario } from './scenarios.ts'
import { writeResults } from './table.ts'
import { codingSessions, openLoop, readTrace, tracesFolder } from './traces.ts'
import { elevenAgents, equalAgents, mixedAgent } from './workloads.ts'

const isQuick = process.argv.includes('--quick')
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const steps = isQuick ? 15 : 60
const entryTier = { requests: 50, inputTokens: 30_000, outputTokens: 8000 }
const everyone: readonly ContenderName[] = ['headgate', 'sdk', 'p-queue']
const MINUTE_MS = 60_000

const scenarios: Scenario[] = [
  {
    name: 'eleven agents on 30,000 input tokens a minute',
    agents: () => elevenAgents(steps),
    limits: entryTier,
    contenders: everyone,
    seed: 1,
    ideal: { discipline: 'first-come', of: () => true },
  },
  {
    name: 'the same, with somebody outside who takes a third',
    agents: () => elevenAgents(steps),
    limits: entryTier,
    externalShare: 1 / 3,
    contenders: everyone,
    seed: 2,
  },
  {
    name: 'eleven equal agents',
    agents: () => equalAgents(11, steps),
    limits: entryTier,
    contenders: everyone,
    seed: 3,
    ideal: { discipline: 'fair-shares', of: () => true },
  },
  {
    name: 'one agent with forty sockets beside ten polite ones (waits of the polite)',
    agents: () => greedyAndPolite(isQuick ? 8 : 30),
    limits: { requests: 100, inputTokens: 60_000, outputTokens: 100_000 },
    contenders: everyone,
    seed: 4,
    ideal: { discipline: 'fair-shares', of: (name) => name.startsWith('polite') },
  },
  {
    name: 'max_tokens 128,000 and short answers: use of the output limit',
    agents: () => shortAnswers(),
    limits: { requests: 1000, inputTokens: 2_000_000, outputTokens: 8000 },
    contenders: ['headgate', 'sdk'],
    seed: 5,
    stopAfterMs: (isQuick ? 10 : 30) * MINUTE_MS,
    saturatedFromMs: 3 * MINUTE_MS,
  },
  ...traceScenarios(),
]

function greedyAndPolite(count: number): Agent[] {
  const sizes = { inputTokens: [500, 4000] as const, outputMedian: 150 }
  const polite = Array.from({ length: 10 }, (_, index) =>
    mixedAgent({ name: `polite-${index + 1}`, seed: 400 + index, steps: count, ...sizes }),
  )
  // Drawn by all its sockets in turn, so that it outlasts the others.
  const greedy = mixedAgent({ name: 'greedy', seed: 499, steps: count * 3, sockets: 40, ...sizes })
  return [greedy, ...polite]
}

function shortAnswers(): Agent[] {
  return Array.from({ length: 40 }, (_, index) =>
    mixedAgent({
      name: `agent-${index + 1}`,
      seed: 500 + index,
      steps: 1000,
      maxTokens: 128_000,
      inputTokens: [500, 3000],
      outputMedian: 200,
    }),
  )
}

function traceScenarios(): Scenario[] {
  const folder = tracesFolder()
  if (!folder) return []
  return [
    {
      name: 'recorded Claude Code sessions, closed loop, 96 % of input cached',
      agents: () => codingSessions(readTrace(folder, 'claude-code-sessions.closed-loop'), 60, 6),
      limits: { requests: 1000, inputTokens: 150_000, outputTokens: 400_000 },
      contenders: ['headgate', 'headgate-blind', 'sdk'],
      seed: 6,
      // Between these everybody's sessions have begun and few have ended: somebody always waits.
      stopAfterMs: (isQuick ? 25 : 45) * MINUTE_MS,
      saturatedFromMs: 12 * MINUTE_MS,
    },
    {
      name: 'azure-code-2023: bursts, open loop',
      agents: () =>
        openLoop(readTrace(folder, 'azure-code-2023').slice(0, isQuick ? 1500 : 7015), 7),
      limits: { requests: 1000, inputTokens: 500_000, outputTokens: 100_000 },
      contenders: everyone,
      seed: 7,
      ideal: { discipline: 'first-come', of: () => true },
    },
    {
      name: 'servegen-deepseek-r1: unequal clients, open loop, two minutes',
      agents: () =>
        openLoop(
          readTrace(folder, 'servegen-deepseek-r1.sampled').filter(
            (row) => Number(row.t_ms) < (isQuick ? 0.5 : 2) * MINUTE_MS,
          ),
          8,
        ),
      limits: { requests: 4000, inputTokens: 1_000_000, outputTokens: 3_000_000 },
      contenders: everyone,
      seed: 8,
    },
  ]
}

const results: { scenario: string; figures: Figures[] }[] = []
for (const scenario of scenarios) {
  if (wanted.length > 0 && !wanted.some((word) => scenario.name.includes(word))) continue
  const figures: Figures[] = []
  for (const contender of scenario.contenders) {
    const startedAt = performance.now()
    figures.push(await measure(scenario, contender))
    const tookS = ((performance.now() - startedAt) / 1000).toFixed(1)
    process.stderr.write(`${scenario.name} · ${JSON.stringify(figures.at(-1))} (${tookS} s)\n`)
  }
  results.push({ scenario: scenario.name, figures })
}
if (wanted.length === 0) writeResults(results, isQuick)
