// What a job tells while it goes on, and a listener that fails.
import { describe, expect, it } from 'vitest'
import { Fleet } from '../../src/fleet/fleet.ts'
import { failureOf } from '../harness.ts'
import { all, answer, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const refused: Reply = { kind: 'error', afterMs: 50, status: 429, type: 'rate_limit_error' }

describe('a listener', () => {
  it.each([
    [
      'at once',
      () => {
        throw new Error('deaf')
      },
    ],
    [
      'later',
      async () => {
        throw new Error('deaf')
      },
    ],
  ])('that fails %s ends the job', async (_, onEvent) => {
    const job = new VirtualJob({ script: () => answer(1000), run: { onEvent } })
    expect(await failureOf(job.resultsOf(payloads(3)))).toEqual(new Error('deaf'))
    expect(job.dispatcher.size).toBe(0)
  })

  it('is told how long the provider wants to be left alone, once for each time', async () => {
    const job = new VirtualJob({ script: (_, nth) => (nth < 3 ? refused : answer(50)) })
    const results = await job.resultsOf(payloads(1))
    expect(results).toMatchObject([{ kind: 'answered', attempts: 4 }])
    const held = job.eventsOf('held')
    expect(held.map(({ by }) => by)).toEqual(['provider', 'provider', 'provider'])
    for (const [index, { at, until }] of held.entries()) {
      expect(at).toBe((job.sentAt[index] ?? 0) + 50)
      expect(until).toBe(job.sentAt[index + 1])
    }
  })
})

describe('a fleet that never comes to send anything', () => {
  it('lets go of the source, whether it was aborted or closed before', async () => {
    let closed = 0
    const params = { model: 'm', max_tokens: 1, messages: [] }
    const source = () => ({
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: params }) as const,
        return: () => {
          closed++
          return { done: true, value: undefined } as const
        },
      }),
    })
    const fleet = new Fleet({ apiKey: 'key' })
    const over = new Error('over')
    const aborted = fleet.dispatch(source(), { signal: AbortSignal.abort(over) })
    expect(await failureOf(all(aborted))).toBe(over)
    expect(closed).toBe(1)
    const opening = failureOf(all(fleet.dispatch(source())))
    await fleet.close()
    expect(await opening).toEqual(new Error('this fleet was closed'))
    expect(closed).toBe(2)
  })
})
