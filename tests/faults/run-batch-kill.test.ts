// A job whose prompts wait in batches, killed while these are pending or their results are written down, and
// begun again by the same command. Must not know: how a job remembers its batches.
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Emulator } from '../../src/emulator/emulator.ts'
import { until } from '../servers/until.ts'
import { billsOf, booksIn, pricedPrompts, sum } from './job-money.ts'
import { type KilledJob, KilledJobs } from './killed-job.ts'

const FLAGS = ['--within', '24h', '--max-spend-usd', '1']
const MOST_TOKENS = 20

const jobs = await KilledJobs.open()
afterAll(() => jobs[Symbol.asyncDispose]())

async function begin(batchMs: number, count: number) {
  const emulator = await jobs.emulate({ batchMs })
  const prompts = pricedPrompts(count, MOST_TOKENS)
  const job = await jobs.job({ prompts, flags: FLAGS, ledger: 'sqlite:ledger.db' })
  return { emulator, job, exists: async () => (await job.noted('batch_created')) > 0 }
}

const hasEnded = (emulator: Emulator): Promise<void> =>
  until('the batch has ended', async () => emulator.report().totals.batchRequests > 0)

/** Each prompt is answered once, paid once, and told and written down at what the provider charges for it. */
async function expectEachOnce(job: KilledJob, emulator: Emulator): Promise<void> {
  const answers = await job.answers()
  const { totals } = emulator.report()
  expect(totals.batchRequests).toBe(job.ids.length)
  expect(totals.admitted).toBe(0)
  const bills = billsOf(emulator)
  const told = answers.map(({ id, costNanoUsd }): [string, number] => [id, costNanoUsd])
  expect(told.toSorted()).toEqual([...bills].toSorted())
  expect(answers.every(({ isOfBatch }) => isOfBatch)).toBe(true)
  expect(answers.length).toBe(job.ids.length)
  expect(await job.failures()).toEqual([])
  // Nothing of a batch is lost at a kill.
  expect(job.spentNanoUsd).toBe(sum(bills.values()))
  const { books, lost } = await booksIn(`sqlite:${path.join(job.folder, 'ledger.db')}`)
  const booked = Array.from(books, ([id, { exact, guessed }]) => [id, [exact, guessed]] as const)
  expect(booked.toSorted()).toEqual([...bills].map(([id, cost]) => [id, [[cost], []]]).toSorted())
  expect(lost).toBe(0)
}

describe('a job in batches', { timeout: 60_000 }, () => {
  it('that is killed while one is pending pays for each prompt once', async () => {
    const { emulator, job, exists } = await begin(2_000, 200)
    await job.killOnceSo(emulator.url, 'the batch exists', exists)
    expect(await job.answers()).toEqual([])
    await hasEnded(emulator)
    expect(await job.runOut(emulator.url)).toBe(0)
    await expectEachOnce(job, emulator)
  })

  it('that is killed while it writes down results has each once', async () => {
    const { emulator, job, exists } = await begin(100, 3_000)
    await job.killOnceSo(emulator.url, 'the batch exists', exists)
    await hasEnded(emulator)
    await job.killOnceSo(
      emulator.url,
      'some results are there',
      async () => (await job.answers()).length > 0,
    )
    const before = await job.answers()
    expect(before.length).toBeLessThan(job.ids.length)
    expect(await job.noted('batch_ended')).toBe(0)
    expect(await job.runOut(emulator.url)).toBe(0)
    await expectEachOnce(job, emulator)
  })

  it('that is killed before it knows its batch finds it, or makes it anew', async () => {
    const { emulator, job } = await begin(100, 50)
    await job.killOnceSo(
      emulator.url,
      'the batch is about to be created',
      async () => (await job.noted('batch')) > 0,
    )
    expect(await job.runOut(emulator.url)).toBe(0)
    await expectEachOnce(job, emulator)
  })
})
