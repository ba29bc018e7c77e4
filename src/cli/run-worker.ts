// headgate run --worker: sends prompts of jobs that other machines keep the files of. Owns: how a worker
// begins and ends, and what is said of it. Must not know: how prompts are sent, or whose they are.
import { AT_FIRST } from '../fleet/in-flight.ts'
import { PromptWorker } from '../fleet/workers/prompt-worker.ts'
import { ConfigError } from '../policy/problem.ts'
import { loadSettings } from '../policy/resolve.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import type { RunFlags } from './run-flags.ts'
import { isSetupError, openJobFleet } from './run-fleet.ts'
import { connectionTrouble, sharedStore } from './run-workers.ts'
import { amountInWords, countOf } from './terminal/words.ts'

/** A worker has no files, and no money of its own. */
export type WorkerFlags = Omit<RunFlags, 'output'> & { readonly output?: undefined }

const NO_KEY =
  'there is no key: set ANTHROPIC_API_KEY, or providers.anthropic.api_key in the configuration'

export async function runWorker(flags: RunFlags | WorkerFlags, io: Io): Promise<ExitCode> {
  try {
    return await work(flags, io)
  } catch (error) {
    if (error instanceof ConfigError) {
      for (const problem of error.problems) io.stderr.write(`${problem}\n`)
      return EXIT.usage
    }
    if (!isSetupError(error)) throw error
    io.stderr.write(`headgate: ${error.message}\n`)
    return EXIT.failed
  }
}

async function work(flags: RunFlags | WorkerFlags, io: Io): Promise<ExitCode> {
  const { clock, random, stderr } = io
  checkFlags(flags)
  const { config, upstream, logFormat, store } = flags
  const loaded = loadSettings({ config, upstream, logFormat, store }, io.env, io.folder)
  const warned = (sentence: string): void => void stderr.write(`warning: ${sentence}\n`)
  loaded.warnings.forEach(warned)
  const { settings } = loaded
  const address = sharedStore(settings, '--worker')
  const apiKey = settings.providers.anthropic.apiKey ?? io.env.ANTHROPIC_API_KEY
  if (!apiKey) throw new ConfigError([NO_KEY])
  const { maxInFlight } = flags
  const atOnce = maxInFlight === 'auto' ? AT_FIRST.chosen : maxInFlight
  let worker: PromptWorker | null = null
  const fleet = await openJobFleet({
    settings,
    flags,
    apiKey,
    moneyLeft: null,
    clock,
    random,
    warned,
    onEvent: (event) => {
      if (event.kind === 'in_flight') worker?.takeAtOnce(event.chosen)
      if (event.kind === 'warned') warned(event.sentence)
    },
  })
  const tell = teller(io, settings.log.format === 'json')
  try {
    const failed = connectionTrouble(address, warned)
    worker = await PromptWorker.open({ address, clock, atOnce, failed })
    using signals = stopSignals(io, tell)
    tell(`Takes prompts from ${address.shown}.`, { event: 'worker.started' })
    await worker.run(fleet.sender, signals)
    const { answered, failed: no } = worker
    tell(`${countOf(answered, 'prompt')} answered, ${amountInWords(no)} failed.`, {
      event: 'worker.ended',
      answered,
      failed: no,
    })
  } finally {
    await fleet.close()
  }
  return EXIT.ok
}

/** @throws ConfigError with a line for each flag that only the run with the files can follow */
function checkFlags(flags: RunFlags | WorkerFlags): void {
  const given = {
    '--max-spend-usd': flags.maxSpendUsd !== undefined,
    '--within': flags.within !== undefined,
    '--skip-bad': flags.skipBad,
    '--retry-failed': flags.retryFailed,
    '--dry-run': flags.dryRun,
    '--workers': flags.workers,
    '--long-windows': flags.longWindows !== 'wait',
  }
  const problems = Object.entries(given).flatMap(([flag, isGiven]) =>
    isGiven ? [`${flag}: is not for a worker: leave it out`] : [],
  )
  if (problems.length > 0) throw new ConfigError(problems)
}

type Tell = (sentence: string, event: Readonly<Record<string, unknown>>) => void

function teller({ stdout, clock }: Io, isJson: boolean): Tell {
  return (sentence, event) => {
    const time = new Date(clock.now()).toISOString()
    stdout.write(`${isJson ? JSON.stringify({ time, ...event }) : sentence}\n`)
  }
}

interface StopSignals extends Disposable {
  readonly stop: AbortSignal
  readonly abort: AbortSignal
}

/** The first signal takes nothing new and waits for what is under way, the second hands that back. */
function stopSignals({ process }: Io, tell: Tell): StopSignals {
  const stop = new AbortController()
  const abort = new AbortController()
  const onSignal = (): void => {
    if (stop.signal.aborted) abort.abort()
    else {
      const sentence = 'Stopping: what is under way is waited for. Once more stops at once.'
      tell(sentence, { event: 'worker.stopping' })
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
