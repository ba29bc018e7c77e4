import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../core/clock.ts'
import type { LogEvent } from '../../telemetry/log.ts'
import { unpainted } from '../terminal/paint.ts'
import { Story, type StoryOptions } from './story.ts'

const facts = {
  id: 'hg_1',
  resource: 'anthropic/1f2e/claude-sonnet-4',
  flow: 'agent-7',
  user: null,
  tier: null,
  lane: 'normal',
  model: 'claude-sonnet-4-5',
  attempts: 1,
  queuedMs: 0,
  durationMs: 2300,
} as const

const settled = {
  kind: 'request.settled',
  ...facts,
  outcome: 'answered',
  status: 200,
  inputTokens: 3012,
  outputTokens: 310,
  costUsd: 0,
} as const satisfies LogEvent

function record(options: Partial<StoryOptions> = {}) {
  const lines: string[] = []
  const output = { write: (text: string) => lines.push(text.replace(/^\d\d:\d\d:\d\d /, '')) }
  const clock = new VirtualClock(100_000)
  const story = new Story({ level: 'info', output, paint: unpainted, clock, ...options })
  return { lines, story }
}

function lineOf(event: LogEvent): string {
  const { lines, story } = record()
  story.event(event)
  return lines.join('')
}

describe('the story', () => {
  it.each<[LogEvent, string]>([
    [settled, '✓ agent-7 · claude-sonnet-4-5 · answered after 2.3 s · 3,012 in, 310 out\n'],
    [
      { ...settled, queuedMs: 14_000, durationMs: 15_000, attempts: 2 },
      '✓ agent-7 · claude-sonnet-4-5 · waited 14 s · answered after 1.0 s · 3,012 in, 310 out · sent 2 times\n',
    ],
    [
      { ...settled, costUsd: 0.0125 },
      '✓ agent-7 · claude-sonnet-4-5 · answered after 2.3 s · 3,012 in, 310 out · $0.0125\n',
    ],
    [
      {
        kind: 'budget.warned',
        subject: 'user:alice',
        step: 80,
        spentUsd: 0.81,
        amountUsd: 1,
        period: 'month',
        mode: 'enforced',
      },
      '↻ user:alice has used 80 % of its budget: $0.81 of $1 this month\n',
    ],
    [
      { kind: 'ledger.recovered', requests: 2, costUsd: 0.5 },
      '↻ 2 requests of a process that died charged: $0.5\n',
    ],
    [
      { kind: 'request.shadowed', ...facts, rule: 'limits of user:bob' },
      '– agent-7 · claude-sonnet-4-5 · passes, but not if limits of user:bob were enforced\n',
    ],
    [
      { ...settled, outcome: 'provider_error', status: 400, inputTokens: 0, outputTokens: 0 },
      '✗ agent-7 · claude-sonnet-4-5 · the provider said no (400) after 2.3 s · 0 in, 0 out\n',
    ],
    [
      {
        kind: 'request.refused',
        ...facts,
        queuedMs: 600_000,
        reason: 'waited_out',
        retryAfterMs: 14_000,
      },
      '✗ agent-7 · claude-sonnet-4-5 · refused: waited out after 10 min, may try again in 14 s\n',
    ],
    [
      { kind: 'request.cancelled', ...facts, queuedMs: 4000 },
      '– agent-7 · claude-sonnet-4-5 · left the line after 4.0 s\n',
    ],
    [
      { kind: 'request.bounced', ...facts, reason: 'rate_limited', status: 429 },
      '↻ agent-7 · claude-sonnet-4-5 · met the rate limit (429) and waits again at the front\n',
    ],
    [
      {
        kind: 'limits.learnt',
        resource: facts.resource,
        dimension: 'input_tokens',
        amount: 30_000,
        windowMs: 60_000,
      },
      '● learnt: 30,000 input tokens a minute for anthropic/1f2e/claude-sonnet-4\n',
    ],
    [
      { kind: 'store.degraded', policy: 'degrade', why: 'redis://r:1 is gone', instances: 3 },
      '✗ the store is out of reach (redis://r:1 is gone): going on with 1/3 of the limits until it is back\n',
    ],
    [
      { kind: 'store.degraded', policy: 'degrade', why: 'redis://r:1 is gone', instances: 1 },
      '✗ the store is out of reach (redis://r:1 is gone): going on with the limits as they were until it is back\n',
    ],
    [
      { kind: 'store.degraded', policy: 'closed', why: 'redis://r:1 is gone', instances: 3 },
      '✗ the store is out of reach (redis://r:1 is gone): nobody new is taken until it is back\n',
    ],
    [
      { kind: 'store.returned', afterMs: 12_000, resources: 2, rejoined: 7 },
      '● the store is back after 12 s, and 7 calls with it\n',
    ],
    [
      { kind: 'gate.stopping', signal: 'SIGTERM', inFlight: 1, queued: 8 },
      '● SIGTERM: waiting for 1 call under way, refusing 8 that wait; once more ends them\n',
    ],
    [{ kind: 'gate.stopping', signal: 'SIGINT', inFlight: 0, queued: 0 }, '● SIGINT: stopping\n'],
  ])('tells %o', (event, line) => {
    expect(lineOf(event)).toBe(line)
  })

  it('tells who waits, how long, and for which limit', () => {
    const { lines, story } = record()
    story.waiting({
      name: facts.resource,
      queued: 9,
      oldestEnqueuedAt: 86_000,
      boundBy: {
        kind: 'limit',
        limit: {
          algorithm: 'token_bucket',
          dimension: 'input_tokens',
          amount: 30_000,
          windowMs: 60_000,
          source: 'learnt',
        },
      },
    })
    expect(lines).toEqual([
      '… 9 in line for anthropic/1f2e/claude-sonnet-4, the oldest for 14 s, held by 30,000 input tokens a minute\n',
    ])
  })

  it('says once that all who wait are refused when the gate stops', () => {
    const refused = { kind: 'request.refused', ...facts, retryAfterMs: 1000 } as const
    expect(lineOf({ ...refused, reason: 'shutting_down' })).toBe('')
    expect(lineOf({ ...refused, reason: 'queue_full' })).toContain('queue full')
  })

  it('tells no more than its level', () => {
    const { lines, story } = record({ level: 'warn' })
    story.event(settled)
    expect(lines).toEqual([])
    story.warn('look out')
    expect(lines).toEqual(['↻ look out\n'])
  })

  it('shows no secret that a caller put into a name, and lets no name steer the terminal', () => {
    const line = lineOf({ ...settled, flow: 'sk-ant-SECRET', model: 'a\u001b[2J\nb' })
    expect(line).toContain('(hidden) · ab · answered')
    expect(line).not.toContain('SECRET')
  })

  it('tells of an error what it was and where, never what it says', () => {
    const { lines, story } = record()
    story.error('a call', Object.assign(new Error('SECRET'), { code: 'ECONNRESET' }))
    expect(lines.join('')).toMatch(/^✗ a call failed: Error ECONNRESET\n {11}at /)
    expect(lines.join('')).not.toContain('SECRET')
  })
})
