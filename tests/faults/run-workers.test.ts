// One job over many workers, of which some are killed, and so is the run that has its files. Must not know:
// how prompts and answers travel.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { afterAll, expect, it } from 'vitest'
import { z } from 'zod'
import { main } from '../../src/cli/main.ts'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, startEmulator } from '../../src/emulator/emulator.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { fakeIo } from '../cli/fake-io.ts'
import { freshPrefix, type RedisServer, sharedRedis, startRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'

const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-workers-'))
const compiled = path.join(os.tmpdir(), 'node-compile-cache')
const processes: ChildProcess[] = []
const emulators: Emulator[] = []
afterAll(async () => {
  for (const child of processes) child.kill('SIGKILL')
  await Promise.all(emulators.map((emulator) => emulator.close()))
  await rm(root, { recursive: true })
})

const MAIN = pathToFileURL(path.join(import.meta.dirname, '../../src/cli/main.ts'))
const PROGRAM = `
import { main } from '${MAIN}'
process.exitCode = await main(process.argv.slice(1))
`

const event = z.looseObject({ event: z.string(), answered: z.number().optional() })
type Event = z.output<typeof event>

interface Program {
  readonly events: readonly Event[]
  readonly child: ChildProcess
  /** Resolves with its exit code when it has ended by itself. */
  readonly end: Promise<number | null>
  kill(): Promise<void>
}

/** @param flags of `headgate run` */
function run(folder: string, ...flags: readonly string[]): Program {
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', PROGRAM, '--', 'run', '--log-format', 'json', ...flags],
    {
      cwd: folder,
      env: { ANTHROPIC_API_KEY: 'a-key', HEADGATE_LEDGER: 'off', NODE_COMPILE_CACHE: compiled },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  processes.push(child)
  const events: Event[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(event.parse(JSON.parse(line)))
  })
  const exit = once(child, 'close')
  return {
    events,
    child,
    end: exit.then(() => child.exitCode),
    async kill() {
      child.kill('SIGKILL')
      await exit
    },
  }
}

class SpreadJob {
  readonly ids: readonly string[]
  readonly #folder: string
  readonly #emulator: Emulator
  readonly #address: { readonly url: string; readonly prefix: string }

  private constructor(
    folder: string,
    emulator: Emulator,
    address: { readonly url: string; readonly prefix: string },
    ids: readonly string[],
  ) {
    this.#folder = folder
    this.#emulator = emulator
    this.#address = address
    this.ids = ids
  }

  static async create(
    prompts: number,
    limits: { requests: number; ttftMs: number },
    redis?: RedisServer,
  ) {
    const { requests, ttftMs } = limits
    const settings = {
      ttftMs,
      tokensPerSecond: 5000,
      limits: { requests, inputTokens: 100_000_000, outputTokens: 100_000_000 },
    }
    const emulator = await startEmulator({ clock: realClock(), random: seededRandom(1), settings })
    emulators.push(emulator)
    const folder = await mkdtemp(path.join(root, 'one-'))
    const ids = Array.from({ length: prompts }, (_, at) => `prompt-${at}`)
    const lines = ids.map((id) => {
      const messages = [{ role: 'user', content: `About ${id}.` }]
      return `${JSON.stringify({ id, model: 'claude-haiku-4-5', max_tokens: 20, messages })}\n`
    })
    await writeFile(path.join(folder, 'prompts.jsonl'), lines.join(''))
    const { url } = redis ?? (await sharedRedis())
    return new SpreadJob(folder, emulator, { url, prefix: freshPrefix() }, ids)
  }

  get report() {
    return this.#emulator.report()
  }

  get #store(): string {
    return `${this.#address.url}?prefix=${this.#address.prefix}`
  }

  async worker(): Promise<Program> {
    const upstream = `anthropic=${this.#emulator.url}`
    const program = run(this.#folder, '--worker', '--store', this.#store, '--upstream', upstream)
    await until('the worker has begun', async () => program.events.length > 0)
    return program
  }

  coordinator(...flags: readonly string[]): Program {
    const files = ['prompts.jsonl', '-o', 'answers.jsonl']
    return run(this.#folder, ...files, '--workers', '--store', this.#store, ...flags)
  }

  async answers(): Promise<string[]> {
    const lines = await this.#linesIn('answers.jsonl')
    return lines.map((line) => z.object({ id: z.string() }).parse(JSON.parse(line)).id)
  }

  failures(): Promise<string[]> {
    return this.#linesIn('answers.failures.jsonl')
  }

  /** Whole lines only: the process may be in the midst of one. */
  async #linesIn(file: string): Promise<string[]> {
    const text = await readFile(path.join(this.#folder, file), 'utf8').catch(() => '')
    return text.split('\n').slice(0, -1)
  }

  /** What is left in Redis of prompts and answers. */
  async leftInRedis(): Promise<string[]> {
    const client = new Redis(this.#address.url)
    try {
      return await client.keys(`{${this.#address.prefix}:run}:prompts:p*`)
    } finally {
      client.disconnect()
    }
  }
}

const isEntry = (key: string): boolean => /:p[0-9a-f]{16}-/.test(key)

async function terminated(worker: Program): Promise<Event> {
  worker.child.kill('SIGTERM')
  expect(await worker.end).toBe(0)
  return event.parse(worker.events.at(-1))
}

it('spreads a job over three workers, which keep one limit together', {
  timeout: 90_000,
}, async () => {
  const job = await SpreadJob.create(120, { requests: 90, ttftMs: 50 })
  const workers = await Promise.all([job.worker(), job.worker(), job.worker()])
  expect(await job.coordinator().end).toBe(0)
  expect((await job.answers()).sort()).toEqual(job.ids.toSorted())
  expect(job.report.isLimitExceeded).toBe(false)
  expect(job.report.totals.admitted).toBe(job.ids.length)
  const ends = await Promise.all(workers.map(terminated))
  const answered = ends.map((end) => end.answered ?? 0)
  expect(Math.min(...answered)).toBeGreaterThan(0)
  expect(answered.reduce((sum, count) => sum + count)).toBe(job.ids.length)
  expect((await job.leftInRedis()).filter(isEntry)).toEqual([])
})

it('goes on after a worker and the run were killed, and has each prompt once', {
  timeout: 120_000,
}, async () => {
  const job = await SpreadJob.create(150, { requests: 130, ttftMs: 400 })
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
  expect((await job.leftInRedis()).filter(isEntry)).toEqual([])
})

it('gives up a prompt that three workers were lost with', { timeout: 60_000 }, async () => {
  const job = await SpreadJob.create(1, { requests: 100_000, ttftMs: 600_000 })
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
  expect((await job.leftInRedis()).filter(isEntry)).toEqual([])
})

it('never costs more than it may, a lost worker included', { timeout: 120_000 }, async () => {
  const dollars = 0.01
  const job = await SpreadJob.create(150, { requests: 100_000, ttftMs: 400 })
  const killed = await job.worker()
  const money = ['--max-spend-usd', String(dollars)]
  const coordinator = job.coordinator(...money)
  await until('some are answered', async () => (await job.answers()).length >= 10)
  await killed.kill()
  const worker = await job.worker()
  expect(await coordinator.end).toBe(3)
  const price = new Prices([]).priceOf('anthropic', 'claude-haiku-4-5', Date.now())
  if (!price) throw new Error('its price is known')
  const billed = job.report.bills.reduce((sum, bill) => sum + costOf(price, bill), 0)
  expect(billed).toBeLessThanOrEqual(dollars * 1e9)
  expect(billed).toBeGreaterThan(dollars * 1e9 * 0.3)
  expect(coordinator.events.map((told) => told.event)).toContain('run.warned')
  await terminated(worker)
})

it('has each prompt once where Redis has lost everything', { timeout: 90_000 }, async () => {
  const redis = await startRedis()
  const job = await SpreadJob.create(100, { requests: 100_000, ttftMs: 200 }, redis)
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
  const job = await SpreadJob.create(100, { requests: 100_000, ttftMs: 50 })
  const first = job.coordinator()
  await until('prompts wait', async () => (await job.leftInRedis()).some(isEntry))
  first.child.kill('SIGTERM')
  expect(await first.end).toBe(3)
  expect((await job.leftInRedis()).filter(isEntry)).toEqual([])
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
