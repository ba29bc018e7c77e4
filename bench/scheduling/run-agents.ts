// Closed-loop agents on virtual time: each asks, waits for the answer, thinks, and asks again.
// Owns: driving the clock, and the figures of a run.
import type { VirtualClock } from '../../src/core/clock.ts'
import { type Ask, type Contender, onVirtualTimers } from './contenders.ts'
import { type SimulatedAnthropic, serviceMs } from './simulated-anthropic.ts'

export interface Step {
  readonly ask: Ask
  /** From the answer before, or from the start, to this request. */
  readonly thinkMs: number
}

export interface Agent {
  readonly name: string
  /** Made one by one, since long conversations take memory. */
  readonly steps: () => Iterator<Step>
  /** How many requests it may have under way at once. */
  readonly sockets?: number
}

export interface AgentResult {
  readonly name: string
  answered: number
  failed: number
  finishedAt: number
  readonly waitsMs: number[]
  /** Counted input that was answered, by the instant of the answer's begin. */
  readonly served: { readonly at: number; readonly tokens: number }[]
}

export interface RunResult {
  readonly makespanMs: number
  readonly agents: readonly AgentResult[]
}

/** Lets promises and streams settle between two instants. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export async function runAgents(
  clock: VirtualClock,
  contender: Contender,
  agents: readonly Agent[],
  stopAtMs = Number.POSITIVE_INFINITY,
): Promise<RunResult> {
  const restore = onVirtualTimers(clock)
  const startAt = clock.now()
  let running = 0
  const results = agents.map((agent): AgentResult => {
    const result: AgentResult = {
      name: agent.name,
      answered: 0,
      failed: 0,
      finishedAt: startAt,
      waitsMs: [],
      served: [],
    }
    const steps = agent.steps()
    const live = async (): Promise<void> => {
      running++
      for (let next = steps.next(); !next.done; next = steps.next()) {
        const { ask, thinkMs } = next.value
        if (thinkMs > 0) await sleep(clock, thinkMs)
        const askedAt = clock.now()
        const outcome = await contender.ask(ask)
        const tookMs = clock.now() - askedAt
        result.finishedAt = clock.now()
        if (!outcome.isAnswered) {
          // An agent crashes on an error that its client gave up on.
          result.failed++
          break
        }
        result.answered++
        result.waitsMs.push(Math.max(0, tookMs - serviceMs(ask.work)))
        result.served.push({ at: outcome.begunAt ?? clock.now(), tokens: ask.work.inputTokens })
      }
      running--
    }
    for (let socket = 0; socket < (agent.sockets ?? 1); socket++) void live()
    return result
  })
  await settle()
  while (running > 0 && clock.now() - startAt < stopAtMs) {
    if (!clock.step()) throw new Error('agents wait for ever')
    await settle()
  }
  restore()
  const lastAt = results.reduce((latest, { finishedAt }) => Math.max(latest, finishedAt), startAt)
  const makespanMs = lastAt - startAt
  return { makespanMs, agents: results }
}

function sleep(clock: VirtualClock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.schedule(clock.now() + ms, resolve)
  })
}

/** 1 when all are equal, 1/n when one has it all. */
export function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0)
  const squares = shares.reduce((total, share) => total + share * share, 0)
  return squares === 0 ? 1 : (sum * sum) / (shares.length * squares)
}

/** The tokens that each agent was served until the first of them had finished. */
export function servedWhileAllAsked(agents: readonly AgentResult[]): number[] {
  const until = agents.reduce((first, { finishedAt }) => Math.min(first, finishedAt), Infinity)
  return agents.map(({ served }) =>
    served.filter(({ at }) => at <= until).reduce((sum, { tokens }) => sum + tokens, 0),
  )
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
}

export function refusals(provider: SimulatedAnthropic): { requests: number; refused: number } {
  const { totals } = provider.report()
  const refused =
    totals.refusedForRequests + totals.refusedForInputTokens + totals.refusedForOutputTokens
  return { requests: totals.requests, refused }
}
