import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../core/random.ts'
import { unpainted } from '../terminal/paint.ts'
import { widthOf } from '../terminal/words.ts'
import type { AgentState } from './agent.ts'
import { drawPlans } from './plans.ts'
import type { AgentFacts, RunFacts } from './run.ts'
import { comparisonLines, type RunView, runLines } from './view.ts'

const NOW = 1_000_000
const plans = drawPlans(5, seededRandom(1))
const view: RunView = { columns: 79, paint: unpainted, speed: 12, limit: 30_000, earlier: null }

function agentIn(state: AgentState, index: number, stepsDone: number): AgentFacts {
  const plan = plans[index] ?? { name: '', size: 'small', steps: [] }
  return { plan, state, stepsDone, refusals: index, longestWaitMs: 1000, inputTokensSpent: 700 }
}

const bare: RunFacts = {
  withGate: false,
  now: NOW,
  elapsedMs: 83_000,
  inputTokensLastMinute: 15_000,
  providerRefusals: 14,
  agents: [
    agentIn({ kind: 'working' }, 0, 0),
    agentIn({ kind: 'waiting', since: NOW - 14_000, retry: 1 }, 1, 3),
    agentIn({ kind: 'waiting', since: NOW - 600, retry: 0 }, 2, 1),
    agentIn({ kind: 'done' }, 3, 6),
    agentIn({ kind: 'crashed', status: 429 }, 4, 2),
  ],
}

const gated: RunFacts = {
  ...bare,
  withGate: true,
  elapsedMs: 280_000,
  providerRefusals: 0,
  agents: plans.map((_, index) => ({
    ...agentIn({ kind: 'done' }, index, 6),
    refusals: 0,
    longestWaitMs: 76_000,
  })),
}

describe('the picture of a run', () => {
  it('shows where each agent stands and what the provider sees', () => {
    expect(runLines(bare, view)).toEqual([
      '1 of 2  Without Headgate                          1:23  12 × as fast as real',
      '',
      '  agent-1   large   ░░░░░░ 0/6   working',
      '  agent-2   small   ███░░░ 3/6   waiting 14 s, retry 1 of 2',
      '  agent-3   medium  █░░░░░ 1/6   working',
      '  agent-4   small   ██████ 6/6   ✓ done',
      '  agent-5   large   ██░░░░ 2/6   ✗ crashed: 429',
      '',
      '  ████████████░░░░░░░░░░░░  15,000 input tokens in the last minute',
      '  1 of 5 done   1 crashed   14 × 429 from the provider',
    ])
  })

  it('reminds of the run before it', () => {
    expect(runLines(gated, { ...view, earlier: bare }).at(-1)).toBe(
      '  without: 1 of 5 done   1 crashed   14 × 429 from the provider   after 1:23',
    )
  })

  it('fits on eighty columns', () => {
    for (const line of runLines(gated, { ...view, earlier: bare })) {
      expect(widthOf(line)).toBeLessThan(80)
    }
  })
})

describe('the comparison', () => {
  it('sets both runs side by side', () => {
    expect(comparisonLines(bare, gated, unpainted)).toEqual([
      '                                 without Headgate   with Headgate',
      '  agents that finished                     1 of 5          5 of 5',
      '  steps done                             12 of 30        30 of 30',
      '  errors that agents met                       10               0',
      '  429s from the provider                       14               0',
      '  input tokens lost in crashes                700               0',
      '  longest wait for an answer                1.0 s      1 min 16 s',
      '  time until all had ended                   1:23            4:40',
    ])
  })
})

describe('the plans', () => {
  it('are the same for the same seed, of three sizes, six steps each', () => {
    expect(drawPlans(5, seededRandom(1))).toEqual(plans)
    expect(new Set(plans.map(({ size }) => size))).toEqual(new Set(['small', 'medium', 'large']))
    for (const { steps } of plans) expect(steps).toHaveLength(6)
    const sizes = plans.flatMap(({ steps }) => steps.map(({ inputTokens }) => inputTokens))
    expect(Math.min(...sizes)).toBeGreaterThan(300)
    expect(Math.max(...sizes)).toBeLessThan(8000)
  })
})
