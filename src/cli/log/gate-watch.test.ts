import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../core/clock.ts'
import type { ResourceSnapshot } from '../../core/store.ts'
import type { LogEvent } from '../../telemetry/log.ts'
import { GateWatch } from './gate-watch.ts'

const calm: ResourceSnapshot = {
  name: 'anthropic/1f2e/claude-sonnet-4',
  inFlight: 1,
  queued: 0,
  nextAt: null,
  boundBy: null,
  pausedUntil: null,
  concurrencyLimit: null,
  oldestEnqueuedAt: null,
  limits: [
    {
      dimension: 'requests',
      amount: 50,
      windowMs: 60_000,
      remaining: 49,
      source: 'learnt',
    },
    {
      dimension: 'input_tokens',
      amount: 9,
      windowMs: 60_000,
      remaining: 9,
      source: 'configured',
    },
  ],
}

/** A watch over one resource; `seeAt` lets it look at an instant and tells what it told. */
function open() {
  const clock = new VirtualClock()
  const told: unknown[] = []
  let resources: readonly ResourceSnapshot[] = []
  const watch = new GateWatch({
    clock,
    log: {
      event: (event: LogEvent) => told.push(event),
      warn: (sentence) => told.push(sentence),
      error: (_, error) => told.push(error),
      flush: () => {},
    },
    snapshot: async () => resources,
    waiting: ({ queued }) => told.push({ queued }),
  })
  const seeAt = async (at: number, ...seen: readonly ResourceSnapshot[]): Promise<unknown[]> => {
    clock.advanceTo(at)
    resources = seen
    watch.look()
    // The snapshot comes in the next turn of the queue of promises.
    await Promise.resolve()
    await Promise.resolve()
    return told.splice(0)
  }
  return seeAt
}

const learnt = (amount: number): LogEvent => ({
  kind: 'limits.learnt',
  resource: calm.name,
  dimension: 'requests',
  amount,
  windowMs: 60_000,
})

describe('the watch over the gates', () => {
  it('tells a learnt limit once, and again when its amount changes', async () => {
    const seeAt = open()
    expect(await seeAt(0, calm)).toEqual([learnt(50)])
    expect(await seeAt(2000, calm)).toEqual([])
    const limits = calm.limits.map((limit) => ({ ...limit, amount: 1000 }))
    expect(await seeAt(4000, { ...calm, limits })).toEqual([learnt(1000)])
  })

  it('tells a pause once', async () => {
    const seeAt = open()
    const paused = { ...calm, limits: [], pausedUntil: 31_000 }
    const event = { kind: 'resource.paused', resource: calm.name, pausedMs: 30_000 }
    expect(await seeAt(1000, paused)).toEqual([event])
    expect(await seeAt(3000, paused)).toEqual([])
  })

  it('tells a line that goes on every ten seconds', async () => {
    const seeAt = open()
    const line = { ...calm, limits: [], queued: 9, oldestEnqueuedAt: 0 }
    expect(await seeAt(0, line)).toEqual([{ queued: 9 }])
    expect(await seeAt(9000, line)).toEqual([])
    expect(await seeAt(10_000, { ...line, queued: 4 })).toEqual([{ queued: 4 }])
  })

  it('looks at most once a second', async () => {
    const seeAt = open()
    expect(await seeAt(0)).toEqual([])
    expect(await seeAt(900, calm)).toEqual([])
    expect(await seeAt(1000, calm)).toEqual([learnt(50)])
  })
})
