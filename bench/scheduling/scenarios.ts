// The questions that the scheduling benchmark asks, each as agents, limits and what to look at.
import { VirtualClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { EmulatorOptions } from '../../src/emulator/emulator.ts'
import { type Contender, headgate, pQueue, sdk } from './contenders.ts'
import { type Discipline, idealWaits } from './ideal-line.ts'
import {
  type Agent,
  jain,
  percentile,
  type RunResult,
  refusals,
  runAgents,
  servedWhileAllAsked,
} from './run-agents.ts'
import { SimulatedAnthropic, serviceMs } from './simulated-anthropic.ts'

/** Any instant will do; a whole second makes headers easy to read. */
const START_AT = 1_795_000_000_000
const MINUTE_MS = 60_000

export type ContenderName = 'headgate' | 'headgate-blind' | 'sdk' | 'p-queue'

export interface Scenario {
  readonly name: string
  readonly agents: () => Agent[]
  readonly limits: { requests: number; inputTokens: number; outputTokens: number }
  readonly externalShare?: number
  readonly contenders: readonly ContenderName[]
  readonly seed: number
  /** Ends the run after so long; else it ends when all agents have. */
  readonly stopAfterMs?: number
  /** Measures use of the limit from here to the end. */
  readonly saturatedFromMs?: number
  /** Which ideal waits are compared with, and of which agents. */
  readonly ideal?: { readonly discipline: Discipline; readonly of: (name: string) => boolean }
}

export interface Figures {
  readonly contender: string
  readonly requests: number
  readonly answered: number
  readonly agents: number
  readonly crashedAgents: number
  readonly upstream429: number
  readonly upstream429Percent: number
  readonly makespanS: number | null
  readonly makespanRatio: number | null
  readonly jain: number
  readonly waitP50S: number
  readonly waitP99S: number
  readonly idealWaitP50S?: number
  readonly idealWaitP99S?: number
  readonly inputUsedPercent?: number
  readonly outputUsedPercent?: number
}

export async function measure(scenario: Scenario, name: ContenderName): Promise<Figures> {
  const clock = new VirtualClock(START_AT)
  const settings: EmulatorOptions = {
    limits: scenario.limits,
    externalShare: scenario.externalShare ?? 0,
  }
  const provider = new SimulatedAnthropic(clock, seededRandom(scenario.seed), settings)
  const contender = contenderOf(name, clock, provider, scenario.seed)
  const agents = scenario.agents()
  const uses = scenario.saturatedFromMs === undefined ? null : useFrom(scenario, clock, provider)
  const result = await runAgents(clock, contender, agents, scenario.stopAfterMs)
  const { requests, refused } = refusals(provider)
  const watched = scenario.ideal?.of ?? (() => true)
  const waits = result.agents.flatMap((agent) => (watched(agent.name) ? agent.waitsMs : []))
  const crashed = result.agents.filter(({ failed }) => failed > 0).length
  const isWhole = crashed === 0 && scenario.stopAfterMs === undefined
  return {
    contender: contender.name,
    requests,
    answered: result.agents.reduce((sum, { answered }) => sum + answered, 0),
    agents: agents.length,
    crashedAgents: crashed,
    upstream429: refused,
    upstream429Percent: round((100 * refused) / requests, 2),
    makespanS: isWhole ? round(result.makespanMs / 1000, 1) : null,
    makespanRatio: isWhole ? round(result.makespanMs / lowerBoundMs(scenario, provider), 4) : null,
    jain: round(jain(servedWhileAllAsked(result.agents)), 4),
    waitP50S: round(percentile(waits, 0.5) / 1000, 2),
    waitP99S: round(percentile(waits, 0.99) / 1000, 2),
    ...idealFigures(scenario),
    ...uses?.(),
  }
}

function contenderOf(
  name: ContenderName,
  clock: VirtualClock,
  provider: SimulatedAnthropic,
  seed: number,
): Contender {
  switch (name) {
    case 'headgate':
      return headgate(clock, seededRandom(seed), provider)
    case 'headgate-blind':
      return headgate(clock, seededRandom(seed), provider, { isBlind: true })
    case 'sdk':
      return sdk(provider, clock)
    case 'p-queue':
      return pQueue(sdk(provider, clock), 3)
  }
}

/**
 * No order of requests can end sooner: the input that a full bucket does not hold must be refilled
 * (what others took is gone), and no agent can be faster than its own steps.
 */
function lowerBoundMs(scenario: Scenario, provider: SimulatedAnthropic): number {
  const agents = scenario.agents()
  const steps = agents.map((agent) => [...{ [Symbol.iterator]: agent.steps }])
  const perMs = scenario.limits.inputTokens / MINUTE_MS
  const input = steps.flat().reduce((sum, { ask }) => sum + ask.work.inputTokens, 0)
  const lastOnes = steps.map((all) => serviceMs(all.at(-1)?.ask.work ?? noWork()))
  const shortest = lastOnes.reduce((a, b) => Math.min(a, b))
  const others = provider.externalTokens()
  const quota = (input + others - scenario.limits.inputTokens) / perMs + shortest
  const chains = steps.map((all, index) => {
    const sockets = agents[index]?.sockets ?? 1
    return all.reduce((sum, { ask, thinkMs }) => sum + thinkMs + serviceMs(ask.work), 0) / sockets
  })
  return chains.reduce((a, b) => Math.max(a, b), quota)
}

function noWork(): never {
  throw new Error('an agent without steps')
}

/** How much of the limits is used while there is always someone waiting. */
function useFrom(
  { limits, saturatedFromMs = 0 }: Scenario,
  clock: VirtualClock,
  provider: SimulatedAnthropic,
): () => Partial<Figures> {
  let before = { inputTokens: 0, outputTokens: 0 }
  const startAt = clock.now() + saturatedFromMs
  clock.schedule(startAt, () => {
    before = provider.report().totals
  })
  return () => {
    const after = provider.report().totals
    const minutes = (clock.now() - startAt) / MINUTE_MS
    const used = (amount: number, limit: number): number =>
      round((100 * amount) / minutes / limit, 1)
    return {
      inputUsedPercent: used(after.inputTokens - before.inputTokens, limits.inputTokens),
      outputUsedPercent: used(after.outputTokens - before.outputTokens, limits.outputTokens),
    }
  }
}

function idealFigures({ ideal, agents, limits }: Scenario): Partial<Figures> {
  if (!ideal) return {}
  const all = agents()
  const waits = idealWaits(all, limits.inputTokens, ideal.discipline).flatMap((own, index) =>
    ideal.of(all[index]?.name ?? '') ? own : [],
  )
  return {
    idealWaitP50S: round(percentile(waits, 0.5) / 1000, 2),
    idealWaitP99S: round(percentile(waits, 0.99) / 1000, 2),
  }
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

export type { RunResult }
