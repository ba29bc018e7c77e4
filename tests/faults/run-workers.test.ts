// One job over many workers, of which some are killed, and so is the run that has its files. Must not know:
// how prompts and answers travel.
import { expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { fakeIo } from '../cli/fake-io.ts'
import { startRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'
import { root, SpreadJob, terminated } from './spread-job.ts'

it('spreads a job over three workers, which keep one limit together', {
  timeout: 90_000,
}, async () => {
  const job = await SpreadJob.create({ prompts: 60, requests: 50, ttftMs: 50 })
  const workers = await Promise.all([job.worker(), job.worker(), job.worker()])
  expect(await job.coordinator().end).toBe(0)
  expect((await job.answers()).sort()).toEqual(job.ids.toSorted())
  expect(job.report.isLimitExceeded).toBe(false)
  expect(job.report.totals.admitted).toBe(job.ids.length)
  const ends = await Promise.all(workers.map(terminated))
  const answered = ends.map((end) => end.answered ?? 0)
  expect(Math.min(...answered)).toBeGreaterThan(0)
  expect(answered.reduce((sum, count) => sum + count)).toBe(job.ids.length)
  expect(await job.entriesInRedis()).toEqual([])
})

it('goes on after a worker and the run were killed, and has each prompt once', {
  timeout: 120_000,
}, async () => {
  const job = await SpreadJob.create({ prompts: 100, requests: 100, ttftMs: 400 })
  const [killed, ...workers] = await Promise.all([job.worker(), job.worker(), job.worker()])
  const first = job.coordinator()
  await until('some are answered', async () => (await job.answers()).length >= 20)
  await killed?.kill()
  await until('more are answered', async () => (await job.answers()).length >= 40)
  await first.kill()
  const before = await job.answers()
  expect(before.length).toBeLessThan(job.ids.length)
  // Workers go on with what they have, and nobody listens.
  const admitted = job.report.totals.admitted
  await until('some are answered to nobody', async () => job.report.totals.admitted > admitted)

  expect(await job.coordinator().end).toBe(0)
  const answers = await job.answers()
  expect(answers.slice(0, before.length)).toEqual(before)
  expect(answers.sort()).toEqual(job.ids.toSorted())
  expect(job.report.isLimitExceeded).toBe(false)
  // Only what the killed worker had under way was sent a second time.
  const twice = job.report.totals.admitted - job.ids.length
  expect(twice).toBeGreaterThan(0)
  expect(twice).toBeLessThanOrEqual(16)
  await Promise.all(workers.map(terminated))
  expect(await job.entriesInRedis()).toEqual([])
})

it('gives up a prompt that three workers were lost with', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 1, ttftMs: 600_000 })
  const coordinator = job.coordinator()
  for (let lost = 1; lost <= 3; lost++) {
    const worker = await job.worker()
    await until('the prompt is under way', async () => job.report.inFlight === 1)
    worker.child.kill('SIGTERM')
    await until('it stops', async () => worker.events.at(-1)?.event === 'worker.stopping')
    // Hands back what it has.
    worker.child.kill('SIGTERM')
    expect(await worker.end).toBe(0)
    await until('the provider has seen it go', async () => job.report.inFlight === 0)
  }
  expect(await coordinator.end).toBe(3)
  const [failure = ''] = await job.failures()
  expect(JSON.parse(failure)).toMatchObject({ error: { type: 'worker_lost' }, attempts: 3 })
  expect(JSON.parse(failure).cost_usd).toBeGreaterThan(0)
  expect(await job.entriesInRedis()).toEqual([])
})

it('has each prompt once where Redis has lost everything', { timeout: 90_000 }, async () => {
  const redis = await startRedis()
  const job = await SpreadJob.create({ prompts: 100, ttftMs: 200, redis })
  const worker = await job.worker()
  const coordinator = job.coordinator()
  await until('some are answered', async () => (await job.answers()).length >= 20)
  await redis.restart()
  expect(await coordinator.end).toBe(0)
  expect((await job.answers()).sort()).toEqual(job.ids.toSorted())
  await terminated(worker)
  await redis.stop()
})

it('takes back on a signal what no worker has begun', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 100, ttftMs: 50 })
  const first = job.coordinator()
  await until('prompts wait', async () => (await job.entriesInRedis()).length > 0)
  first.child.kill('SIGTERM')
  expect(await first.end).toBe(3)
  expect(await job.entriesInRedis()).toEqual([])
  // None of it counts as spent.
  expect(first.events.at(-1)).toMatchObject({ event: 'run.ended', open: 100, spentUsd: 0 })
  const worker = await job.worker()
  expect(await job.coordinator().end).toBe(0)
  expect((await job.answers()).length).toBe(100)
  await terminated(worker)
})

const FILES = ['prompts.jsonl', '-o', 'answers.jsonl']
const STORE = ['--store', 'redis://127.0.0.1:1']

it.each([
  ['needs a store that machines share', [...FILES, '--workers']],
  ['needs a store that machines share', ['--worker']],
  ['--lane: is for those who send', [...FILES, '--workers', ...STORE, '--lane', 'high']],
  [
    '--long-windows: workers always wait',
    [...FILES, '--workers', ...STORE, '--long-windows', 'stop'],
  ],
  ['--within: workers send no batches', [...FILES, '--workers', ...STORE, '--within', '4h']],
  ['--max-spend-usd: is not for a worker', ['--worker', ...STORE, '--max-spend-usd', '3']],
  ['a worker has no files', ['--worker', ...STORE, 'prompts.jsonl']],
  ["missing required argument 'input'", ['--workers', ...STORE]],
  ["required option '-o, --output <FILE>'", ['prompts.jsonl']],
])('says that it %s', async (why, flags) => {
  const io = fakeIo({ folder: root, env: { ANTHROPIC_API_KEY: 'a-key' } })
  expect(await main(['run', ...flags], io)).toBe(2)
  expect(io.err()).toContain(why)
})
