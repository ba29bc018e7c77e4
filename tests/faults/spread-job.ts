// One job over many workers, each a process of its own. Owns: their files, their provider, and their end. Must not
// know: what is killed, or when.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { afterAll, expect } from 'vitest'
import { z } from 'zod'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, type FaultChanges, startEmulator } from '../../src/emulator/emulator.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'

export const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-workers-'))
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

export interface Program {
  readonly events: readonly Event[]
  readonly child: ChildProcess
  /** What it has written of what went wrong, once it has ended. */
  readonly errors: Promise<string>
  /** Resolves with its exit code when it has ended by itself. */
  readonly end: Promise<number | null>
  kill(): Promise<void>
}

/** @param flags of `headgate run` */
function run(folder: string, flags: readonly string[]): Program {
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', PROGRAM, '--', 'run', '--log-format', 'json', ...flags],
    {
      cwd: folder,
      env: { ANTHROPIC_API_KEY: 'a-key', HEADGATE_LEDGER: 'off', NODE_COMPILE_CACHE: compiled },
      stdio: ['ignore', 'pipe', 'pipe'],
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
    errors: text(child.stderr),
    end: exit.then(() => child.exitCode),
    async kill() {
      child.kill('SIGKILL')
      await exit
    },
  }
}

export interface SpreadJobOptions {
  readonly prompts: number
  /** Until the first token of an answer, in milliseconds. */
  readonly ttftMs: number
  /** In a minute. @default more than any test sends */
  readonly requests?: number
  readonly maxTokens?: number
  readonly model?: string
  readonly faults?: FaultChanges
  /** @default the one that the tests of a file share */
  readonly redis?: { readonly url: string }
}

interface Address {
  readonly url: string
  readonly prefix: string
}

const PLENTY = 100_000_000

export class SpreadJob {
  readonly ids: readonly string[]
  readonly #folder: string
  readonly #emulator: Emulator
  readonly #address: Address

  private constructor(
    folder: string,
    emulator: Emulator,
    address: Address,
    ids: readonly string[],
  ) {
    this.#folder = folder
    this.#emulator = emulator
    this.#address = address
    this.ids = ids
  }

  static async create(options: SpreadJobOptions): Promise<SpreadJob> {
    const { prompts, maxTokens = 20, model = 'claude-haiku-4-5', redis } = options
    const folder = await mkdtemp(path.join(root, 'one-'))
    const ids = Array.from({ length: prompts }, (_, at) => `prompt-${at}`)
    const lines = ids.map((id) => {
      const messages = [{ role: 'user', content: `About ${id}.` }]
      return `${JSON.stringify({ id, model, max_tokens: maxTokens, messages })}\n`
    })
    await writeFile(path.join(folder, 'prompts.jsonl'), lines.join(''))
    const { url } = redis ?? (await sharedRedis())
    return new SpreadJob(folder, await provider(options), { url, prefix: freshPrefix() }, ids)
  }

  get report() {
    return this.#emulator.report()
  }

  /** What the provider charges for all that it has answered, in nano-dollars. */
  get billed(): number {
    const price = new Prices([]).priceOf('anthropic', 'claude-haiku-4-5', Date.now())
    if (!price) throw new Error('its price is known')
    return this.report.bills.reduce((sum, bill) => sum + costOf(price, bill), 0)
  }

  get #store(): string {
    return `${this.#address.url}?prefix=${this.#address.prefix}`
  }

  /** @param upstream @default this job's provider */
  async worker({
    upstream = this.#emulator.url,
    flags = [],
  }: WorkerOptions = {}): Promise<Program> {
    const address = `anthropic=${upstream}`
    const own = ['--worker', '--store', this.#store, '--upstream', address, ...flags]
    // Beside the job's folder: it sees none of its files.
    const program = run(root, own)
    const isOver = (): boolean => program.child.exitCode !== null
    await until('the worker has begun', async () => program.events.length > 0 || isOver())
    if (isOver()) throw new Error(await program.errors)
    return program
  }

  coordinator(...flags: readonly string[]): Program {
    return this.#runHere('--workers', '--store', this.#store, ...flags)
  }

  /** A run that sends the prompts itself. */
  alone(...flags: readonly string[]): Program {
    return this.#runHere('--upstream', `anthropic=${this.#emulator.url}`, ...flags)
  }

  /** The same files in another place. */
  async copied(): Promise<SpreadJob> {
    const folder = `${this.#folder}-copy`
    await cp(this.#folder, folder, { recursive: true })
    return new SpreadJob(folder, this.#emulator, this.#address, this.ids)
  }

  configure(yaml: string): Promise<void> {
    return writeFile(path.join(this.#folder, 'headgate.yaml'), yaml)
  }

  /** The most that a sending of the first prompt can cost, as the run has noted it; in nano-dollars. */
  async worstNanoUsd(): Promise<number> {
    const lines = await this.#linesIn('answers.jsonl.journal')
    const started = lines.find((line) => line.includes('"started"')) ?? ''
    return z.object({ worst_nano_usd: z.number() }).parse(JSON.parse(started)).worst_nano_usd
  }

  async answers(): Promise<string[]> {
    const lines = await this.#linesIn('answers.jsonl')
    return lines.map((line) => z.object({ id: z.string() }).parse(JSON.parse(line)).id)
  }

  failures(): Promise<string[]> {
    return this.#linesIn('answers.failures.jsonl')
  }

  /** Prompts and answers that are in Redis. */
  async entriesInRedis(): Promise<string[]> {
    const keys = await this.inRedis((client) =>
      client.keys(`{${this.#address.prefix}:run}:prompts:p*`),
    )
    return keys.filter((key) => !key.endsWith(':lock'))
  }

  /** How many of them have an outcome. */
  async outcomesInRedis(): Promise<number> {
    const keys = await this.entriesInRedis()
    const data = await this.inRedis((client) =>
      Promise.all(keys.map((key) => client.hget(key, 'data'))),
    )
    return data.filter((text) => text?.includes('"outcome"')).length
  }

  async inRedis<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis(this.#address.url)
    try {
      return await work(client)
    } finally {
      client.disconnect()
    }
  }

  #runHere(...flags: readonly string[]): Program {
    return run(this.#folder, ['prompts.jsonl', '-o', 'answers.jsonl', ...flags])
  }

  /** Whole lines only: the process may be in the midst of one. */
  async #linesIn(file: string): Promise<string[]> {
    const written = await readFile(path.join(this.#folder, file), 'utf8').catch(() => '')
    return written.split('\n').slice(0, -1)
  }
}

interface WorkerOptions {
  readonly upstream?: string
  readonly flags?: readonly string[]
}

/** Answers until the file's tests are over. */
export async function provider(
  options: Pick<SpreadJobOptions, 'ttftMs' | 'requests' | 'faults'>,
): Promise<Emulator> {
  const { ttftMs, requests = 100_000, faults = {} } = options
  const limits = { requests, inputTokens: PLENTY, outputTokens: PLENTY }
  const settings = { ttftMs, tokensPerSecond: 5000, limits, faults }
  const emulator = await startEmulator({ clock: realClock(), random: seededRandom(1), settings })
  emulators.push(emulator)
  return emulator
}

export async function terminated(worker: Program): Promise<Event> {
  worker.child.kill('SIGTERM')
  expect(await worker.end).toBe(0)
  return event.parse(worker.events.at(-1))
}
