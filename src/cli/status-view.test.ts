import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Status } from '../control/status.ts'
import { statusLines, type View } from './status-view.ts'
import { unpainted } from './terminal/paint.ts'
import { widthOf } from './terminal/words.ts'

const NOW = Date.UTC(2026, 10, 21)

const view: View = { url: 'http://127.0.0.1:4000', now: NOW, columns: 79, paint: unpainted }

const busy: Status = {
  inFlight: 3,
  queued: 8,
  store: { kind: 'memory', degraded: false },
  resources: [
    {
      name: 'anthropic/f3abf2a6cc4f/claude-sonnet-4',
      inFlight: 3,
      queued: 8,
      nextAt: NOW + 2100,
      boundBy: '30000 input_tokens per 60 s',
      pausedUntil: null,
      oldestWaitMs: 14_200,
      limits: [
        {
          dimension: 'input_tokens',
          amount: 30_000,
          windowMs: 60_000,
          remaining: 1200.7,
          source: 'learnt',
          guard: 300,
          othersPerMinute: 1500,
        },
        {
          dimension: 'concurrency',
          amount: 4,
          windowMs: null,
          remaining: 1,
          source: 'configured',
        },
      ],
    },
  ],
}

const only = (change: Partial<Status['resources'][number]>): Status => ({
  ...busy,
  resources: busy.resources.map((resource) => ({ ...resource, ...change })),
})

describe('the status screen', () => {
  it('shows each resource with its line, what holds it, and its limits', () => {
    expect(statusLines(busy, view)).toEqual([
      'Headgate http://127.0.0.1:4000   3 in flight   8 waiting   memory store',
      '',
      'anthropic/f3abf2a6cc4f/claude-sonnet-4',
      '  3 in flight   8 waiting   oldest 14 s',
      '  held by 30000 input_tokens per 60 s   next in 2.1 s',
      '  input tokens  █░░░░░░░░░░░░░░  1,200 / 30,000 a minute  learnt  guard 300',
      '  concurrency   ████░░░░░░░░░░░           1 / 4 at once',
    ])
  })

  it('leaves out the bars, then what matters less, where the terminal is narrow', () => {
    expect(statusLines(busy, { ...view, columns: 45 }).slice(3)).toEqual([
      '  3 in flight   8 waiting   oldest 14 s',
      '  held by 30000 input_tokens per 60 s',
      '  input tokens  1,200 / 30,000 a minute',
      '  concurrency            1 / 4 at once',
    ])
  })

  it('says nothing of a line where nobody waits', () => {
    const calm = only({ queued: 0, nextAt: NOW, oldestWaitMs: null, boundBy: null })
    expect(statusLines(calm, view).slice(3, 5)).toEqual([
      '  3 in flight   0 waiting',
      expect.stringContaining('input tokens'),
    ])
  })

  it('shows a pause, debt and a store that is out of reach', () => {
    const { resources } = only({ pausedUntil: NOW + 30_000 })
    const [resource] = resources
    const limits = resource?.limits.map((limit) => ({ ...limit, remaining: -500 })) ?? []
    const lines = statusLines(
      {
        ...only({ pausedUntil: NOW + 30_000, limits }),
        store: { kind: 'redis', degraded: true },
      },
      { ...view, columns: 120 },
    ).join('\n')
    expect(lines).toContain('redis store out of reach')
    expect(lines).toContain('paused for 30 s')
    expect(lines).toMatch(/input tokens {2}░+ {2}-500 \/ 30,000 a minute/)
  })

  it.each([
    ['degrade', 'redis store out of reach: a share of the limits until it is back'],
    ['open', 'redis store out of reach: no limits until it is back'],
    ['closed', 'redis store out of reach: nobody new until it is back'],
  ] as const)('says what is done without the store: %s', (onFailure, text) => {
    const store = { kind: 'redis', degraded: true, onFailure }
    const [head] = statusLines({ ...busy, store }, { ...view, columns: 140 })
    expect(head?.endsWith(text)).toBe(true)
  })

  it('says that nothing has come yet', () => {
    const idle = { ...busy, inFlight: 0, queued: 0, resources: [] }
    expect(statusLines(idle, view).at(-1)).toBe('No call has come through yet.')
  })

  it('lets no name steer the terminal', () => {
    const name = 'anthropic/x/claude\u001b[2J\r\n\u0007'
    expect(statusLines(only({ name }), view)[2]).toBe('anthropic/x/claude')
  })

  it('fits into any width that holds a name and a level', () => {
    fc.assert(
      fc.property(fc.integer({ min: 42, max: 300 }), (columns) => {
        for (const line of statusLines(busy, { ...view, columns })) {
          expect(widthOf(line)).toBeLessThanOrEqual(columns)
        }
      }),
    )
  })
})
