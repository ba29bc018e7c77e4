// What a job's journal is told: before a payload is sent, and of what has failed before it is sent again.
import { describe, expect, it } from 'vitest'
import type { SpendingJournal } from '../../src/fleet/fleet.ts'
import { failureOf } from '../harness.ts'
import { all, answer, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const BILLED = { input: 9, output: 100 }

type Attempt = Parameters<SpendingJournal['failedAttempt']>[0]

/** The first `times` sendings fail. */
const failing =
  (failure: 'timeout' | 'broken', times: number) =>
  (_: unknown, nth: number): Reply =>
    nth < times ? { kind: 'failure', failure, afterMs: 100, billed: BILLED } : answer(100)

describe('a spending journal', () => {
  it.each(['timeout', 'broken'] as const)(
    'has every attempt that ended in a %s',
    async (failure) => {
      const job = new VirtualJob({ script: failing(failure, 2) })
      const told: (Attempt & { readonly sent: number })[] = []
      const failedAttempt = async (attempt: Attempt) => {
        told.push({ ...attempt, sent: job.sentAt.length })
      }
      const [result] = await job.drive(
        all(job.run(payloads(1), { spending: { failedAttempt } }).results(null)),
      )
      if (result?.kind !== 'answered') throw new Error('it is answered at last')
      // Each before it is sent again.
      expect(told.map(({ id, sent }) => [id, sent])).toEqual([
        ['0', 1],
        ['0', 2],
      ])
      const lost = told.reduce((sum, { costNanoUsd }) => sum + costNanoUsd, 0)
      expect(lost).toBeGreaterThanOrEqual(2 * (BILLED.input * 3000 + BILLED.output * 15_000))
      // With the answer's own it is all.
      expect(result.costNanoUsd).toBe(lost + 10 * 3000 + 20 * 15_000)
    },
  )

  it('is waited for before a payload is sent again', async () => {
    const job = new VirtualJob({ script: failing('timeout', 1) })
    const written = Promise.withResolvers<void>()
    const spending = { failedAttempt: () => written.promise }
    const results = all(job.run(payloads(1), { spending }).results(null))
    expect(await failureOf(job.drive(results))).toEqual(
      new Error('nothing will ever happen any more'),
    )
    expect(job.sentAt).toHaveLength(1)
    written.resolve()
    expect(await job.drive(results)).toMatchObject([{ kind: 'answered', attempts: 2 }])
  })

  it('has what the gate sends again by itself before the result', async () => {
    const job = new VirtualJob({ script: failing('broken', 1) })
    const written = Promise.withResolvers<void>()
    const spending = { failedAttempt: () => written.promise }
    const results = all(job.run(payloads(1), { spending }).results(null))
    expect(await failureOf(job.drive(results))).toEqual(
      new Error('nothing will ever happen any more'),
    )
    expect(job.sentAt).toHaveLength(2)
    written.resolve()
    expect(await job.drive(results)).toMatchObject([{ kind: 'answered', attempts: 2 }])
  })

  it('hears nothing of what has cost nothing', async () => {
    const script = (_: unknown, nth: number): Reply =>
      nth < 8 ? { kind: 'error', afterMs: 10, status: 529, type: 'overloaded_error' } : answer(10)
    const job = new VirtualJob({ script })
    const told: Attempt[] = []
    const failedAttempt = async (attempt: Attempt) => void told.push(attempt)
    const results = all(job.run(payloads(1), { spending: { failedAttempt } }).results(null))
    expect(await job.drive(results)).toMatchObject([{ kind: 'answered' }])
    expect(job.eventsOf('attempt_failed')).not.toEqual([])
    expect(told).toEqual([])
  })

  it.each(['timeout', 'broken'] as const)('that fails after a %s ends the job', async (failure) => {
    const job = new VirtualJob({ script: failing(failure, 1) })
    const full = new Error('the disk is full')
    const spending = { failedAttempt: () => Promise.reject(full) }
    const results = all(job.run(payloads(3), { spending }).results(null))
    expect(await failureOf(job.drive(results))).toBe(full)
    expect(job.dispatcher.size).toBe(0)
  })

  it('is told of a payload when there is money for it, before it is sent', async () => {
    const told: { readonly id: string; readonly worst: number | null; readonly sent: number }[] = []
    // Each may cost some 1.8 thousandths of a dollar: there is money for one of them at a time.
    const job = new VirtualJob({ script: () => answer(1000, 10, 90), maxSpendUsd: 0.003 })
    const spending = {
      sending: async ({ id, worstNanoUsd: worst }: { id: string; worstNanoUsd: number | null }) => {
        told.push({ id, worst, sent: job.sentAt.length })
      },
      failedAttempt: async () => {},
    }
    const results = await job.drive(all(job.run(payloads(5), { spending }).results(null)))
    expect(results.map(({ kind }) => kind)).toEqual(['answered', 'budget_exceeded'])
    expect(told).toEqual([{ id: '0', worst: expect.any(Number), sent: 0 }])
    expect(told[0]?.worst).toBeGreaterThan(1_500_000)
  })

  it('holds up what it is told of until that is written', async () => {
    const job = new VirtualJob({ script: () => answer(100) })
    const written = Promise.withResolvers<void>()
    const spending = { sending: () => written.promise, failedAttempt: async () => {} }
    const results = all(job.run(payloads(1), { spending }).results(null))
    expect(await failureOf(job.drive(results))).toEqual(
      new Error('nothing will ever happen any more'),
    )
    expect(job.sentAt).toEqual([])
    written.resolve()
    expect(await job.drive(results)).toMatchObject([{ kind: 'answered' }])
  })

  it('that cannot write that one is about to be sent ends the job before', async () => {
    const job = new VirtualJob({ script: () => answer(100) })
    const full = new Error('the disk is full')
    const spending = { sending: () => Promise.reject(full), failedAttempt: async () => {} }
    const results = all(job.run(payloads(3), { spending }).results(null))
    expect(await failureOf(job.drive(results))).toBe(full)
    expect(job.sentAt).toEqual([])
  })
})
