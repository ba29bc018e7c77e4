// The demo as text: a picture of a run, and both runs side by side. Owns: what stands where. Must
// not know: how a run goes, or when it is drawn.
import { type Format, type Paint, unpainted } from '../terminal/paint.ts'
import {
  amountInWords,
  bar,
  joinFitting,
  padEnd,
  spanInWords,
  stopwatch,
  widthOf,
} from '../terminal/words.ts'
import type { AgentFacts, RunFacts } from './run.ts'

export interface RunView {
  readonly columns: number
  readonly paint: Paint
  readonly speed: number
  /** Input tokens a minute. */
  readonly limit: number
  /** The run before this one, to compare with. */
  readonly earlier: RunFacts | null
}

/** Answers that come sooner are not waited for: they are being thought of. */
const WAITING_AFTER_MS = 1500
const PACE_BAR_WIDTH = 24

export function titleOf({ withGate }: RunFacts): string {
  return withGate ? '2 of 2  With Headgate' : '1 of 2  Without Headgate'
}

/** A running picture: each agent on a line, and what the provider sees. */
export function runLines(facts: RunFacts, view: RunView): string[] {
  const { columns, paint, speed, limit, earlier } = view
  const title = paint(['bold', facts.withGate ? 'green' : 'yellow'], titleOf(facts))
  const time = paint('dim', `${stopwatch(facts.elapsedMs)}  ${speed} × as fast as real`)
  const gap = Math.max(2, Math.min(columns, 76) - widthOf(title) - widthOf(time))
  const lastMinute = facts.inputTokensLastMinute
  const share = lastMinute / limit
  const pace = `${bar(share, PACE_BAR_WIDTH)}  ${amountInWords(lastMinute)} input tokens in the last minute`
  return [
    title + ' '.repeat(gap) + time,
    '',
    ...facts.agents.map((agent) => agentLine(agent, facts.now, paint)),
    '',
    `  ${paint('cyan', pace)}`,
    `  ${joinFitting(countParts(facts, paint), '   ', columns - 2)}`,
    ...(earlier ? ['', paint('dim', `  without: ${earlierText(earlier)}`)] : []),
  ]
}

function agentLine(agent: AgentFacts, now: number, paint: Paint): string {
  const { plan, stepsDone } = agent
  const { format, text } = stateOf(agent, now)
  const done = bar(stepsDone / plan.steps.length, plan.steps.length)
  const step = `${done} ${stepsDone}/${plan.steps.length}`
  return `  ${plan.name.padEnd(9)} ${paint('dim', plan.size.padEnd(7))} ${paint(format, step)}   ${paint(format, text)}`
}

function stateOf({ state }: AgentFacts, now: number): { format: Format; text: string } {
  switch (state.kind) {
    case 'working':
      return { format: 'reset', text: 'working' }
    case 'waiting': {
      if (now - state.since < WAITING_AFTER_MS) return { format: 'reset', text: 'working' }
      const retry = state.retry > 0 ? `, retry ${state.retry} of 2` : ''
      return { format: 'yellow', text: `waiting ${spanInWords(now - state.since)}${retry}` }
    }
    case 'done':
      return { format: 'green', text: '✓ done' }
    case 'crashed':
      return { format: 'red', text: `✗ crashed: ${state.status}` }
  }
}

function countParts({ agents, providerRefusals }: RunFacts, paint: Paint): string[] {
  const crashed = endedAs(agents, 'crashed')
  return [
    `${endedAs(agents, 'done')} of ${agents.length} done`,
    paint(crashed > 0 ? 'red' : 'reset', `${crashed} crashed`),
    `${amountInWords(providerRefusals)} × 429 from the provider`,
  ]
}

function earlierText(earlier: RunFacts): string {
  return `${countParts(earlier, unpainted).join('   ')}   after ${stopwatch(earlier.elapsedMs)}`
}

const endedAs = (agents: readonly AgentFacts[], kind: AgentFacts['state']['kind']): number =>
  agents.filter(({ state }) => state.kind === kind).length

function total(agents: readonly AgentFacts[], amount: (agent: AgentFacts) => number): number {
  return agents.reduce((sum, agent) => sum + amount(agent), 0)
}

/** What is compared, and how much of it each run had. */
const ROWS: readonly { readonly label: string; readonly of: (facts: RunFacts) => string }[] = [
  {
    label: 'agents that finished',
    of: ({ agents }) => `${endedAs(agents, 'done')} of ${agents.length}`,
  },
  {
    label: 'steps done',
    of: ({ agents }) =>
      `${total(agents, ({ stepsDone }) => stepsDone)} of ${total(agents, ({ plan }) => plan.steps.length)}`,
  },
  {
    label: 'errors that agents met',
    of: ({ agents }) => amountInWords(total(agents, ({ refusals }) => refusals)),
  },
  {
    label: '429s from the provider',
    of: ({ providerRefusals }) => amountInWords(providerRefusals),
  },
  {
    label: 'input tokens lost in crashes',
    of: ({ agents }) =>
      amountInWords(
        total(agents, ({ state, inputTokensSpent }) =>
          state.kind === 'crashed' ? inputTokensSpent : 0,
        ),
      ),
  },
  {
    label: 'longest wait for an answer',
    of: ({ agents }) => spanInWords(Math.max(...agents.map((agent) => agent.longestWaitMs))),
  },
  { label: 'time until all had ended', of: ({ elapsedMs }) => stopwatch(elapsedMs) },
]

/** Both runs side by side. */
export function comparisonLines(bare: RunFacts, gated: RunFacts, paint: Paint): string[] {
  const rows = ROWS.map(({ label, of }) => ({ label, before: of(bare), after: of(gated) }))
  const heads = { before: 'without Headgate', after: 'with Headgate' }
  const labelWidth = Math.max(...rows.map(({ label }) => label.length))
  const line = (label: string, before: string, after: string): string =>
    `  ${padEnd(label, labelWidth)}   ${before.padStart(heads.before.length)}   ${after.padStart(heads.after.length)}`
  return [
    paint('bold', line('', heads.before, heads.after)),
    ...rows.map(({ label, before, after }) => line(label, before, after)),
  ]
}
