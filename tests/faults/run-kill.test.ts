// A job that is killed again and again, at any moment, and begun again by the same command: each prompt is
// answered once, and three books agree on what it cost. Must not know: how a job keeps what it has.
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, describe, expect, it } from 'vitest'
import { startGateway } from '../gateway-process.ts'
import { freshSchema } from '../servers/postgres.ts'
import { until } from '../servers/until.ts'
import {
  allBilled,
  type Booked,
  billsOf,
  bookedFor,
  booksIn,
  guesses,
  pricedPrompts,
  sum,
} from './job-money.ts'
import { AT_ONCE, type KilledJob, KilledJobs } from './killed-job.ts'

const jobs = await KilledJobs.open()
afterAll(() => jobs[Symbol.asyncDispose]())

const FLAGS = ['--max-in-flight', String(AT_ONCE)]
/** Answers of up to a thousand tokens take from 40 to 140 ms, so that many are half billed at a kill. */
const PACE = { ttftMs: 40, tokensPerSecond: 10_000 }
/** More than is expected before anything is known of a model. */
const MOST_TOKENS = 1000

/**
 * Whether the ledger has a prompt's answers at what they cost, those included that came too late for a file. What
 * is left of the bill is for sendings whose end nobody has seen, within what the ledger has charged for them.
 */
function isExplained({ exact, guessed }: Booked, cost: number, billed: number): boolean {
  const rest = billed - sum(exact)
  return exact.every((each) => each === cost) && rest >= 0 && rest <= sum(guessed)
}

async function expectEachOnce(job: KilledJob): Promise<void> {
  expect((await job.answers()).map(({ id }) => id).sort()).toEqual(job.ids.toSorted())
  expect(await job.failures()).toEqual([])
}

it('has every prompt answered exactly once in its output', { timeout: 60_000 }, async () => {
  const killings = 10
  const emulator = await jobs.emulate(PACE)
  const job = await jobs.job({ prompts: pricedPrompts(400, 50), flags: FLAGS })
  for (let killing = 0; killing < killings; killing++) await job.runAndKill(emulator.url)
  expect(await job.runOut(emulator.url)).toBe(0)
  await expectEachOnce(job)

  const inFlightAtKillings = (await job.noted('started')) - job.ids.length
  expect(inFlightAtKillings).toBeGreaterThan(0)
  // What was answered and not kept yet is in flight as well.
  expect(inFlightAtKillings).toBeLessThanOrEqual(killings * 4 * AT_ONCE)
  const answeredInVain = emulator.report().totals.admitted - job.ids.length
  expect(answeredInVain).toBeGreaterThan(0)
  // Some of it had not come to the provider.
  expect(answeredInVain).toBeLessThanOrEqual(inFlightAtKillings)
})

it('never costs more than it may, what was lost included', { timeout: 60_000 }, async () => {
  // Enough for three killings and all that they lose, and not for all prompts.
  const dollars = 0.15
  const emulator = await jobs.emulate(PACE)
  const flags = [...FLAGS, '--max-spend-usd', String(dollars)]
  const job = await jobs.job({ prompts: pricedPrompts(1500, 50), flags })
  for (let killing = 0; killing < 3; killing++) await job.runAndKill(emulator.url)
  expect(await job.runOut(emulator.url)).toBe(3)
  const billed = sum(billsOf(emulator).values())
  expect(billed).toBeLessThanOrEqual(dollars * 1e9)
  expect(billed).toBeGreaterThan(dollars * 1e9 * 0.5)
  expect(job.spentNanoUsd).toBeGreaterThanOrEqual(billed)
  expect((await job.answers()).length).toBeLessThan(job.ids.length)
})

const LEDGERS: readonly (readonly [string, () => Promise<string>])[] = [
  ['SQLite', async () => `sqlite:${path.join(jobs.root, 'ledger.db')}`],
  ['Postgres', freshSchema],
]

describe.each(LEDGERS)('its money on %s', { timeout: 60_000 }, (_, ledgerOf) => {
  it('is what the provider charges, to the nano-dollar, and more only for what was lost at a kill', async () => {
    const killings = { atStart: 3, atWork: 7 }
    const place = await ledgerOf()
    const emulator = await jobs.emulate(PACE)
    const prompts = pricedPrompts(400, MOST_TOKENS)
    const job = await jobs.job({ prompts, flags: FLAGS, ledger: place })
    for (let killing = 0; killing < killings.atStart; killing++)
      await job.startAndKill(emulator.url)
    for (let killing = 0; killing < killings.atWork; killing++) await job.runAndKill(emulator.url)
    expect(await job.runOut(emulator.url)).toBe(0)
    await allBilled(emulator)
    await expectEachOnce(job)

    const [bills, { books, lost }] = [billsOf(emulator), await booksIn(place)]
    expect([...books.keys()].sort()).toEqual(job.ids.toSorted())
    for (const { id, costNanoUsd } of await job.answers()) {
      const booked = bookedFor(books, id)
      const what = { id, booked, costNanoUsd, billed: bills.get(id) }
      expect(booked.exact.length, JSON.stringify(what)).toBeGreaterThan(0)
      expect(isExplained(booked, costNanoUsd, bills.get(id) ?? 0), JSON.stringify(what)).toBe(true)
    }
    expect(lost).toBeGreaterThan(0)
    expect(lost).toBeLessThanOrEqual((killings.atStart + killings.atWork) * AT_ONCE)
    expect(guesses(books)).toBe(lost)
    // Its own figure has in it what was lost, at the most that this can have cost.
    expect(job.spentNanoUsd).toBeGreaterThanOrEqual(sum(bills.values()))
  })
})

