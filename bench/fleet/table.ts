// The figures of fleets as Markdown, each beside its bar. Owns: the bars. Must not know: how anything is
// measured.
import { markdownTable, type Setting } from '../report.ts'
import type { JobFigures } from './job.ts'
import { type BesideFigures, type Figures, LIMITS, type SdkFigures } from './scenarios.ts'

export interface FleetResults extends Setting {
  readonly figures: readonly Figures[]
}

const BARS = {
  ratio: 1.05,
  refusedPercent: 0.5,
  /** The last third's most memory, by the first third's. */
  growth: 1.1,
}

export function renderFleet({ figures, ...setting }: FleetResults): string {
  const jobs = figures.flatMap((one) => (one.kind === 'job' ? [one] : []))
  const job = jobs.find(({ scenario }) => scenario.name === 'job')
  const cap = jobs.find(({ scenario }) => scenario.maxSpendUsd !== undefined)
  const sent = figures.flatMap((one) => {
    if (one.kind === 'beside' || one === cap) return []
    const { kind, found, scenario } = one
    return [kind === 'job' ? jobRow(scenario, found) : sdkRow(scenario, found)]
  })
  const beside = figures.flatMap((one) =>
    one.kind === 'beside' ? [besideRow(one.scenario, one.found)] : [],
  )
  const tables = [
    [
      [
        'what',
        'prompts',
        'answered',
        'failed',
        'upstream 429s',
        '529s',
        'makespan ÷ lower bound',
        'most in flight',
      ],
      ...sent,
    ],
    [['one job of all prompts', 'bar', 'measured', 'verdict'], ...barRows(job, cap)],
    [
      [
        'a person beside a job, sent by',
        'requests',
        'failed',
        'in line, p50 / p99',
        'later than the answer itself, p50 / p99',
        'mean answer',
        'p99 in line < mean answer',
        'job’s 429s',
        'makespan ÷ lower bound',
      ],
      ...beside,
    ],
  ]
  const withRows = tables.filter(({ length }) => length > 1)
  return [provenance(setting), ...withRows.map(markdownTable)].join('\n\n')
}

function provenance({ command, date, node, machine, loadAverage }: Setting): string {
  const { requests, inputTokens, outputTokens } = LIMITS
  const limits = [inputTokens, outputTokens]
    .map((amount) => amount.toLocaleString('en'))
    .join(' input and ')
  return [
    `\`${command}\`, ${date}, Node ${node}, ${machine},`,
    `load average before ${loadAverage.toFixed(1)}. A minute has ${requests.toLocaleString('en')} requests, ${limits} output tokens.`,
  ].join('\n')
}

type Of<Kind extends Figures['kind']> = Extract<Figures, { kind: Kind }>

function jobRow({ emulator = [], prompts }: Of<'job'>['scenario'], found: JobFigures): string[] {
  const name = emulator.includes('--external-share')
    ? 'headgate run, somebody outside takes 30 %'
    : emulator.includes('--overload-rate')
      ? 'headgate run, one in a hundred meets a 529'
      : 'headgate run'
  const { answered, failed, exitCode, answeredTwice } = found
  const twice = answeredTwice > 0 ? ` (${answeredTwice} twice)` : ''
  const exit = exitCode === 0 ? '' : ` (exit code ${exitCode})`
  return [name, `${prompts}`, `${answered}${twice}${exit}`, `${failed}`, ...sharedCells(found)]
}

function sdkRow({ loops, prompts }: Of<'sdk'>['scenario'], found: SdkFigures): string[] {
  const failed = Object.entries(found.failures).map(([why, count]) => `${count} (${why})`)
  const cells = [`${found.answered}`, failed.join(', ') || '0', ...sharedCells(found)]
  return [`the official SDK, ${loops} at once`, `${prompts}`, ...cells]
}

function sharedCells(found: JobFigures | SdkFigures): string[] {
  const { requests, refused, refusedPercent, overloaded, ratio, maxInFlight } = found
  return [
    `${refused} of ${requests} (${refusedPercent.toFixed(2)} %)`,
    `${overloaded}`,
    ratio.toFixed(3),
    `${maxInFlight}`,
  ]
}

