// A job whose prompts wait in batches, killed while these are pending or their results are written down, and
// begun again by the same command. Must not know: how a job remembers its batches.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, startEmulator } from '../../src/emulator/emulator.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { until } from '../servers/until.ts'

const MODEL = 'claude-haiku-4-5'

const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-batch-kill-'))
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

async function emulate(batchMs: number): Promise<Emulator> {
  const emulator = await startEmulator({
    clock: realClock(),
    random: seededRandom(1),
    settings: { batchMs },
  })
  emulators.push(emulator)
  return emulator
}

/** Whole lines only: the process may be in the midst of one. */
async function linesIn(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.split('\n').slice(0, -1)
}

const recordSchema = z.object({ id: z.string(), cost_usd: z.number(), via: z.literal('batch') })
const entrySchema = z.object({ kind: z.string() })

async function jobOf(emulator: Emulator, prompts: number) {
  const folder = await mkdtemp(path.join(root, 'one-'))
  const ids = Array.from({ length: prompts }, (_, at) => `prompt-${at}`)
  const lines = ids.map((id) => {
    const messages = [{ role: 'user', content: `About ${id}.` }]
    return `${JSON.stringify({ id, model: MODEL, max_tokens: 20, messages })}\n`
  })
  await writeFile(path.join(folder, 'prompts.jsonl'), lines.join(''))
  const start = (): ChildProcess => {
    const flags = ['--within', '24h', '--max-spend-usd', '1', '--upstream']
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', PROGRAM, '--', 'run', 'prompts.jsonl', '-o', 'answers.jsonl']
        .concat(flags)
        .concat(`anthropic=${emulator.url}`),
      {
        cwd: folder,
        env: { ANTHROPIC_API_KEY: 'a-key', HEADGATE_LEDGER: 'off', NODE_COMPILE_CACHE: compiled },
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    )
    processes.push(child)
    return child
  }
  const answers = async () => {
    const written = await linesIn(path.join(folder, 'answers.jsonl'))
    return written.map((line) => recordSchema.parse(JSON.parse(line)))
  }
  return {
    ids,
    answers,
    failures: () => linesIn(path.join(folder, 'answers.failures.jsonl')),
    async noted(kind: string): Promise<number> {
      const journal = await linesIn(path.join(folder, 'answers.jsonl.journal'))
      return journal.filter((line) => entrySchema.parse(JSON.parse(line)).kind === kind).length
    },
    /** Runs it until something is so, and kills it then. */
    async killOnce(what: string, isSo: () => Promise<boolean>): Promise<void> {
      const child = start()
      const exit = once(child, 'exit')
      await until(what, isSo)
      child.kill('SIGKILL')
      await exit
      expect(child.signalCode).toBe('SIGKILL')
    },
    /** Runs it until it ends by itself. Returns the exit code. */
    async runOut(): Promise<number | null> {
      const child = start()
      await once(child, 'exit')
      return child.exitCode
    },
  }
}

type KilledJob = Awaited<ReturnType<typeof jobOf>>

async function expectEachOnce(job: KilledJob, emulator: Emulator): Promise<void> {
  const answers = await job.answers()
  expect(answers.map(({ id }) => id).sort()).toEqual(job.ids.toSorted())
  expect(await job.failures()).toEqual([])
  const { bills, totals } = emulator.report()
  expect(totals.batchRequests).toBe(job.ids.length)
  expect(totals.admitted).toBe(0)
  const price = new Prices([]).priceOf('anthropic', MODEL, Date.now())
  if (!price) throw new Error('its price is known')
  const billed = bills.reduce((sum, bill) => sum + costOf(price, bill, { isBatch: true }), 0)
  const told = answers.reduce((sum, { cost_usd: usd }) => sum + usd * 1e9, 0)
  // Each answer's cost is rounded up.
  expect(Math.abs(told - billed)).toBeLessThan(job.ids.length)
}

describe('a job in batches', () => {
  it('that is killed while one is pending pays for each prompt once', {
    timeout: 60_000,
  }, async () => {
    const emulator = await emulate(2_000)
    const job = await jobOf(emulator, 200)
    await job.killOnce('the batch exists', async () => (await job.noted('batch_created')) > 0)
    expect(await job.answers()).toEqual([])
    await until('the batch has ended', async () => emulator.report().totals.batchRequests > 0)
    expect(await job.runOut()).toBe(0)
    await expectEachOnce(job, emulator)
  })

  it('that is killed while it writes down results has each once', { timeout: 60_000 }, async () => {
    const emulator = await emulate(100)
    const job = await jobOf(emulator, 3_000)
    await job.killOnce('the batch exists', async () => (await job.noted('batch_created')) > 0)
    await until('the batch has ended', async () => emulator.report().totals.batchRequests > 0)
    await job.killOnce('some results are there', async () => (await job.answers()).length > 0)
    const before = await job.answers()
    expect(before.length).toBeLessThan(job.ids.length)
    expect(await job.noted('batch_ended')).toBe(0)
    expect(await job.runOut()).toBe(0)
    await expectEachOnce(job, emulator)
  })

  it('that is killed before it knows its batch finds it, or makes it anew', {
    timeout: 60_000,
  }, async () => {
    const emulator = await emulate(100)
    const job = await jobOf(emulator, 50)
    await job.killOnce(
      'the batch is about to be created',
      async () => (await job.noted('batch')) > 0,
    )
    expect(await job.runOut()).toBe(0)
    await expectEachOnce(job, emulator)
  })
})
