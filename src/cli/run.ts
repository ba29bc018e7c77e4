// headgate run: sends a file of prompts, and keeps their answers in another. Owns: how a run begins, is
// stopped and ends, and what is said of it. Must not know: how prompts are sent, or how answers are kept.
import { PolicyInForce } from '../engine/policy-in-force.ts'
import type { FleetEvent } from '../fleet/events.ts'
import { PromptForecaster } from '../fleet/job/estimate.ts'
import { Job, type RunEnd } from '../fleet/job/job.ts'
import { pathsOf } from '../fleet/job/job-files.ts'
import { JobError } from '../fleet/job/problem.ts'
import { ConfigError } from '../policy/problem.ts'
import { loadSettings } from '../policy/resolve.ts'
import type { Settings } from '../policy/settings.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import { runEstimate } from './run-estimate.ts'
import type { RunFlags } from './run-flags.ts'
import { isSetupError, type JobFleet, openJobFleet } from './run-fleet.ts'
import { dollars, type JobFacts, Progress } from './run-progress.ts'
import { checkWorkers, openJobWorkers } from './run-workers.ts'
import { amountInWords, countOf, plain, spanInWords } from './terminal/words.ts'

const NANO = 1e9

const NO_KEY =
  'there is no key: set ANTHROPIC_API_KEY, or providers.anthropic.api_key in the configuration'

export async function runRun(inputPath: string, flags: RunFlags, io: Io): Promise<ExitCode> {
  try {
    const { config, upstream, logFormat, store } = flags
    const loaded = loadSettings({ config, upstream, logFormat, store }, io.env, io.folder)
    for (const warning of loaded.warnings) io.stderr.write(`warning: ${warning}\n`)
    const { settings } = loaded
    const { clock, stdout } = io
    if (flags.dryRun) return await runEstimate({ inputPath, flags, settings, clock, stdout })
    const apiKey = settings.providers.anthropic.apiKey ?? io.env.ANTHROPIC_API_KEY
    if (flags.workers) checkWorkers(flags, settings)
    // Workers have theirs.
    if (!apiKey && !flags.workers) throw new ConfigError([NO_KEY])
    return await runWith({ inputPath, flags, settings, apiKey: apiKey ?? '', io })
  } catch (error) {
    return explain(error, io)
  }
}

function explain(error: unknown, { stderr }: Io): ExitCode {
  if (error instanceof ConfigError || error instanceof JobError) {
    for (const problem of error.problems) stderr.write(`${problem}\n`)
    return error instanceof JobError && error.kind === 'run' ? EXIT.failed : EXIT.usage
  }
  if (!isSetupError(error)) throw error
  stderr.write(`headgate: ${error.message}\n`)
  return EXIT.failed
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

async function runWith(context: RunContext): Promise<ExitCode> {
  const { inputPath, flags, settings, io } = context
  const { clock } = io
  const forecaster = new PromptForecaster(clock, new PolicyInForce(settings, null).callRules)
  const { maxSpendUsd, maxInFlight, lane, longWindows, within } = flags
  await using job = await Job.open({
    inputPath,
    outputPath: flags.output,
    clock,
    skipsBad: flags.skipBad ?? false,
    retriesFailed: flags.retryFailed ?? false,
    worstOf: (params) => forecaster.worst(params),
    about: { maxInFlight, maxSpendUsd, lane, longWindows, within },
  })
  const startedAt = clock.now()
  const end = await ended(job, { ...context, forecaster })
  report({ job, end, tookMs: clock.now() - startedAt, flags, isJson: isJson(settings), io })
  return exitCodeOf(end, job)
}

/** Runs what is open, if there is anything and money for it. */
async function ended(job: Job, context: OpenContext): Promise<RunEnd> {
  const { flags } = context
  const { maxSpendUsd } = flags
  const moneyLeft =
    maxSpendUsd === undefined ? null : Math.floor(maxSpendUsd * NANO) - job.spentNanoUsd
  const isSpent = moneyLeft !== null && moneyLeft <= 0 && job.inBatches === 0
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
  let fleet: JobFleet | null = null
  const progress = new Progress({
    clock,
    output: stdout,
    form: isJson(settings) ? 'json' : stdout.isTTY ? 'terminal' : 'text',
    facts: async () => factsOf(job, (await fleet?.waitsFor()) ?? null),
  })
  const warned = (sentence: string): void => void stderr.write(`warning: ${sentence}\n`)
  const failed = (error: unknown): void =>
    warned(error instanceof Error ? error.message : String(error))
  using signals = stopSignals(io, progress)
  const onEvent = (event: FleetEvent): void => tell(event, progress)
  const common = { settings, flags, moneyLeft, clock, warned, onEvent }
  fleet = flags.workers
    ? await openJobWorkers({
        ...common,
        journalPath: pathsOf(flags.output).journal,
        worstOf: (params) => forecaster.worst(params),
        answersKept: () => job.standing.answered,
        isFinished: () => job.standing.open === 0,
        stop: signals.stop,
      })
    : await openJobFleet({ ...common, apiKey, random })
  if (job.doneBefore + job.lost.prompts > 0) tellResumed(job, progress)
  progress.start(failed)
  try {
    return await job.run(fleet.sender, signals)
  } finally {
    progress.stop()
    await fleet.close()
  }
}

const isJson = ({ log }: Settings): boolean => log.format === 'json'

function factsOf(job: Job, waitsFor: JobFacts['waitsFor']): JobFacts {
  const { total, answered, failed, inputTokens, outputTokens } = job.standing
  const { underWay, spentNanoUsd } = job
  return { total, answered, failed, inputTokens, outputTokens, underWay, spentNanoUsd, waitsFor }
}

function tell(event: FleetEvent, progress: Progress): void {
  if (event.kind === 'in_flight') {
    const { chosen, because } = event
    progress.note(`${chosen} at once: ${because}`, { event: 'run.in_flight', chosen, because })
  }
  if (event.kind === 'batch_submitted') {
    const { batchId, payloads } = event
    const sentence = `${countOf(payloads, 'prompt')} went into the batch ${batchId}.`
    progress.tell(sentence, { event: 'run.batch_submitted', batchId, payloads })
  }
  if (event.kind === 'batch_ended') {
    const { batchId, tookMs } = event
    const sentence = `The batch ${batchId} has ended after ${spanInWords(tookMs)}.`
    progress.tell(sentence, { event: 'run.batch_ended', batchId, tookMs })
  }
  if (event.kind === 'batch_delayed') {
    const { batchId, error, retryAt } = event
    const sentence = `A batch is held up (${plain(error.message)}): it is tried again.`
    progress.note(sentence, { event: 'run.batch_delayed', batchId, reason: error.message, retryAt })
  }
  if (event.kind === 'warned') {
    const { sentence } = event
    progress.tell(`warning: ${sentence}`, { event: 'run.warned', sentence })
  }
}

function tellResumed({ doneBefore, lost, standing }: Job, progress: Progress): void {
  const { total } = standing
  const again =
    lost.prompts > 0 ? `, ${countOf(lost.prompts, 'prompt')} may be sent a second time` : ''
  progress.tell(
    `Goes on after ${amountInWords(doneBefore)} of ${countOf(total, 'prompt')}${again}.`,
    {
      event: 'run.resumed',
      done: doneBefore,
      total,
      lost: lost.prompts,
    },
  )
}

interface StopSignals extends Disposable {
  readonly stop: AbortSignal
  readonly abort: AbortSignal
}

/** The first signal takes nothing new and waits for what is under way, the second waits for nothing. */
function stopSignals({ process }: Io, progress: Progress): StopSignals {
  const stop = new AbortController()
  const abort = new AbortController()
  const onSignal = (): void => {
    if (stop.signal.aborted) abort.abort()
    else {
      const sentence = 'Stopping: what is under way is waited for. Once more stops at once.'
      progress.tell(sentence, { event: 'run.stopping' })
    }
    stop.abort()
  }
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const name of names) process.on(name, onSignal)
  return {
    stop: stop.signal,
    abort: abort.signal,
    [Symbol.dispose]: () => {
      for (const name of names) process.off(name, onSignal)
    },
  }
}

