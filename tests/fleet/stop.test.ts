// A job that is stopped, on virtual time: nothing more is sent, and nothing that was sent is lost.
import { describe, expect, it } from 'vitest'
import type { Limit } from '../../src/core/limit.ts'
import type { FleetResult } from '../../src/fleet/payload.ts'
import { all, answer, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const AFTER_MS = 1000

/** A job that is told to stop after a second. */
function stopped(job: VirtualJob, count: number): Promise<FleetResult[]> {
  const stop = new AbortController()
  job.clock.schedule(job.clock.now() + AFTER_MS, () => stop.abort())
  return job.drive(all(job.run(payloads(count), { stop: stop.signal }).results(null)))
}

const took = (job: VirtualJob): number => job.clock.now() - (job.sentAt[0] ?? 0)

const concurrency = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

const error = (status: number, type: string): Reply => ({
  kind: 'error',
  afterMs: 100,
  status,
  type,
})

describe('a job that is stopped', () => {
  it('waits for what is on its way, and sends nothing more', async () => {
    const job = new VirtualJob({
      limits: [concurrency(3)],
      script: () => answer(5000),
      run: { maxInFlight: 8 },
    })
    const results = await stopped(job, 100)
    // Five stood in line.
    expect(results.map(({ kind }) => kind)).toEqual(['answered', 'answered', 'answered'])
    expect(job.sentAt).toHaveLength(3)
    expect(took(job)).toBe(5000)
    expect(job.dispatcher.size).toBe(0)
  })

  it('ends at once what was to be sent again, and says that it stopped', async () => {
    const job = new VirtualJob({
      script: ({ messages }) =>
        JSON.stringify(messages).includes('prompt 0')
          ? { kind: 'failure', failure: 'timeout', afterMs: 500, billed: { input: 9, output: 9 } }
          : answer(3000),
      run: { maxInFlight: 2 },
    })
    const results = await stopped(job, 2)
    expect(results).toMatchObject([
      {
        kind: 'failed',
        id: '0',
        attempts: 1,
        error: { type: 'stopped', isRetryable: true, message: expect.stringContaining('timeout') },
      },
      { kind: 'answered', id: '1' },
    ])
    const [failed] = results
    expect(failed?.kind === 'failed' && failed.costNanoUsd).toBeGreaterThan(job.billed / 2)
    expect(took(job)).toBe(3000)
  })

  it('does not wait for what the gate would send again', async () => {
    const job = new VirtualJob({
      script: (_, nth) => (nth === 0 ? answer(1500) : error(529, 'overloaded_error')),
      run: { maxInFlight: 4 },
    })
    const results = await stopped(job, 4)
    expect(results.map((result) => result.kind === 'failed' && result.error.type)).toEqual([
      'stopped',
      'stopped',
      'stopped',
      false,
    ])
    expect(took(job)).toBe(1500)
    expect(job.dispatcher.size).toBe(0)
  })

  it('lets go of what fails after that: the gate does not send it again', async () => {
    const script = (): Reply => ({
      kind: 'failure',
      failure: 'broken',
      afterMs: 1500,
      billed: null,
    })
    const job = new VirtualJob({ script, run: { maxInFlight: 2 } })
    const results = await stopped(job, 2)
    expect(results.map((result) => result.kind === 'failed' && result.error.type)).toEqual([
      'stopped',
      'stopped',
    ])
    // Nobody knows what they have cost.
    for (const result of results)
      expect(result.kind === 'failed' && result.costNanoUsd).toBeGreaterThan(1_500_000)
    expect(took(job)).toBe(1500)
    expect(job.dispatcher.size).toBe(0)
  })

  it('does not send again what it has waited for, and keeps its cost', async () => {
    const billed = { input: 9, output: 90 }
    const script = (): Reply => ({ kind: 'failure', failure: 'timeout', afterMs: 1500, billed })
    const job = new VirtualJob({ script, run: { maxInFlight: 1 } })
    const [result, ...rest] = await stopped(job, 2)
    expect(rest).toEqual([])
    if (result?.kind !== 'failed') throw new Error('it has failed')
    expect(result.error).toMatchObject({ type: 'stopped', isRetryable: true })
    expect(result.error.message).toContain('after upstream_timeout: ')
    expect(result.costNanoUsd).toBeGreaterThanOrEqual(job.billed)
    expect(took(job)).toBe(1500)
  })

  it('fails with its own error what would not have been sent again in any case', async () => {
    const job = new VirtualJob({
      script: () => ({ ...error(400, 'invalid_request_error'), afterMs: 1500 }),
      run: { maxInFlight: 1 },
    })
    expect(await stopped(job, 2)).toMatchObject([
      { kind: 'failed', error: { type: 'invalid_request_error' } },
    ])
  })

  it('sends nothing at all where that is so from the beginning', async () => {
    const job = new VirtualJob({ script: () => answer(100) })
    const run = job.run(payloads(3), { stop: AbortSignal.abort() })
    expect(await job.drive(all(run.results(null)))).toEqual([])
    expect(job.sentAt).toEqual([])
  })

  it('does not wait for a source that is in the midst of giving one', async () => {
    const job = new VirtualJob({ script: () => answer(100) })
    const stop = new AbortController()
    let isClosed = false
    async function* slow() {
      try {
        yield* payloads(1)
        await new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()))
      } finally {
        isClosed = true
      }
    }
    job.clock.schedule(job.clock.now() + AFTER_MS, () => stop.abort())
    const results = await job.drive(all(job.run(slow(), { stop: stop.signal }).results(null)))
    expect(results.map(({ kind }) => kind)).toEqual(['answered'])
    await job.drive(Promise.resolve())
    expect(isClosed).toBe(true)
  })
})
