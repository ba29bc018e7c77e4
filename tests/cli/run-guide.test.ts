// The guide to batch jobs: its commands are run as they stand there, with an emulator as the provider. Must not
// know: the commands.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import { main } from '../../src/cli/main.ts'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, startEmulator } from '../../src/emulator/emulator.ts'
import { blocksOf, readPage } from '../docs/markdown.ts'
import { fakeIo } from './fake-io.ts'

const PAGE = readPage('docs/guide/batch-jobs.md')
const BLOCKS = blocksOf(PAGE)
/** Batches are looked at every ten seconds at most: these pass quickly. */
const SPEED = 100
/** It needs a Redis, and several processes: `tests/faults/run-workers.test.ts`. */
const OF_MANY = /--workers?\b/

const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-guide-'))
let emulator: Emulator
beforeAll(async () => {
  const limits = { requests: 100_000, inputTokens: 10_000_000, outputTokens: 10_000_000 }
  const settings = { ttftMs: 0, tokensPerSecond: 5000, batchMs: 50, limits }
  emulator = await startEmulator({ clock: realClock(), random: seededRandom(1), settings })
})
afterAll(async () => {
  await emulator.close()
  await rm(root, { recursive: true })
})

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(root, 'one-'))
})

const inFolder = (name: string): string => path.join(folder, name)

/** `headgate run …` as it would be typed in the folder. */
async function run(command: string, env: Record<string, string> = {}) {
  const words = command.trim().split(/\s+/).slice(1)
  const argv = words.map((word) =>
    /^(prompts|answers)\.jsonl$/.test(word) ? inFolder(word) : word,
  )
  const at = argv.indexOf('--upstream')
  if (at >= 0) argv.splice(at, 2)
  const io = {
    ...fakeIo({ folder, env: { ANTHROPIC_API_KEY: 'any', ...env } }),
    clock: realClock(SPEED),
  }
  const exitCode = await main([...argv, '--upstream', `anthropic=${emulator.url}`], io)
  return { exitCode, out: io.out(), err: io.err() }
}

const blocksIn = (language: string): string[] =>
  BLOCKS.filter((block) => block.language === language).map(({ text }) => text)

const commandsIn = (text: string): string[] =>
  text.split('\n').filter((line) => line.startsWith('headgate run'))

const QUICK_START = blocksIn('sh').find((text) => text.includes('<<')) ?? ''

/** Its prompts, as the shell writes them. */
function writePrompts(): void {
  const [writing = ''] = QUICK_START.split('headgate run')
  execFileSync('sh', ['-euc', writing], { cwd: folder })
}

const commands = blocksIn('sh')
  .flatMap(commandsIn)
  .filter((command) => !OF_MANY.test(command))

it('has commands for all that a job on one machine is told', () => {
  expect(commands.length).toBeGreaterThan(5)
  expect(QUICK_START).toContain('prompts.jsonl')
})

it.each([...new Set(commands)])('%s', async (command) => {
  writePrompts()
  expect(await run(command)).toMatchObject({ exitCode: 0, err: '' })
  const isDry = command.includes('--dry-run')
  expect(existsSync(inFolder('answers.jsonl'))).toBe(!isDry)
  if (isDry) return
  const lines = (await readFile(inFolder('answers.jsonl'), 'utf8')).trimEnd().split('\n')
  expect(lines).toHaveLength(2)
  expect(lines.every((line) => line.includes('"via":"batch"'))).toBe(command.includes('--within'))
})

it('has prompts in forms that are read', async () => {
  const [forms = ''] = blocksIn('jsonl')
  const messages = '"messages": [{"role": "user", "content": "Hello."}]'
  await writeFile(inFolder('prompts.jsonl'), forms.replaceAll('"messages": […]', messages))
  const { exitCode, out } = await run('headgate run prompts.jsonl -o answers.jsonl')
  expect([exitCode, out]).toEqual([0, expect.stringContaining('4 prompts: 4 answered')])
  const ids = (await readFile(inFolder('answers.jsonl'), 'utf8')).match(/"id":"(essay-\d|1)"/g)
  expect(ids?.sort()).toEqual(['1', 'essay-2', 'essay-3', 'essay-4'].map((id) => `"id":"${id}"`))
})

const answerSchema = z.object({ cost_usd: z.number() })

it('has a ledger that each sending is written down in, alone or in a batch', async () => {
  const config = blocksIn('yaml').find((text) => text.startsWith('ledger:')) ?? ''
  const file = inFolder('ledger.db')
  // Nothing in the environment: the file says where.
  const env = { HEADGATE_LEDGER: '' }
  expect(config).toBe('ledger: sqlite:./ledger.db\n')
  await writeFile(inFolder('headgate.yaml'), config.replace('./ledger.db', file))
  writePrompts()
  const booked = (): unknown => {
    const database = new Database(file, { readonly: true })
    const sums = database.prepare('select count(*) as events, sum(cost) as cost, user from events')
    const found = sums.get()
    database.close()
    return found
  }
  const answeredAt = async (): Promise<number> => {
    const answers = (await readFile(inFolder('answers.jsonl'), 'utf8')).trimEnd().split('\n')
    const costs = answers.map((line) => answerSchema.parse(JSON.parse(line)).cost_usd)
    return Math.round(costs.reduce((sum, usd) => sum + usd, 0) * 1e9)
  }
  expect(await run('headgate run prompts.jsonl -o answers.jsonl', env)).toMatchObject({
    exitCode: 0,
  })
  const alone = await answeredAt()
  expect(booked()).toEqual({ events: 2, cost: alone, user: null })
  await rm(inFolder('answers.jsonl.journal'))
  await rm(inFolder('answers.jsonl'))
  await rm(inFolder('answers.failures.jsonl'))
  expect(await run('headgate run prompts.jsonl -o answers.jsonl --within 24h', env)).toMatchObject({
    exitCode: 0,
  })
  expect(booked()).toEqual({ events: 4, cost: alone + (await answeredAt()), user: null })
})
