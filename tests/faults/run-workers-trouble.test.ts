// What goes wrong around a job over many workers: its Redis, its workers' keys, a second run, a run that is killed.
// Must not know: how prompts and answers travel.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { startRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'
import { provider, SpreadJob, terminated } from './spread-job.ts'

/** Answers each request with an error of the prompt's own, once it is told to. */
async function badProvider() {
  const waiting: ServerResponse[] = []
  const server = createServer((request, response) => {
    request.resume()
    waiting.push(response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('it has a port')
  const error = { type: 'invalid_request_error', message: 'no' }
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked: () => waiting.length,
    answer() {
      for (const response of waiting) {
        response.writeHead(400, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ type: 'error', error }))
      }
    },
  }
}

it.each([
  { what: 'has no memory left', setting: 'maxmemory', bad: '1', good: '0' },
  { what: 'has too few replicas', setting: 'min-replicas-to-write', bad: '1', good: '0' },
])('waits while Redis $what, and pays for nothing twice', { timeout: 60_000 }, async (trouble) => {
  const { setting, bad, good } = trouble
  const redis = await startRedis()
  const job = await SpreadJob.create({ prompts: 60, ttftMs: 300, redis })
  const worker = await job.worker()
  const coordinator = job.coordinator()
  await until('some are under way', async () => job.report.inFlight >= 8)
  await job.inRedis((client) => client.config('SET', setting, bad))
  await until('the answers are there', async () => job.report.inFlight === 0)
  await until('it is told', async () => coordinator.events.some((e) => e.event === 'run.warned'))
  await job.inRedis((client) => client.config('SET', setting, good))
  expect(await coordinator.end).toBe(0)
  expect((await job.answers()).toSorted()).toEqual(job.ids.toSorted())
  expect(job.report.totals.admitted).toBe(job.ids.length)
  await terminated(worker)
  await redis.stop()
})

it.each([
  ['refuses the user or the password', 'wrong:wrong@'],
  ['wants a password', ''],
])('says at once that Redis %s', { timeout: 30_000 }, async (why, access) => {
  const redis = await startRedis()
  const url = redis.url.replace('//', `//${access}`)
  const job = await SpreadJob.create({ prompts: 1, ttftMs: 0, redis: { url } })
  const client = new Redis(redis.url)
  await client.config('SET', 'requirepass', 'secret')
  client.disconnect()
  const coordinator = job.coordinator()
  expect(await coordinator.end).toBe(1)
  expect(await coordinator.errors).toContain(why)
  await redis.stop()
})

it('goes on without a worker whose key is refused, which stops', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 40, ttftMs: 300 })
  const empty = await provider({ ttftMs: 0, faults: { spendLimitRate: 1 } })
  const refused = await job.worker({ upstream: empty.url })
  const coordinator = job.coordinator()
  expect(await refused.end).toBe(1)
  expect(await refused.errors).toContain('the provider takes nothing more from this key')
  const worker = await job.worker()
  expect(await coordinator.end).toBe(0)
  expect((await job.answers()).length).toBe(40)
  expect(job.report.totals.admitted).toBe(40)
  expect(coordinator.events.at(-1)).toMatchObject({ failed: 0 })
  await terminated(worker)
})

it.concurrent('ends on a signal where all workers are gone', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 40, ttftMs: 600_000 })
  const worker = await job.worker()
  const coordinator = job.coordinator()
  await until('some are under way', async () => job.report.inFlight >= 8)
  await worker.kill()
  coordinator.child.kill('SIGTERM')
  // Up to the time after which a worker that says nothing is gone.
  expect(await coordinator.end).toBe(3)
  const last = coordinator.events.at(-1)
  expect(last).toMatchObject({ end: 'stopped', open: 40, failed: 0 })
  expect(last?.spentUsd).toBeGreaterThan(0)
  expect(await job.entriesInRedis()).toEqual([])
})

it.concurrent('refuses a job that another run has, whose files were copied', {
  timeout: 60_000,
}, async () => {
  const job = await SpreadJob.create({ prompts: 60, ttftMs: 600_000 })
  const first = job.coordinator()
  await until('prompts wait', async () => (await job.entriesInRedis()).length > 0)
  const copy = await job.copied()
  const second = copy.coordinator()
  expect(await second.end).toBe(1)
  expect(await second.errors).toContain('another run has this job: ')
  expect((await job.entriesInRedis()).length).toBeGreaterThan(0)
  // A run that was killed is waited for, and no longer than it takes to know.
  await first.kill()
  const third = copy.coordinator()
  const worker = await job.worker()
  await until('it goes on', async () => job.report.inFlight > 0)
  await worker.kill()
  await third.kill()
})

it('sends again with --retry-failed what has failed for a killed run', {
  timeout: 60_000,
}, async () => {
  const job = await SpreadJob.create({ prompts: 10, ttftMs: 0 })
  const bad = await badProvider()
  const refused = await job.worker({ upstream: bad.url, flags: ['--max-in-flight', '10'] })
  const first = job.coordinator()
  await until('all are asked', async () => bad.asked() === 10)
  await first.kill()
  bad.answer()
  await until('it waits in Redis', async () => (await job.outcomesInRedis()) === 10)
  await terminated(refused)
  const worker = await job.worker()
  expect(await job.coordinator('--retry-failed').end).toBe(0)
  expect((await job.answers()).length).toBe(10)
  await terminated(worker)
})

it('says what may be with workers where it goes on without', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 20, ttftMs: 50 })
  const first = job.coordinator()
  await until('prompts wait', async () => (await job.entriesInRedis()).length === 20)
  await first.kill()
  const alone = job.alone()
  expect(await alone.end).toBe(0)
  const warned = alone.events.find((told) => told.event === 'run.warned')
  expect(warned?.sentence).toMatch(/^20 prompts may be with workers/)
})

it('leaves alone what an earlier run has put into batches', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 20, ttftMs: 0 })
  const first = job.alone('--within', '24h')
  await until('the batch is there', async () =>
    first.events.some((told) => told.event === 'run.batch_submitted'),
  )
  await first.kill()
  const coordinator = job.coordinator()
  expect(await coordinator.end).toBe(2)
  expect(await coordinator.errors).toContain('--workers: 20 prompts are in batches')
  expect(await job.entriesInRedis()).toEqual([])
})

it('keeps nothing in Redis for ever', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 20, ttftMs: 50 })
  const coordinator = job.coordinator()
  await until('prompts wait', async () => (await job.entriesInRedis()).length === 20)
  await coordinator.kill()
  const worker = await job.worker()
  await until('all are answered', async () => job.report.totals.admitted === 20)
  await terminated(worker)
  const keys = await job.entriesInRedis()
  expect(keys.length).toBe(20)
  const lives = await job.inRedis((client) => Promise.all(keys.map((key) => client.pttl(key))))
  expect(Math.min(...lives)).toBeGreaterThan(13 * 86_400_000)
})