function exitCodeOf(end: RunEnd, { standing }: Job): ExitCode {
  if (end.kind === 'broken' || end.kind === 'shut_out') return EXIT.failed
  return end.kind === 'finished' && standing.failed === 0 ? EXIT.ok : EXIT.partial
}

interface Report {
  readonly job: Job
  readonly end: RunEnd
  readonly tookMs: number
  readonly flags: RunFlags
  readonly isJson: boolean
  readonly io: Io
}

function report({ job, end, tookMs, flags, isJson, io }: Report): void {
  const { total, answered, failed, open, unpriced } = job.standing
  const { stdout, stderr, clock } = io
  const { failures } = pathsOf(flags.output)
  const reason = reasonOf(end)
  if (isJson) {
    const time = new Date(clock.now()).toISOString()
    const counts = { total, answered, failed, open, spentUsd: job.spentNanoUsd / NANO }
    stdout.write(
      `${JSON.stringify({ time, event: 'run.ended', end: end.kind, ...counts, tookMs: Math.round(tookMs), reason })}\n`,
    )
  } else {
    const spent = `${dollars(job.spentNanoUsd)}${unpriced > 0 ? ' and what has no known price' : ''}`
    const [yes, no, rest] = [answered, failed, open].map(amountInWords)
    const left = open > 0 ? `, ${rest} left` : ''
    stdout.write(
      `${countOf(total, 'prompt')}: ${yes} answered, ${no} failed${left}; ${spent}; ${spanInWords(tookMs)}.\n`,
    )
    if (failed > 0)
      stdout.write(`Why they failed: ${failures}. To run them again: --retry-failed.\n`)
  }
  if (reason === null) return
  const isWrong = end.kind === 'broken' || end.kind === 'shut_out'
  if (isWrong || !isJson) (isWrong ? stderr : stdout).write(`${reason}\n`)
}

/** Why there is no more, and what to do; null where nothing is left. */
function reasonOf(end: RunEnd): string | null {
  switch (end.kind) {
    case 'finished':
      return null
    case 'stopped':
      return 'Stopped. The same command goes on from here.'
    case 'budget_exceeded':
      return `The next prompt could cost more than is left of $${end.maxSpendUsd}. With a larger --max-spend-usd the same command goes on.`
    case 'quota_exhausted':
      return `Used up: ${end.limit}. There is room again at ${new Date(end.resumeAt).toISOString()}: the same command goes on then.`
    case 'shut_out':
      return `headgate: the provider takes nothing more from this key (${end.status}: ${plain(end.message)}). Nothing is lost: mend that, and run the same command again.`
    case 'broken':
      return end.problems.join('\n')
  }
}
