// The questions that the benchmark of fleets asks, each as processes on one time. Owns: which processes meet,
// and the figures of each meeting. Must not know: bars, or how figures are shown.
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Lane } from '../../src/core/lane.ts'
import { type JobFigures, runJob } from './job.ts'
import type { Asked } from './person.ts'
import { type Limits, type Started, start, startEmulator, startGateway } from './processes.ts'
import { PromptWriter, sizesOf } from './prompts.ts'
import { type ProviderFigures, providerFigures, TTFT_MS } from './provider-figures.ts'
import { type Scale, scaledClock, scaleFromNow } from './scaled-clock.ts'

/** Anthropic's "Start" tier for Claude Fable 5: with this trace, now the input binds and now the output. */
export const LIMITS: Limits = { requests: 1000, inputTokens: 500_000, outputTokens: 100_000 }

interface Common {
  readonly name: string
  readonly prompts: number
  /** So many seconds pass in a real one. */
  readonly speed: number
}

interface JobScenario extends Common {
  readonly kind: 'job'
  /** Flags of the emulator. */
  readonly emulator?: readonly string[]
  readonly maxSpendUsd?: number
}

interface SdkScenario extends Common {
  readonly kind: 'sdk'
  readonly loops: number
}

/** A job, and a person who waits for answers. */
type BesideScenario = Common & {
  readonly kind: 'beside'
  /** The job's lane, where there is a gateway. */
  readonly job: Lane
  /** The person's lane; null: there is no gateway between them and the provider. */
  readonly person: Lane | null
} & ({ readonly sender: 'run' } | { readonly sender: 'sdk'; readonly loops: number })

export type Scenario = JobScenario | SdkScenario | BesideScenario

export interface SdkFigures extends ProviderFigures {
  readonly answered: number
  readonly failures: Readonly<Record<string, number>>
  readonly makespanMs: number
  readonly ratio: number
}

export interface BesideFigures {
  /** While the job kept the limit used up. */
  readonly asked: number
  readonly failed: number
  /** In line at the gate, by its own header; null without a gate. */
  readonly queuedMs: Percentiles | null
  /** Longer than the answer itself takes: the wait, the way, refusals and new tries. */
  readonly lateMs: Percentiles
  /** What an answer itself takes. */
  readonly meanAnswerMs: number
  readonly jobRatio: number
  readonly refusedPercent: number
}

export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

export type Figures =
  | { readonly scenario: JobScenario; readonly kind: 'job'; readonly found: JobFigures }
  | { readonly scenario: SdkScenario; readonly kind: 'sdk'; readonly found: SdkFigures }
  | { readonly scenario: BesideScenario; readonly kind: 'beside'; readonly found: BesideFigures }

export interface Places {
  readonly traces: string
  /** For files, and removed after. */
  readonly folder: string
}