it('goes on while another program keeps its ledger, and writes down later', {
  timeout: 60_000,
}, async () => {
  const file = path.join(jobs.root, 'kept.db')
  const emulator = await jobs.emulate(PACE)
  const prompts = pricedPrompts(120, MOST_TOKENS)
  const job = await jobs.job({ prompts, flags: FLAGS, ledger: `sqlite:${file}` })
  const ending = job.runOut(emulator.url)
  const answered = (count: number) => async () => (await job.answers()).length >= count
  await until('it has answers', answered(1))
  const other = new Database(file)
  other.exec('BEGIN IMMEDIATE')
  await until('it has all answers', answered(job.ids.length))
  other.exec('ROLLBACK')
  other.close()
  expect(await ending).toBe(0)
  await expectEachOnce(job)
  const { books, lost } = await booksIn(`sqlite:${file}`)
  expect([lost, guesses(books)]).toEqual([0, 0])
  const booked = Array.from(books, ([id, { exact }]): [string, number] => [id, sum(exact)])
  expect(booked.toSorted()).toEqual([...billsOf(emulator)].toSorted())
})

describe('the money of a job behind a gateway', { timeout: 60_000 }, () => {
  it('is in the gateway’s ledger to the nano-dollar, where answers came, when the job is killed', async () => {
    const file = path.join(jobs.root, 'in-front.db')
    const emulator = await jobs.emulate(PACE)
    const gateway = await startGateway(
      ...['--upstream', `anthropic=${emulator.url}`, '--ledger', `sqlite:${file}`],
    )
    const prompts = pricedPrompts(400, MOST_TOKENS)
    const job = await jobs.job({ prompts, flags: FLAGS })
    try {
      for (let killing = 0; killing < 10; killing++) await job.runAndKill(gateway.url)
      expect(await job.runOut(gateway.url)).toBe(0)
    } finally {
      await gateway.terminate()
    }
    await allBilled(emulator)
    await expectEachOnce(job)

    const [bills, { books, lost }] = [billsOf(emulator), await booksIn(`sqlite:${file}`)]
    expect(lost).toBe(0)
    for (const { id, costNanoUsd } of await job.answers()) {
      const { exact, guessed } = bookedFor(books, id)
      expect([id, exact]).toEqual([id, [costNanoUsd, ...exact.slice(1).map(() => costNanoUsd)]])
      // Of a call whose caller has gone nobody is told what it used: it counts as expected, and at the provider
      // as far as it had come.
      const rest = (bills.get(id) ?? 0) - sum(exact)
      if (guessed.length === 0) expect([id, rest]).toEqual([id, 0])
      else expect([id, rest >= 0 && rest <= guessed.length * costNanoUsd]).toEqual([id, true])
    }
    expect(guesses(books)).toBeGreaterThan(0)
    expect(job.spentNanoUsd).toBeGreaterThanOrEqual(sum(bills.values()))
  })

  it('is never less in a budget’s ledger than the bill when both are killed', async () => {
    const file = path.join(jobs.root, 'both.db')
    const config = path.join(jobs.root, 'headgate.yaml')
    const tier = 'tiers: { t: { budget: 100 USD/month } }\ndefault_tier: t\n'
    await writeFile(config, `ledger: sqlite:${file}\n${tier}`)
    const emulator = await jobs.emulate(PACE)
    const start = () =>
      startGateway(
        '--upstream',
        `anthropic=${emulator.url}`,
        '--config',
        config,
        '--ledger',
        `sqlite:${file}`,
      )
    const prompts = pricedPrompts(400, MOST_TOKENS)
    const job = await jobs.job({ prompts, flags: FLAGS })
    let gateway = await start()
    try {
      for (let killing = 0; killing < 5; killing++) {
        await job.runAndKill(gateway.url, gateway)
        gateway = await start()
      }
      expect(await job.runOut(gateway.url)).toBe(0)
    } finally {
      await gateway.terminate()
    }
    await allBilled(emulator)
    await expectEachOnce(job)

    const [bills, { books, lost }] = [billsOf(emulator), await booksIn(`sqlite:${file}`)]
    for (const { id, costNanoUsd } of await job.answers()) {
      const booked = bookedFor(books, id)
      const what = { id, booked, costNanoUsd, billed: bills.get(id) }
      expect(isExplained(booked, costNanoUsd, bills.get(id) ?? 0), JSON.stringify(what)).toBe(true)
    }
    expect(lost).toBeGreaterThan(0)
    expect(guesses(books)).toBe(lost)
    expect(job.spentNanoUsd).toBeGreaterThanOrEqual(sum(bills.values()))
  })
})
