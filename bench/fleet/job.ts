// One job of headgate run against the emulator, each a process of its own. Owns: the figures of a job. Must
// not know: bars, or how figures are shown.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cpuTimeUs, residentBytes } from '../http/process-figures.ts'
import { type Emulation, type Limits, type Started, start } from './processes.ts'
import { type ProviderFigures, providerFigures } from './provider-figures.ts'
import type { Scale } from './scaled-clock.ts'

const NANO = 1e9

export interface JobOrder {
  readonly scale: Scale
  readonly limits: Limits
  readonly emulation: Emulation
  /** What it talks to: the emulator, or a gateway before it. */
  readonly url: string
  readonly promptsPath: string
  readonly folder: string
  readonly flags?: readonly string[]
  /** Is told when the first prompts are sent, in milliseconds of the run's time. */
  readonly onBegun?: (at: number) => void
}

export interface JobFigures extends ProviderFigures {
  readonly exitCode: number | null
  readonly end: string
  readonly answered: number
  /** Answers to a prompt that had one before. */
  readonly answeredTwice: number
  readonly failed: number
  /** From the first sending to the end. */
  readonly makespanMs: number
  readonly ratio: number
  /** Reading and checking the input, in real milliseconds. */
  readonly checkedMs: number
  /** What the lines of answers and failures say together. */
  readonly toldUsd: number
  /** Resident memory of the run's process: the most in the first third after a tenth, and in the last. */
  readonly firstThirdBytes: number
  readonly lastThirdBytes: number
  readonly residentBytes: readonly number[]
  /** Of one core, while it sent. */
  readonly runCpuPercent: number
  readonly emulatorCpuPercent: number
  /** What it took for the most at once, the last few times. */
  readonly inFlight: readonly string[]
}

interface Sample {
  readonly part: number
  readonly bytes: number
}

/** What a line of progress may hold; the rest of it says nothing here. */
interface ProgressLine {
  readonly event: string
  readonly time: string
  readonly total?: number
  readonly answered?: number
  readonly failed?: number
  readonly end?: string
  readonly because?: string
  readonly chosen?: number
}

export async function runJob(order: JobOrder): Promise<JobFigures> {
  const { scale, emulation, url, promptsPath, folder, limits, flags = [] } = order
  const output = join(folder, 'answers.jsonl')
  const startedAt = performance.now()
  const files = [promptsPath, '-o', output]
  const args = ['run', ...files, '--upstream', `anthropic=${url}`, '--log-format', 'json', ...flags]
  const run = start(scale, 'headgate.ts', args)
  const watched = watch(run, emulation, order.onBegun)
  const exitCode = await run.ended
  const { begunAt, begunRealAt, endedAt, end, samples, runCpuUs, emulatorCpuUs, inFlight } = watched
  const realUs = (performance.now() - begunRealAt) * 1000
  const provider = providerFigures(await emulation.report(), limits)
  const answers = recordsIn(output)
  const failures = recordsIn(join(folder, 'answers.failures.jsonl'))
  const sum = [...answers, ...failures].reduce(
    (total, { cost_usd: cost }) => total + (cost ?? 0),
    0,
  )
  const makespanMs = endedAt - begunAt
  const most = (from: number, to: number): number =>
    samples.reduce(
      (max, { part, bytes }) => (part > from && part <= to ? Math.max(max, bytes) : max),
      0,
    )
  return {
    ...provider,
    exitCode,
    end,
    answered: answers.length,
    answeredTwice: answers.length - new Set(answers.map(({ id }) => id)).size,
    failed: failures.length,
    makespanMs,
    ratio: makespanMs / provider.lowerBoundMs,
    checkedMs: begunRealAt - startedAt,
    toldUsd: Math.round(sum * NANO) / NANO,
    firstThirdBytes: most(0.1, 1 / 3),
    lastThirdBytes: most(2 / 3, 1),
    residentBytes: tenths(samples),
    runCpuPercent: (100 * runCpuUs) / realUs,
    emulatorCpuPercent: (100 * emulatorCpuUs) / realUs,
    inFlight: inFlight.slice(-10),
  }
}

function watch({ pid, lines }: Started, emulation: Emulation, onBegun?: (at: number) => void) {
  const samples: Sample[] = []
  const inFlight: string[] = []
  const seen = {
    begunAt: Number.NaN,
    begunRealAt: Number.NaN,
    endedAt: Number.NaN,
    end: 'it said nothing',
    samples,
    runCpuUs: 0,
    emulatorCpuUs: 0,
    inFlight,
  }
  const cpuAtFirst = { run: 0, emulator: 0 }
  lines.on('line', (text) => {
    const line: ProgressLine = JSON.parse(text)
    const at = Date.parse(line.time)
    if (line.event === 'run.in_flight') {
      inFlight.push(`${line.chosen}: ${line.because}`)
      if (Number.isNaN(seen.begunAt)) {
        seen.begunAt = at
        seen.begunRealAt = performance.now()
        cpuAtFirst.run = cpuTimeUs(pid)
        cpuAtFirst.emulator = cpuTimeUs(emulation.pid)
        onBegun?.(at)
      }
    }
    if (line.event === 'run.progress') {
      const { total = 1, answered = 0, failed = 0 } = line
      samples.push({ part: (answered + failed) / total, bytes: residentBytes(pid) })
      seen.runCpuUs = cpuTimeUs(pid) - cpuAtFirst.run
      seen.emulatorCpuUs = cpuTimeUs(emulation.pid) - cpuAtFirst.emulator
    }
    if (line.event === 'run.ended') {
      seen.endedAt = at
      seen.end = line.end ?? ''
    }
  })
  return seen
}

/** The most in each tenth of the prompts. */
function tenths(samples: readonly Sample[]): number[] {
  return Array.from({ length: 10 }, (_, tenth) =>
    samples
      .filter(({ part }) => Math.min(9, Math.floor(part * 10)) === tenth)
      .reduce((max, { bytes }) => Math.max(max, bytes), 0),
  )
}

interface OutcomeLine {
  readonly id: string
  readonly cost_usd: number | null
}

function recordsIn(path: string): OutcomeLine[] {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return lines.map((line): OutcomeLine => {
    const { id, cost_usd }: OutcomeLine = JSON.parse(line)
    return { id, cost_usd }
  })
}