export async function measure(scenario: Scenario, places: Places): Promise<Figures> {
  const folder = join(places.folder, scenario.name)
  const own = { ...places, folder }
  mkdirSync(folder)
  const promptsPath = join(folder, 'prompts.jsonl')
  new PromptWriter(1).write(promptsPath, sizesOf(places.traces, scenario.prompts))
  try {
    switch (scenario.kind) {
      case 'job':
        return { scenario, kind: 'job', found: await measureJob(scenario, own, promptsPath) }
      case 'sdk':
        return { scenario, kind: 'sdk', found: await measureSdk(scenario, promptsPath) }
      case 'beside':
        return {
          scenario,
          kind: 'beside',
          found: await measureBeside(scenario, own, promptsPath),
        }
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function measureJob(
  { speed, emulator, maxSpendUsd }: JobScenario,
  { folder }: Places,
  promptsPath: string,
): Promise<JobFigures> {
  const scale = scaleFromNow(speed)
  const emulation = await startEmulator(scale, LIMITS, emulator)
  const flags = maxSpendUsd === undefined ? [] : ['--max-spend-usd', `${maxSpendUsd}`]
  const { url } = emulation
  const order = { scale, limits: LIMITS, emulation, url, promptsPath, folder, flags }
  const found = await runJob(order)
  await emulation.stop()
  return found
}

async function measureSdk({ speed, loops }: SdkScenario, promptsPath: string): Promise<SdkFigures> {
  const scale = scaleFromNow(speed)
  const emulation = await startEmulator(scale, LIMITS)
  const sent = await outcomeOf<SdkOutcome>(
    startSdk(scale, [emulation.url, promptsPath, `${loops}`]),
  )
  const provider = providerFigures(await emulation.report(), LIMITS)
  await emulation.stop()
  const { answered, failures, tookMs: makespanMs } = sent
  return { ...provider, answered, failures, makespanMs, ratio: makespanMs / provider.lowerBoundMs }
}

interface SdkOutcome {
  readonly answered: number
  readonly failures: Readonly<Record<string, number>>
  readonly tookMs: number
}

const startSdk = (scale: Scale, args: readonly string[]): Started =>
  start(scale, 'sdk-loop.ts', args, { preload: 'scaled-time.ts' })

/** The line that a program of this folder ends with. */
async function outcomeOf<Outcome>({ lines, ended }: Started): Promise<Outcome> {
  let last = ''
  lines.on('line', (line) => {
    last = line
  })
  const code = await ended
  if (code !== 0) throw new Error(`a program ended with ${code}`)
  const outcome: Outcome = JSON.parse(last)
  return outcome
}

const ASKS_EVERY_MS = 2000
/** By then what a full bucket held is used up. */
const WARM_UP_MS = 120_000

async function measureBeside(
  scenario: BesideScenario,
  { traces, folder }: Places,
  promptsPath: string,
): Promise<BesideFigures> {
  const { speed, job, person } = scenario
  const scale = scaleFromNow(speed)
  const { now } = scaledClock(scale)
  const emulation = await startEmulator(scale, LIMITS)
  const gateway = person === null ? null : await startGateway(scale, emulation.url)
  const url = gateway?.url ?? emulation.url
  const args = [url, person ?? '', `${ASKS_EVERY_MS}`, traces]
  const asking = start(scale, 'person.ts', args, { preload: 'scaled-time.ts' })
  const asked = outcomeOf<Asked[]>(asking)
  let begunAt = now()
  if (scenario.sender === 'sdk') {
    const lane = gateway ? job : ''
    await outcomeOf<SdkOutcome>(startSdk(scale, [url, promptsPath, `${scenario.loops}`, lane]))
  } else {
    const flags = ['--lane', job]
    const onBegun = (at: number): void => {
      begunAt = at
    }
    const order = { scale, limits: LIMITS, emulation, url, promptsPath, folder, flags, onBegun }
    await runJob(order)
  }
  const endedAt = now()
  const provider = providerFigures(await emulation.report(), LIMITS)
  asking.child.kill('SIGTERM')
  const during = (await asked).filter(
    ({ askedAt, tookMs }) => askedAt >= begunAt + WARM_UP_MS && askedAt + tookMs <= endedAt,
  )
  await gateway?.stop()
  await emulation.stop()
  return besideFigures(during, (endedAt - begunAt) / provider.lowerBoundMs, provider)
}

/** The emulator's own pace. */
const MS_PER_TOKEN = 1000 / 80

const answerMs = ({ outputTokens }: Asked): number => TTFT_MS + (outputTokens - 1) * MS_PER_TOKEN

function besideFigures(
  all: readonly Asked[],
  jobRatio: number,
  { refusedPercent }: ProviderFigures,
): BesideFigures {
  const answered = all.filter(({ failure }) => failure === null)
  const queued = answered.flatMap(({ queuedMs }) => (queuedMs === null ? [] : [queuedMs]))
  return {
    asked: all.length,
    failed: all.length - answered.length,
    queuedMs: queued.length === 0 ? null : percentiles(queued),
    lateMs: percentiles(answered.map((one) => one.tookMs - answerMs(one))),
    meanAnswerMs: answered.reduce((sum, one) => sum + answerMs(one), 0) / answered.length,
    jobRatio,
    refusedPercent,
  }
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.floor(part * sorted.length)] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
}
