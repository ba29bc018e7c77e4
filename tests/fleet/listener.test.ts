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

describe('a listener of a fleet that opens', () => {
  const deaf = new Error('deaf')

  /** Nobody is there: its store is out of reach, of which the fleet warns, and so is its provider. */
  function fleetOf(onWarned: () => unknown) {
    const sentences: string[] = []
    const fleet = new Fleet({
      apiKey: 'key',
      config: { store: 'redis://127.0.0.1:1' },
      baseUrl: 'http://127.0.0.1:1',
      retries: { perPayload: 0 },
      onEvent: (event) => {
        if (event.kind !== 'warned') return
        sentences.push(event.sentence)
        return onWarned()
      },
    })
    return { fleet, sentences }
  }

  it.each([
    [
      'at once',
      () => {
        throw deaf
      },
    ],
    ['later', () => Promise.reject(deaf)],
  ])('and that fails %s ends the job, and leaves an engine for the next', async (_, onWarned) => {
    let isDeaf = true
    const { fleet, sentences } = fleetOf(() => isDeaf && onWarned())
    expect(await failureOf(all(fleet.dispatch(payloads(1))))).toBe(deaf)
    isDeaf = false
    const told = sentences.length
    expect(told).toBeGreaterThan(0)
    await all(fleet.dispatch([]))
    expect(sentences).toHaveLength(told)
    await fleet.close()
  })

  it('and that fails when no job is there any more is told of at the end', async () => {
    const { promise, reject } = Promise.withResolvers<void>()
    const { fleet } = fleetOf(() => promise)
    await all(fleet.dispatch([]))
    reject(deaf)
    expect(await failureOf(fleet.close())).toBe(deaf)
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
