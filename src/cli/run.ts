// headgate run: sends a file of prompts, and keeps their answers in another. Owns: how a run begins, goes on and
// is stopped. Must not know: how prompts are sent, how answers are kept, or how anything is said.
import { NANO_PER_USD } from '../core/money.ts'
import { PolicyInForce } from '../engine/policy-in-force.ts'
import type { FleetEvent } from '../fleet/events.ts'
import { PromptForecaster } from '../fleet/job/estimate.ts'
import { Job, type RunEnd } from '../fleet/job/job.ts'
import type { Settings } from '../policy/settings.ts'
import type { ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import { runEstimate } from './run-estimate.ts'
import type { RunFlags } from './run-flags.ts'
import { openJobFleet } from './run-fleet.ts'
import { RunNews } from './run-news.ts'
import { type JobFacts, Progress } from './run-progress.ts'
import { report } from './run-report.ts'
import { explained, keyFor, settingsFor } from './run-setup.ts'
import { STOPPING, stopSignals } from './run-signals.ts'
import { checkWorkers, leftWithWorkers, openJobWorkers } from './run-workers.ts'
import { countOf } from './terminal/words.ts'

export function runRun(inputPath: string, flags: RunFlags, io: Io): Promise<ExitCode> {
  return explained(io, async () => {
    const settings = settingsFor(flags, io)
    const { clock, stdout } = io
    if (flags.dryRun) return runEstimate({ inputPath, flags, settings, clock, stdout })
    if (flags.workers) checkWorkers(flags, settings)
    // Workers have theirs.
    const apiKey = flags.workers ? '' : keyFor(settings, io)
    return runJob({ inputPath, flags, settings, apiKey, io })
  })
}

interface RunContext {
  readonly inputPath: string
  readonly flags: RunFlags
  readonly settings: Settings
  readonly apiKey: string
  readonly io: Io
}

interface OpenContext extends RunContext {
  readonly forecaster: PromptForecaster
}

async function runJob(context: RunContext): Promise<ExitCode> {
  const { inputPath, flags, settings, io } = context
  const { clock } = io
  const forecaster = new PromptForecaster(clock, new PolicyInForce(settings, null).callRules)
  const { maxSpendUsd, maxInFlight, lane, longWindows, within, workers } = flags
  await using job = await Job.open({
    inputPath,
    outputPath: flags.output,
    clock,
    skipsBad: flags.skipBad ?? false,
    retriesFailed: flags.retryFailed ?? false,
    about: { maxInFlight, maxSpendUsd, lane, longWindows, within, workers },
  })
  const startedAt = clock.now()
  const end = await ended(job, { ...context, forecaster })
  return report({ job, end, tookMs: clock.now() - startedAt, isJson: isJson(settings) }, io)
}

/** Runs what is open, if there is anything and money for it. */
async function ended(job: Job, context: OpenContext): Promise<RunEnd> {
  const { flags } = context
  const { maxSpendUsd } = flags
  const moneyLeft =
    maxSpendUsd === undefined ? null : Math.floor(maxSpendUsd * NANO_PER_USD) - job.spentNanoUsd
  // What is in batches or with workers is paid for.
  const isPaid = job.inBatches > 0 || flags.workers
  const isSpent = moneyLeft !== null && moneyLeft <= 0 && !isPaid
  if (job.standing.open > 0 && maxSpendUsd !== undefined && isSpent)
    return { kind: 'budget_exceeded', spentNanoUsd: job.spentNanoUsd, maxSpendUsd }
  if (job.standing.open === 0) return { kind: 'finished' }
  const end = await runOpen(job, moneyLeft, context)
  // What is known here has earlier runs in it.
  return end.kind === 'budget_exceeded' && maxSpendUsd !== undefined
    ? { ...end, spentNanoUsd: job.spentNanoUsd, maxSpendUsd }
    : end
}

async function runOpen(job: Job, moneyLeft: number | null, context: OpenContext): Promise<RunEnd> {
  const { flags, settings, apiKey, forecaster, io } = context
  const { clock, random, stdout, stderr } = io
  const form = isJson(settings) ? 'json' : stdout.isTTY ? 'terminal' : 'text'
  const progress = new Progress({ clock, output: stdout, errors: stderr, form })
  const news = new RunNews(progress, clock, () => job.standing.answered + job.standing.failed)
  using signals = stopSignals(io, () => progress.tell(STOPPING, { event: 'run.stopping' }))
  const common = {
    settings,
    flags,
    moneyLeft,
    clock,
    warned: (sentence: string) => progress.warn(sentence),
    onEvent: (event: FleetEvent) => news.hear(event),
  }
  const left = flags.workers ? null : await leftWithWorkers(job.paths.journal, job.lost)
  if (left !== null) progress.warn(left)
  const fleet = flags.workers
    ? await openJobWorkers({
        ...common,
        journalPath: job.paths.journal,
        inBatches: job.inBatches,
        tagOf: (params) => forecaster.tag(params),
        random,
        isOpen: (id) => job.isOpen(id),
        isFinished: () => job.standing.open === 0,
      })
    : await openJobFleet({
        ...common,
        apiKey,
        random,
        abort: signals.abort,
        onBounced: (reason, status) => news.bounced(reason, status),
      })
  if (job.doneBefore + job.lost.prompts + job.inBatches > 0) news.resumed(job)
  const look = async (): Promise<JobFacts> => ({
    ...countsOf(job),
    isStopping: signals.stop.aborted,
    waitsFor: (await fleet.waitsFor()) ?? news.held ?? pauseOf(job),
    trouble: news.trouble,
  })
  progress.start(look, (error) => news.failed(error))
  try {
    return await job.run(fleet.sender, signals)
  } finally {
    progress.stop()
    await fleet.close()
  }
}

const isJson = ({ log }: Settings): boolean => log.format === 'json'

function pauseOf({ pause }: Job): JobFacts['waitsFor'] {
  if (!pause) return null
  const { prompts, until } = pause
  return { what: `another try of ${countOf(prompts, 'prompt')} that got no answer`, until }
}

function countsOf(job: Job): Omit<JobFacts, 'isStopping' | 'waitsFor' | 'trouble'> {
  const { total, answered, failed, inputTokens, outputTokens } = job.standing
  const { underWay, inBatches, spentNanoUsd } = job
  return { total, answered, failed, inputTokens, outputTokens, underWay, inBatches, spentNanoUsd }
}
