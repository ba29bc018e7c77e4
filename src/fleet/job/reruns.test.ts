import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../core/clock.ts'
import type { Failed } from '../payload.ts'
import { Reruns } from './reruns.ts'

const MINUTE_MS = 60_000
const NEVER = new AbortController().signal

const failed = (error: Partial<Failed['error']>, more: Partial<Failed> = {}): Failed => ({
  kind: 'failed',
  id: 'p0',
  index: 0,
  latencyMs: 10,
  attempts: 6,
  tokens: null,
  costNanoUsd: 0,
  costUsd: 0,
  error: {
    status: null,
    type: 'upstream_unreachable',
    message: 'gone',
    isRetryable: true,
    ...error,
  },
  ...more,
})

describe('prompts that are sent again', () => {
  it.each([
    ['nobody answers', {}, true],
    ['the provider is overloaded', { status: 529, type: 'overloaded_error' }, true],
    ['a proxy finds no provider', { status: 502 }, true],
    ['the limit', { status: 429, type: 'rate_limit_error' }, true],
    ['the prompt may be at fault', { status: 500, type: 'api_error' }, false],
    ['the answer is no message', { status: 200, type: 'bad_answer' }, false],
    ['it is refused for good', { status: 400, isRetryable: false }, false],
  ])('%s', (_, error, isClaimed) => {
    expect(new Reruns(new VirtualClock()).claims(failed(error))).toBe(isClaimed)
  })

  it('are sent a minute after all others, ten minutes after that, and no more', async () => {
    const clock = new VirtualClock(1000)
    const reruns = new Reruns(clock)
    for (const pauseMs of [MINUTE_MS, 10 * MINUTE_MS]) {
      expect(reruns.claims(failed({}))).toBe(true)
      expect(reruns.claims(failed({}))).toBe(true)
      const due = reruns.due(NEVER)
      expect(reruns.pause).toEqual({ prompts: 2, until: clock.now() + pauseMs })
      clock.step()
      expect(await due).toBe(true)
      expect(reruns.pause).toBeNull()
    }
    expect(reruns.claims(failed({}))).toBe(false)
    expect(await reruns.due(NEVER)).toBe(false)
  })

  it.each([
    ['its worst', 1000],
    ['what nobody knows', null],
  ])('are none that a batch has lost, and may be billed for: %s', (_, costNanoUsd) => {
    const lost = failed({ type: 'batch_without_result' }, { via: 'batch', costNanoUsd })
    expect(new Reruns(new VirtualClock()).claims(lost)).toBe(false)
  })

  it('are left for another run when this one is stopped meanwhile', async () => {
    const stop = new AbortController()
    const reruns = new Reruns(new VirtualClock())
    reruns.claims(failed({}))
    const due = reruns.due(stop.signal)
    stop.abort()
    expect(await due).toBe(false)
  })

  it('go at once where a batch gave some of them back, and no more as a batch', async () => {
    const reruns = new Reruns(new VirtualClock())
    const free = { via: 'batch', costNanoUsd: 0 } as const
    expect(reruns.claims(failed({ type: 'batch_not_submitted' }, free))).toBe(true)
    expect(reruns.mayWait).toBe(true)
    expect(reruns.claims(failed({ type: 'expired' }, free))).toBe(true)
    expect(reruns.mayWait).toBe(false)
    reruns.claims(failed({}))
    expect(await reruns.due(NEVER)).toBe(true)
    expect(await reruns.due(NEVER)).toBe(false)
  })
})
