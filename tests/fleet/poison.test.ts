// Prompts that never succeed beside others that do, on virtual time.
import { expect, it } from 'vitest'
import type { FleetResult } from '../../src/fleet/payload.ts'
import { all, answer, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const TROUBLE: Reply = { kind: 'error', afterMs: 300, status: 500, type: 'api_error' }

it.each([null, 8])(
  'six of forty that always fail hold up no others (maxInFlight %s)',
  async (maxInFlight) => {
    const isPoison = (text: string): boolean => /prompt [0-5]"/.test(text)
    const job = new VirtualJob({
      script: ({ messages }) => (isPoison(JSON.stringify(messages)) ? TROUBLE : answer(2000)),
      run: { maxInFlight },
    })
    const startedAt = job.clock.now()
    const results: FleetResult[] = []
    let answeredMs = 0
    async function read() {
      for await (const result of job.run(payloads(40)).results(null)) {
        results.push(result)
        if (result.kind === 'answered') answeredMs = job.clock.now() - startedAt
      }
    }
    await job.drive(read())
    expect(results.filter(({ kind }) => kind === 'answered')).toHaveLength(34)
    const failed = results.filter((result) => result.kind === 'failed')
    expect(failed.map(({ error }) => error.type)).toEqual(Array(6).fill('api_error'))
    expect(answeredMs).toBeLessThan(60_000)
    expect(job.dispatcher.size).toBe(0)
  },
)

it('takes no more than so many from the source while all of them fail', async () => {
  const job = new VirtualJob({ script: () => TROUBLE })
  let taken = 0
  function* source() {
    for (const params of payloads(1000)) {
      taken++
      yield params
    }
  }
  const stop = new AbortController()
  job.clock.schedule(job.clock.now() + 300_000, () => stop.abort())
  await job.drive(all(job.run(source(), { stop: stop.signal }).results(null)))
  expect(taken).toBeGreaterThan(90)
  expect(taken).toBeLessThan(120)
})
