// A job of a few prompts in files of its own. Owns: its folder, and what its lines say. Must not know: how a job
// keeps what it has, or what any test proves.
import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { realClock } from '../../src/core/clock.ts'
import { Job, type JobOptions, type PromptSender } from '../../src/fleet/job/job.ts'
import { JobError } from '../../src/fleet/job/problem.ts'
import type { Answered, Failed } from '../../src/fleet/payload.ts'

/** The most that any prompt costs, in nano-dollars. */
export const WORST = 1000

export class FileJob {
  readonly folder: string
  readonly input: string

  constructor(folder: string) {
    this.folder = folder
    this.input = path.join(folder, 'prompts.jsonl')
  }

  /** @param root that it has a folder in */
  static async create(root: string, prompts: number): Promise<FileJob> {
    const job = new FileJob(await mkdtemp(path.join(root, 'one-')))
    const messages = [{ role: 'user', content: 'Why?' }]
    const lines = Array.from({ length: prompts }, (_, index) =>
      JSON.stringify({ id: `p${index}`, model: 'm', max_tokens: 5, messages }),
    )
    await writeFile(job.input, lines.map((line) => `${line}\n`).join(''))
    return job
  }

  static root(name: string): Promise<string> {
    return mkdtemp(path.join(os.tmpdir(), `headgate-${name}-`))
  }

  file(name: string): string {
    return path.join(this.folder, name)
  }

  /** What a kill at this moment would leave, in a folder of its own. */
  async copy(root: string): Promise<FileJob> {
    const copy = await mkdtemp(path.join(root, 'killed-'))
    await cp(this.folder, copy, { recursive: true })
    return new FileJob(copy)
  }

  open(output = 'answers.jsonl', more: Partial<JobOptions> = {}): Promise<Job> {
    return Job.open({
      inputPath: this.input,
      outputPath: path.isAbsolute(output) ? output : this.file(output),
      clock: realClock(),
      skipsBad: false,
      retriesFailed: false,
      about: {},
      ...more,
    })
  }

  /** Runs it to its end. */
  async run(output?: string, more?: Partial<JobOptions>, sender = answering): Promise<Job> {
    await using job = await this.open(output, more)
    await job.run(sender, { stop: NEVER, abort: NEVER })
    return job
  }

  /** What is wrong with opening it. */
  async problemOf(output?: string): Promise<JobError> {
    try {
      await using _ = await this.open(output)
    } catch (error) {
      if (error instanceof JobError) return error
      throw error
    }
    throw new Error('nothing was wrong')
  }

  async idsIn(name: string): Promise<unknown[]> {
    const text = await readFile(this.file(name), 'utf8')
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line).id)
  }
}

export const NEVER = new AbortController().signal

const OUTCOME = { index: 0, latencyMs: 1, attempts: 1, tokens: null }

export const answered = (id: string, costNanoUsd: number): Answered => ({
  ...OUTCOME,
  kind: 'answered',
  id,
  response: {},
  costNanoUsd,
  costUsd: costNanoUsd / 1e9,
})

export const failed = (id: string, costNanoUsd: number, type = 'no_luck'): Failed => ({
  ...OUTCOME,
  kind: 'failed',
  id,
  costNanoUsd,
  costUsd: costNanoUsd / 1e9,
  error: { status: 400, type, message: 'no', isRetryable: false },
})

const answering: PromptSender = {
  async *dispatch(payloads, { spending }) {
    for await (const { id } of payloads) {
      await spending.sending({ id, worstNanoUsd: WORST })
      yield answered(id, 1)
    }
  },
}

export const failing: PromptSender = {
  async *dispatch(payloads, { spending }) {
    for await (const { id } of payloads) {
      await spending.sending({ id, worstNanoUsd: WORST })
      yield failed(id, 1)
    }
  },
}
