// What a job over many workers may spend, whatever its workers, its provider and its run do. Must not know: how
// prompts and answers travel.
import { expect, it } from 'vitest'
import { until } from '../servers/until.ts'
import { SpreadJob, terminated } from './spread-job.ts'

it('never costs more than it may, a lost worker included', { timeout: 60_000 }, async () => {
  const dollars = 0.01
  const job = await SpreadJob.create({ prompts: 150, ttftMs: 400 })
  const killed = await job.worker()
  const coordinator = job.coordinator('--max-spend-usd', String(dollars))
  await until('some are answered', async () => (await job.answers()).length >= 10)
  await killed.kill()
  const worker = await job.worker()
  expect(await coordinator.end).toBe(3)
  expect(job.billed).toBeLessThanOrEqual(dollars * 1e9)
  expect(job.billed).toBeGreaterThan(dollars * 1e9 * 0.3)
  expect(coordinator.events.map((told) => told.event)).toContain('run.warned')
  await terminated(worker)
})

it.each([
  { what: 'breaks the connection', faults: { resetMidStreamRate: 1 } },
  { what: 'answers nonsense', faults: { garbageRate: 1 } },
])('keeps to it where the provider charges and $what', { timeout: 60_000 }, async ({ faults }) => {
  const dollars = 0.002
  const job = await SpreadJob.create({ prompts: 40, ttftMs: 50, faults })
  const worker = await job.worker()
  const coordinator = job.coordinator('--max-spend-usd', String(dollars))
  expect(await coordinator.end).toBe(3)
  const { admitted } = job.report.totals
  expect(admitted).toBeGreaterThan(5)
  // Nobody can know what was not counted: each sending is one at its worst.
  expect(admitted * (await job.worstNanoUsd())).toBeLessThanOrEqual(dollars * 1e9)
  // Money was short, and that is no fault of the prompts.
  expect(await job.failures()).toEqual([])
  await terminated(worker)
})

it('counts the most where a worker does not know the price', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create({ prompts: 60, ttftMs: 50, model: 'claude-haiku-9' })
  await job.configure(
    'prices:\n  claude-haiku-9: { input: 1000 USD/Mtok, output: 5000 USD/Mtok }\n',
  )
  const worker = await job.worker()
  const coordinator = job.coordinator('--max-spend-usd', '1')
  expect(await coordinator.end).toBe(3)
  const last = coordinator.events.at(-1)
  expect(last).toMatchObject({ end: 'budget_exceeded' })
  const answers = await job.answers()
  expect(answers.length).toBeGreaterThan(3)
  expect(answers.length).toBeLessThan(10)
  await terminated(worker)
})

it('takes the answers that have come, where a killed run had set all its money aside', {
  timeout: 60_000,
}, async () => {
  const money = ['--max-spend-usd', '0.12']
  const job = await SpreadJob.create({ prompts: 60, ttftMs: 1000, maxTokens: 2000 })
  const worker = await job.worker({ flags: ['--max-in-flight', '12'] })
  const first = job.coordinator(...money)
  await until('all its money is under way', async () => job.report.totals.admitted >= 11)
  await first.kill()
  await until('they are answered', async () => job.report.inFlight === 0)
  const { admitted } = job.report.totals
  await terminated(worker)
  const before = (await job.answers()).length
  expect(before).toBeLessThan(admitted)

  const second = job.coordinator(...money)
  expect(await second.end).toBe(3)
  expect((await job.answers()).length).toBe(admitted)
  expect(job.report.totals.admitted).toBe(admitted)
  expect(await job.entriesInRedis()).toEqual([])
})

it('leaves open what was lost, where there is no money to send it again', {
  timeout: 60_000,
}, async () => {
  const job = await SpreadJob.create({ prompts: 1, ttftMs: 600_000 })
  const worker = await job.worker()
  const coordinator = job.coordinator('--max-spend-usd', '0.0003')
  await until('it is under way', async () => job.report.inFlight === 1)
  worker.child.kill('SIGTERM')
  await until('it stops', async () => worker.events.at(-1)?.event === 'worker.stopping')
  worker.child.kill('SIGTERM')
  expect(await coordinator.end).toBe(3)
  const last = coordinator.events.at(-1)
  expect(last).toMatchObject({ end: 'budget_exceeded', open: 1, failed: 0 })
  expect(last?.spentUsd).toBeGreaterThan(0)
  expect(await job.failures()).toEqual([])
})
