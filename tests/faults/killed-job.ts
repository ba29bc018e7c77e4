// Jobs of `headgate run` as processes, for tests that kill them at random instants. Owns: starting them, killing
// them, and reading what they have written. Must not know: what a test proves.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { expect } from 'vitest'
import { z } from 'zod'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.ts'
import { until } from '../servers/until.ts'

export const AT_ONCE = 12
/** Between a process's start and its end, in answers; 0: as soon as it has begun. */
const LONGEST_LIFE = 60
/** Between that and the kill, or between a start and a kill in the midst of it. */
const LONGEST_START_MS = 800
const LONGEST_REST_MS = 20

const MAIN = pathToFileURL(path.join(import.meta.dirname, '../../src/cli/main.ts'))
const PROGRAM = `
import { main } from '${MAIN}'
process.exitCode = await main(process.argv.slice(1))
`

const compiled = path.join(os.tmpdir(), 'node-compile-cache')

const SEED = Number(process.env.SEED ?? 7)

const LIMITS = { requests: 1_000_000, inputTokens: 100_000_000, outputTokens: 100_000_000 }

const recordSchema = z.object({
  id: z.string(),
  cost_usd: z.number(),
  via: z.literal('batch').optional(),
})
const entrySchema = z.object({ kind: z.string() })
const endSchema = z.object({ event: z.literal('run.ended'), spentUsd: z.number() })

/** A line of the output. */
export interface WrittenAnswer {
  readonly id: string
  readonly costNanoUsd: number
  readonly isOfBatch: boolean
}

export interface JobPlan {
  /** Their number is that of its prompts. */
  readonly prompts: readonly { readonly id: string; readonly params: object }[]
  readonly flags?: readonly string[]
  /** Relative to the job's folder, or an address. @default off */
  readonly ledger?: string
}

interface Mortal {
  kill(): Promise<void>
}

/** Whole lines only: the process may be in the midst of one. */
async function linesIn(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.split('\n').slice(0, -1)
}

/** What a file's tests start, and have to end. */
export class KilledJobs implements AsyncDisposable {
  static async open(): Promise<KilledJobs> {
    return new KilledJobs(await mkdtemp(path.join(os.tmpdir(), 'headgate-killed-')))
  }

  readonly root: string
  readonly #processes: ChildProcess[] = []
  readonly #emulators: Emulator[] = []

  private constructor(root: string) {
    this.root = root
  }

  async emulate(settings: EmulatorOptions = {}): Promise<Emulator> {
    const emulator = await startEmulator({
      clock: realClock(),
      random: seededRandom(1),
      settings: { limits: LIMITS, ...settings },
    })
    this.#emulators.push(emulator)
    return emulator
  }

  async job(plan: JobPlan): Promise<KilledJob> {
    const folder = await mkdtemp(path.join(this.root, 'one-'))
    const lines = plan.prompts.map(({ id, params }) => `${JSON.stringify({ id, params })}\n`)
    await writeFile(path.join(folder, 'prompts.jsonl'), lines.join(''))
    return new KilledJob(folder, plan, (child) => this.#processes.push(child))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL')
    await Promise.all(this.#emulators.map((emulator) => emulator.close()))
    await rm(this.root, { recursive: true })
  }
}

/** One job, run again and again by the same command. */
export class KilledJob {
  readonly folder: string
  readonly ids: readonly string[]
  readonly #plan: JobPlan
  readonly #onStart: (child: ChildProcess) => void
  readonly #random = seededRandom(SEED)
  #end: z.output<typeof endSchema> | null = null

  constructor(folder: string, plan: JobPlan, onStart: (child: ChildProcess) => void) {
    this.folder = folder
    this.ids = plan.prompts.map(({ id }) => id)
    this.#plan = plan
    this.#onStart = onStart
  }

  async answers(): Promise<WrittenAnswer[]> {
    const lines = await linesIn(path.join(this.folder, 'answers.jsonl'))
    return lines.map((line) => {
      const { id, cost_usd: usd, via } = recordSchema.parse(JSON.parse(line))
      return { id, costNanoUsd: Math.round(usd * 1e9), isOfBatch: via === 'batch' }
    })
  }

  failures(): Promise<string[]> {
    return linesIn(path.join(this.folder, 'answers.failures.jsonl'))
  }

  /** How many entries of a kind the journal has. */
  async noted(kind: string): Promise<number> {
    const lines = await linesIn(path.join(this.folder, 'answers.jsonl.journal'))
    return lines.filter((line) => entrySchema.parse(JSON.parse(line)).kind === kind).length
  }

  /** What it has cost, as the last run has told at its end. */
  get spentNanoUsd(): number {
    if (!this.#end) throw new Error('no run of it has ended by itself')
    return Math.round(this.#end.spentUsd * 1e9)
  }

  /**
   * Begins it, or goes on, and kills it after some answers.
   * @param upstream where its requests go
   * @param alsoKilled dies with it
   */
  async runAndKill(upstream: string, alsoKilled?: Mortal): Promise<void> {
    const runs = await this.noted('run')
    const life = Math.floor(this.#random() * LONGEST_LIFE)
    const answers = Math.min((await this.answers()).length + life, this.ids.length - 2 * AT_ONCE)
    const restMs = this.#random() * LONGEST_REST_MS
    const moment = async (): Promise<void> => {
      await until('the run has begun', async () => (await this.noted('run')) > runs)
      await until('it has had answers', async () => (await this.answers()).length >= answers)
      // It comes between two looks as well.
      await pause(restMs)
    }
    await this.#killOnce(upstream, moment, alsoKilled)
  }

  /** Kills it at any moment of its start. */
  async startAndKill(upstream: string): Promise<void> {
    const afterMs = this.#random() * LONGEST_START_MS
    await this.#killOnce(upstream, () => pause(afterMs))
  }

  /** Runs it until something is so, and kills it then. */
  async killOnceSo(upstream: string, what: string, isSo: () => Promise<boolean>): Promise<void> {
    await this.#killOnce(upstream, () => until(what, isSo))
  }

  async #killOnce(
    upstream: string,
    moment: () => Promise<void>,
    alsoKilled?: Mortal,
  ): Promise<void> {
    const child = this.#start(upstream, 'ignore')
    const exit = once(child, 'exit')
    await moment()
    await Promise.all([alsoKilled?.kill(), child.kill('SIGKILL')])
    await exit
    expect(child.signalCode).toBe('SIGKILL')
  }

  /** Runs it until it ends by itself. Returns the exit code. */
  async runOut(upstream: string): Promise<number | null> {
    const child = this.#start(upstream, 'pipe')
    let told = ''
    child.stdout?.on('data', (chunk) => {
      told += chunk
    })
    await once(child, 'close')
    this.#end = endSchema.parse(JSON.parse(told.trimEnd().split('\n').at(-1) ?? ''))
    return child.exitCode
  }

  #start(upstream: string, stdout: 'ignore' | 'pipe'): ChildProcess {
    const { flags = [], ledger = 'off' } = this.#plan
    const files = ['prompts.jsonl', '-o', 'answers.jsonl', '--upstream', `anthropic=${upstream}`]
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', PROGRAM, '--', 'run', ...files, ...flags],
      {
        cwd: this.folder,
        env: {
          ANTHROPIC_API_KEY: 'a-key',
          HEADGATE_LEDGER: ledger,
          HEADGATE_LOG_FORMAT: 'json',
          NODE_COMPILE_CACHE: compiled,
        },
        stdio: ['ignore', stdout, 'inherit'],
      },
    )
    this.#onStart(child)
    return child
  }
}
