// headgate run --worker: sends prompts of jobs that other machines keep the files of. Owns: how a worker
// begins and ends, and what is said of it. Must not know: how prompts are sent, or whose they are.
import { randomUUID } from 'node:crypto'
import type { Engine } from '../engine/engine.ts'
import { Courier } from '../fleet/workers/courier.ts'
import { PromptWorker } from '../fleet/workers/prompt-worker.ts'
import { ConfigError } from '../policy/problem.ts'
import type { Settings } from '../policy/settings.ts'
import { anthropic } from '../providers/anthropic/anthropic.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import type { RunFlags } from './run-flags.ts'
import { openJobEngine } from './run-fleet.ts'
import { explained, keyFor, settingsFor } from './run-setup.ts'
import { STOPPING, stopSignals } from './run-signals.ts'
import { connectionTrouble, sharedStore } from './run-workers.ts'
import { amountInWords, countOf } from './terminal/words.ts'

/** A worker has no files, and no money of its own. */
export type WorkerFlags = Omit<RunFlags, 'output'> & { readonly output?: undefined }

export const runWorker = (flags: RunFlags | WorkerFlags, io: Io): Promise<ExitCode> =>
  explained(io, () => work(flags, io))

async function work(flags: RunFlags | WorkerFlags, io: Io): Promise<ExitCode> {
  const { clock, random, stderr } = io
  checkFlags(flags)
  const settings = settingsFor(flags, io)
  const warned = (sentence: string): void => void stderr.write(`warning: ${sentence}\n`)
  const address = sharedStore(settings, '--worker')
  const apiKey = keyFor(settings, io)
  const engine = await openJobEngine({ settings, clock, random, warned })
  const tell = teller(io, settings.log.format === 'json')
  try {
    const courier = courierFor(engine, { flags, settings, apiKey }, (chosen) =>
      worker.takeAtOnce(chosen),
    )
    const failed = connectionTrouble(address, warned)
    const worker = await PromptWorker.open({ address, clock, courier, failed })
    using signals = stopSignals(io, () => tell(STOPPING, { event: 'worker.stopping' }))
    tell(`Takes prompts from ${address.shown}.`, { event: 'worker.started' })
    const shutOut = await worker.run(signals)
    const { answered, failed: no } = worker
    tell(`${countOf(answered, 'prompt')} answered, ${amountInWords(no)} failed.`, {
      event: 'worker.ended',
      answered,
      failed: no,
    })
    if (shutOut === null) return EXIT.ok
    stderr.write(`headgate: the provider takes nothing more from this key: ${shutOut}\n`)
    return EXIT.failed
  } finally {
    await engine.dispatcher.drain()
    await engine.close()
  }
}

interface Terms {
  readonly flags: RunFlags | WorkerFlags
  readonly settings: Settings
  readonly apiKey: string
}

function courierFor(
  { dispatcher }: Engine,
  { flags, settings, apiKey }: Terms,
  takeAtOnce: (count: number) => void,
): Courier {
  const { maxInFlight, lane } = flags
  // Named, it may be another gate, and is told the lane.
  const isNamed = settings.providers.anthropic.baseUrl !== null
  const base = isNamed ? dispatcher.baseOf(anthropic) : null
  return new Courier({
    dispatcher,
    terms: { apiKey, base, lane, weight: 1, flow: `worker-${randomUUID()}` },
    maxInFlight: maxInFlight === 'auto' ? null : maxInFlight,
    onChange: ({ chosen }) => takeAtOnce(chosen),
  })
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