const MB = 2 ** 20
const megabytes = (bytes: number): string => `${Math.round(bytes / MB)} MB`
const verdict = (isMet: boolean): string => (isMet ? 'met' : '**missed**')

function barRows(job: Of<'job'> | undefined, cap: Of<'job'> | undefined): string[][] {
  return [...(job ? wholeJobRows(job) : []), ...(cap ? capRows(cap) : [])]
}

function wholeJobRows({ scenario, found: job }: Of<'job'>): string[][] {
  const isEachOnce = job.answered === scenario.prompts && job.answeredTwice === 0
  const growth = job.lastThirdBytes / job.firstThirdBytes
  const minutes = (job.makespanMs / 60_000).toFixed(1)
  const cpu = `${job.runCpuPercent.toFixed(0)} and ${job.emulatorCpuPercent.toFixed(0)} % of a core`
  return [
    ['answered exactly once, none failed', 'all', `${job.answered}`, verdict(isEachOnce)],
    [
      'upstream 429s',
      `≤ ${BARS.refusedPercent} %`,
      `${job.refusedPercent.toFixed(2)} %`,
      verdict(job.refusedPercent <= BARS.refusedPercent),
    ],
    [
      'makespan ÷ lower bound',
      `≤ ${BARS.ratio}`,
      `${job.ratio.toFixed(3)} (${minutes} minutes)`,
      verdict(job.ratio <= BARS.ratio),
    ],
    [
      'most memory in the last third ÷ in the first, from a tenth on',
      `≤ ${BARS.growth}`,
      `${growth.toFixed(2)} (${megabytes(job.lastThirdBytes)} and ${megabytes(job.firstThirdBytes)})`,
      verdict(growth <= BARS.growth),
    ],
    [
      'cost told in the files, and billed',
      'equal',
      `$${job.toldUsd} and $${job.billedUsd}`,
      verdict(isSameMoney(job.toldUsd, job.billedUsd)),
    ],
    [
      'reading and checking the file, before anything is sent',
      '–',
      `${(job.checkedMs / 1000).toFixed(1)} s, real`,
      '–',
    ],
    ['processor of the run and of the emulator', '–', cpu, '–'],
  ]
}

/** To the nano-dollar: both are sums of fractions. */
const isSameMoney = (a: number, b: number): boolean => Math.abs(a - b) < 1e-9 * Math.max(1, a)

function capRows({ scenario: { maxSpendUsd = 0 }, found }: Of<'job'>): string[][] {
  const used = (100 * found.billedUsd) / maxSpendUsd
  const isWithin = found.billedUsd <= maxSpendUsd && found.end === 'budget_exceeded'
  return [
    [
      `billed of a job that \`--max-spend-usd ${maxSpendUsd}\` ends`,
      `≤ $${maxSpendUsd}`,
      `$${found.billedUsd.toFixed(4)} (${used.toFixed(2)} %)`,
      verdict(isWithin),
    ],
  ]
}

function besideRow(scenario: Of<'beside'>['scenario'], found: BesideFigures): string[] {
  const { asked, failed, queuedMs, lateMs, meanAnswerMs, refusedPercent, jobRatio } = found
  const { job, person } = scenario
  const seconds = (ms: number): string => (ms / 1000).toFixed(2)
  return [
    besideName(scenario),
    `${asked}`,
    `${failed}`,
    queuedMs ? `${seconds(queuedMs.p50)} / ${seconds(queuedMs.p99)} s` : '–',
    `${seconds(lateMs.p50)} / ${seconds(lateMs.p99)} s`,
    `${seconds(meanAnswerMs)} s`,
    // A bar for the gate where it knows who is more urgent.
    queuedMs && job !== person ? verdict(queuedMs.p99 < meanAnswerMs) : '–',
    `${refusedPercent.toFixed(2)} %`,
    jobRatio.toFixed(3),
  ]
}

function besideName(scenario: Of<'beside'>['scenario']): string {
  const { job, person, sender } = scenario
  const by = sender === 'run' ? '`headgate run`' : `the SDK, ${scenario.loops} at once`
  if (person === null) return `${by}, and no gateway`
  const lanes = job === person ? `both in the lane \`${job}\`` : `\`${job}\` beside \`${person}\``
  return `${by}, ${lanes} of a gateway`
}
