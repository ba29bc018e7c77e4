// A job that is killed again and again, at any moment, and begun again by the same command. Must not know:
// how a job keeps what it has.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { z } from 'zod'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, startEmulator } from '../../src/emulator/emulator.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { until } from '../servers/until.ts'

const AT_ONCE = 12
/** Between a process's start and its end, in answers; 0: as soon as it has begun. */
const LONGEST_LIFE = 60

const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-kill-'))
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

const random = seededRandom(Number(process.env.SEED ?? 7))

async function emulate(): Promise<Emulator> {
  const settings = {
    ttftMs: 40,
    tokensPerSecond: 5000,
    limits: { requests: 1_000_000, inputTokens: 100_000_000, outputTokens: 100_000_000 },
  }
  const emulator = await startEmulator({ clock: realClock(), random: seededRandom(1), settings })
  emulators.push(emulator)
  return emulator
}

/** Whole lines only: the process may be in the midst of one. */
async function linesIn(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.split('\n').slice(0, -1)
}

const named = z.object({ id: z.string() })
const journalEntry = z.object({ kind: z.string() })

class KilledJob {
  readonly ids: readonly string[]
  readonly #folder: string
  readonly #upstream: string
  readonly #flags: readonly string[]

  private constructor(
    folder: string,
    upstream: string,
    ids: readonly string[],
    flags: readonly string[],
  ) {
    this.#folder = folder
    this.#upstream = upstream
    this.ids = ids
    this.#flags = flags
  }

  static async create(
    { url }: Emulator,
    prompts: number,
    ...flags: readonly string[]
  ): Promise<KilledJob> {
    const folder = await mkdtemp(path.join(root, 'one-'))
    const ids = Array.from({ length: prompts }, (_, at) => `prompt-${at}`)
    const lines = ids.map((id) => {
      const messages = [{ role: 'user', content: `About ${id}.` }]
      return `${JSON.stringify({ id, model: 'claude-haiku-4-5', max_tokens: 20, messages })}\n`
    })
    await writeFile(path.join(folder, 'prompts.jsonl'), lines.join(''))
    return new KilledJob(folder, url, ids, flags)
  }

  async answers(): Promise<string[]> {
    const lines = await linesIn(path.join(this.#folder, 'answers.jsonl'))
    return lines.map((line) => named.parse(JSON.parse(line)).id)
  }

  failures(): Promise<string[]> {
    return linesIn(path.join(this.#folder, 'answers.failures.jsonl'))
  }

  /** How many entries of a kind the journal has. */
  async noted(kind: string): Promise<number> {
    const lines = await linesIn(path.join(this.#folder, 'answers.jsonl.journal'))
    return lines.filter((line) => journalEntry.parse(JSON.parse(line)).kind === kind).length
  }

  /** Begins it, or goes on, and kills it after some answers. */
  async runAndKill(): Promise<void> {
    const runs = await this.noted('run')
    const life = Math.floor(random() * LONGEST_LIFE)
    const answers = Math.min((await this.answers()).length + life, this.ids.length - 2 * AT_ONCE)
    const child = this.#start()
    const exit = once(child, 'exit')
    await until('the run has begun', async () => (await this.noted('run')) > runs)
    await until('it has had answers', async () => (await this.answers()).length >= answers)
    child.kill('SIGKILL')
    await exit
    expect(child.signalCode).toBe('SIGKILL')
  }

  /** Runs it until it ends by itself. Returns the exit code. */
  async runOut(): Promise<number | null> {
    const child = this.#start()
    await once(child, 'exit')
    return child.exitCode
  }

  #start(): ChildProcess {
    const files = ['prompts.jsonl', '-o', 'answers.jsonl']
    const flags = ['--max-in-flight', String(AT_ONCE), '--upstream', `anthropic=${this.#upstream}`]
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', PROGRAM, '--', 'run', ...files, ...flags, ...this.#flags],
      {
        cwd: this.#folder,
        env: { ANTHROPIC_API_KEY: 'a-key', HEADGATE_LEDGER: 'off', NODE_COMPILE_CACHE: compiled },
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    )
    processes.push(child)
    return child
  }
}

it('has every prompt answered exactly once in its output', { timeout: 120_000 }, async () => {
  const killings = 8
  const emulator = await emulate()
  const job = await KilledJob.create(emulator, 400)
  for (let killing = 0; killing < killings; killing++) await job.runAndKill()
  expect(await job.runOut()).toBe(0)
  expect((await job.answers()).sort()).toEqual(job.ids.toSorted())
  expect(await job.failures()).toEqual([])

  const inFlightAtKillings = (await job.noted('started')) - job.ids.length
  expect(inFlightAtKillings).toBeGreaterThan(0)
  // What was answered and not kept yet is in flight as well.
  expect(inFlightAtKillings).toBeLessThanOrEqual(killings * 4 * AT_ONCE)
  const answeredInVain = emulator.report().totals.admitted - job.ids.length
  expect(answeredInVain).toBeGreaterThan(0)
  // Some of it had not come to the provider.
  expect(answeredInVain).toBeLessThanOrEqual(inFlightAtKillings)
})

it('never costs more than it may, what was lost included', { timeout: 120_000 }, async () => {
  const dollars = 0.02
  const emulator = await emulate()
  const job = await KilledJob.create(emulator, 250, '--max-spend-usd', String(dollars))
  for (let killing = 0; killing < 3; killing++) await job.runAndKill()
  expect(await job.runOut()).toBe(3)
  const price = new Prices([]).priceOf('anthropic', 'claude-haiku-4-5', Date.now())
  if (!price) throw new Error('its price is known')
  const billed = emulator.report().bills.reduce((sum, bill) => sum + costOf(price, bill), 0)
  expect(billed).toBeLessThanOrEqual(dollars * 1e9)
  expect(billed).toBeGreaterThan(dollars * 1e9 * 0.5)
  expect((await job.answers()).length).toBeLessThan(job.ids.length)
})
