// A job whose prompts can wait, from the command line up to the emulator's batches.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { main } from '../../src/cli/main.ts'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { until } from '../servers/until.ts'
import { stubUpstream } from '../stub-upstream.ts'
import { fakeIo } from './fake-io.ts'

/** Batches are looked at every ten seconds at most: these pass quickly. */
const SPEED = 100
const MODEL = 'claude-haiku-4-5'

const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-batch-'))
afterAll(() => rm(root, { recursive: true }))

const emulators: Emulator[] = []
afterEach(async () => {
  for (const emulator of emulators.splice(0)) await emulator.close()
})

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(root, 'one-'))
})

async function emulate(settings: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = await startEmulator({
    clock: realClock(),
    random: seededRandom(1),
    settings: {
      ttftMs: 0,
      tokensPerSecond: 5000,
      batchMs: 50,
      limits: { requests: 100_000, inputTokens: 10_000_000, outputTokens: 10_000_000 },
      ...settings,
    },
  })
  emulators.push(emulator)
  return emulator
}

const ids = (count: number): string[] => Array.from({ length: count }, (_, at) => `p${at}`)

async function writePrompts(count: number, system: (at: number) => string = () => 'Be brief.') {
  const lines = ids(count).map((id, at) => {
    const messages = [{ role: 'user', content: `What is ${id}?` }]
    return `${JSON.stringify({ id, model: MODEL, max_tokens: 20, system: system(at), messages })}\n`
  })
  await writeFile(path.join(folder, 'prompts.jsonl'), lines.join(''))
}

function start({ url }: Pick<Emulator, 'url'>, ...flags: string[]) {
  const io = {
    ...fakeIo({ folder, env: { ANTHROPIC_API_KEY: 'k' } }),
    clock: realClock(SPEED),
  }
  const files = [path.join(folder, 'prompts.jsonl'), '-o', path.join(folder, 'answers.jsonl')]
  return { io, ended: main(['run', ...files, '--upstream', `anthropic=${url}`, ...flags], io) }
}

async function run(emulator: Emulator, ...flags: string[]) {
  const { io, ended } = start(emulator, ...flags)
  return { exitCode: await ended, out: io.out(), err: io.err() }
}

const recordSchema = z.object({
  id: z.string(),
  cost_usd: z.number(),
  via: z.literal('batch').optional(),
})

async function recordsIn(name: string) {
  const text = await readFile(path.join(folder, name), 'utf8')
  const lines = text.split('\n').slice(0, -1)
  return lines.map((line) => recordSchema.parse(JSON.parse(line)))
}

/** Nano-dollars. */
function billed(emulator: Emulator): number {
  const price = new Prices([]).priceOf('anthropic', MODEL, Date.now())
  if (!price) throw new Error('its price is known')
  const { bills } = emulator.report()
  return bills.reduce(
    (sum, bill) => sum + costOf(price, bill, { isBatch: bill.serviceTier === 'batch' }),
    0,
  )
}

describe('headgate run --within', () => {
  it('has all that can wait answered in batches, at half the price', async () => {
    const emulator = await emulate()
    await writePrompts(30)
    expect(await run(emulator, '--within', '24h')).toMatchObject({ exitCode: 0, err: '' })
    const answers = await recordsIn('answers.jsonl')
    expect(answers.map(({ id }) => id).sort()).toEqual(ids(30).sort())
    expect(answers.map(({ via }) => via)).toEqual(ids(30).map(() => 'batch'))
    const spent = answers.reduce((sum, answer) => sum + answer.cost_usd, 0)
    expect(spent * 1e9).toBeGreaterThan(0)
    expect(Math.abs(spent * 1e9 - billed(emulator))).toBeLessThanOrEqual(30)
    expect(emulator.report().bills.map(({ serviceTier }) => serviceTier)).toEqual(['batch'])
  })

  it('sends one by one where a batch may come too late', async () => {
    const emulator = await emulate()
    await writePrompts(5)
    expect(await run(emulator, '--within', '30m')).toMatchObject({ exitCode: 0, err: '' })
    const answers = await recordsIn('answers.jsonl')
    expect(answers.map(({ via }) => via)).toEqual(ids(5).map(() => undefined))
  })

  it('sends one by one what a batch brings back without an answer', async () => {
    const emulator = await emulate({ batchMs: 600_000, batchExpiryMs: 50 })
    await writePrompts(6)
    expect(await run(emulator, '--within', '24h')).toMatchObject({ exitCode: 0 })
    const answers = await recordsIn('answers.jsonl')
    expect(answers.map(({ id }) => id).sort()).toEqual(ids(6))
    expect(answers.map(({ via }) => via)).toEqual(ids(6).map(() => undefined))
    expect(await recordsIn('answers.failures.jsonl')).toEqual([])
  })

  it('sends what the money bears, batch after batch, and never spends more', async () => {
    const emulator = await emulate()
    await writePrompts(40)
    const { exitCode, out } = await run(emulator, '--within', '24h', '--max-spend-usd', '0.0012')
    expect(exitCode).toBe(3)
    expect(out).toContain('could cost more than is left of $0.0012')
    const answers = await recordsIn('answers.jsonl')
    expect(answers.length).toBeLessThan(40)
    expect(billed(emulator)).toBeLessThanOrEqual(0.0012e9)
    expect(billed(emulator)).toBeGreaterThan(0.0012e9 * 0.8)
    expect(out.match(/went into the batch/g)?.length).toBeGreaterThan(1)
    expect(await run(emulator, '--within', '24h')).toMatchObject({ exitCode: 0 })
    expect((await recordsIn('answers.jsonl')).map(({ id }) => id).sort()).toEqual(ids(40).sort())
  })

  it('leaves batches to the next run when it is told to stop', async () => {
    const emulator = await emulate({ batchMs: 1_000 })
    await writePrompts(8)
    const { io, ended } = start(emulator, '--within', '24h', '--max-spend-usd', '0.01')
    await io.until('went into the batch')
    io.process.emit('SIGINT', 'SIGINT')
    expect(await ended).toBe(3)
    expect(await recordsIn('answers.jsonl')).toEqual([])
    // Without --within: what is pending is waited for all the same.
    expect(await run(emulator, '--max-spend-usd', '0.01')).toMatchObject({ exitCode: 0 })
    const answers = await recordsIn('answers.jsonl')
    expect(answers.map(({ via }) => via)).toEqual(ids(8).map(() => 'batch'))
    expect(emulator.report().bills.map(({ serviceTier }) => serviceTier)).toEqual(['batch'])
  })

  it('waits on the second signal for no batch that is being created, and remembers it', async () => {
    await using silent = await stubUpstream(() => {})
    await writePrompts(8)
    const { io, ended } = start(silent, '--within', '24h')
    await until('it is asked', async () => silent.received.length === 1)
    expect(silent.received[0]?.url).toBe('/v1/messages/batches')
    io.process.emit('SIGINT', 'SIGINT')
    await io.until('Stopping')
    io.process.emit('SIGINT', 'SIGINT')
    expect(await ended).toBe(3)
    const journal = await readFile(path.join(folder, 'answers.jsonl.journal'), 'utf8')
    expect(journal).toContain('"kind":"batch"')
    expect(journal).not.toContain('"kind":"batch_')
  })
})
