import { afterEach, describe, expect, it, vi } from 'vitest'
import type { CallFacts } from '../dispatch/events.ts'
import { gateEvents } from './program-events.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

/** Lets promises that are rejected be heard of. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const FACTS: CallFacts = {
  id: 'hg_1',
  resource: 'anthropic/x/claude-sonnet-5',
  flow: 'agent',
  user: null,
  tier: null,
  lane: 'normal',
  model: 'claude-sonnet-5',
  attempts: 1,
  queuedMs: 0,
  durationMs: 1,
}
const REFUSAL = { reason: 'queue_full', message: 'full', retryAfterMs: null } as const

describe('a listener', () => {
  it('that throws disturbs nothing, and its error is told', () => {
    const failures: unknown[] = []
    const events = gateEvents({
      refused() {
        throw new Error('the disk is full')
      },
      failed: (error) => failures.push(error),
    })
    events.refused(FACTS, REFUSAL)
    expect(failures).toEqual([new Error('the disk is full')])
  })

  it('whose promise is rejected disturbs nothing, and its error is told', async () => {
    const failures: unknown[] = []
    const events = gateEvents({
      cancelled: () => Promise.reject(new Error('the network is gone')),
      failed: (error) => failures.push(error),
    })
    events.cancelled(FACTS)
    await settled()
    expect(failures).toEqual([new Error('the network is gone')])
  })

  it('of failures that fails itself is shown, thrown or rejected', async () => {
    const shown = vi.spyOn(process, 'emitWarning').mockReturnValue()
    const thrown = gateEvents({
      failed() {
        throw new Error('thrown')
      },
    })
    const rejected = gateEvents({ failed: () => Promise.reject(new Error('rejected')) })
    thrown.failed(new Error('first'))
    rejected.failed(new Error('first'))
    await settled()
    expect(shown.mock.calls.map(([what]) => what)).toEqual([
      new Error('thrown'),
      new Error('rejected'),
    ])
  })

  it('of an object of a class is called on that object', () => {
    class Counter {
      #count = 0
      cancelled(): void {
        this.#count++
      }
      get count(): number {
        return this.#count
      }
    }
    const counter = new Counter()
    gateEvents(counter).cancelled(FACTS)
    expect(counter.count).toBe(1)
  })

  it('that is undefined is as none', () => {
    const shown = vi.spyOn(process, 'emitWarning').mockReturnValue()
    const heard: Parameters<typeof gateEvents>[0] = Object.fromEntries([
      ['cancelled', undefined],
      ['warned', undefined],
    ])
    const events = gateEvents(heard)
    events.cancelled(FACTS)
    events.warned('the store is slow')
    expect(shown.mock.calls).toEqual([['the store is slow', 'HeadgateWarning']])
  })
})
