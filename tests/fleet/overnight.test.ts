// A night: eighteen thousand prompts at six a second, in front of a provider that fails now and then.
import { expect, it } from 'vitest'
import { seededRandom } from '../../src/core/random.ts'
import { answer, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const COUNT = 18_000

it('answers eighteen thousand prompts once each, as fast as the limit allows and under its cap', async () => {
  const random = seededRandom(11)
  const script = (): Reply => {
    const luck = random()
    if (luck < 0.001) return { kind: 'error', afterMs: 300, status: 529, type: 'overloaded_error' }
    if (luck < 0.003)
      return {
        kind: 'failure',
        failure: 'timeout',
        afterMs: 60_000,
        billed: { input: 10, output: 50 },
      }
    return answer(2000 + random() * 4000, 10, 20 + Math.round(random() * 60))
  }
  const job = new VirtualJob({
    limits: [
      {
        algorithm: 'token_bucket',
        dimension: 'requests',
        amount: 372,
        windowMs: 60_000,
        source: 'configured',
      },
    ],
    script,
    maxSpendUsd: 25,
  })
  function* source() {
    for (let batch = 0; batch < COUNT; batch += 100) yield* payloads(100)
  }
  const results = await job.resultsOf(source())
  const ids = new Set(results.map((result) => 'id' in result && result.id))
  expect(results).toHaveLength(COUNT)
  expect(ids.size).toBe(COUNT)
  expect(results.filter(({ kind }) => kind !== 'answered')).toEqual([])
  expect(job.billed).toBeLessThanOrEqual(25e9)
  const minutes = (job.clock.now() - (job.sentAt[0] ?? 0)) / 60_000
  const least = (job.sentAt.length - 372) / 372
  expect(minutes).toBeLessThan(least * 1.1)
  expect(job.mostInFlight).toBeLessThan(60)
}, 60_000)
