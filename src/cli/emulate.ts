// headgate emulate: a fake provider to try things against. Owns: its flags and what it prints. Must
// not know: how the emulator works.
import type { Command } from 'commander'
import { seededRandom } from '../core/random.ts'
import {
  type Emulator,
  type EmulatorOptions,
  type EmulatorReport,
  type EmulatorSettings,
  resolveEmulatorSettings,
  startEmulator,
} from '../emulator/emulator.ts'
import { formatDuration } from '../policy/units.ts'
import { duration, host, port, wholeNumber } from '../policy/values.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { checkedFlag, decimal } from './flags.ts'
import type { Io } from './io.ts'
import { listenFailure, localUrl } from './listen-failure.ts'
import { every, untilAborted } from './pause.ts'
import { stopWish } from './stop.ts'
import { type Paint, paintFor } from './terminal/paint.ts'
import { amountInWords, countOf } from './terminal/words.ts'

export interface EmulateFlags {
  readonly host: string
  readonly port: number
  readonly seed?: number
  readonly rpm: number
  readonly itpm: number
  readonly otpm: number
  readonly requestBurst?: number
  readonly externalShare: number
  readonly ttft: number
  readonly tokensPerSecond: number
  readonly outputMedian: number
  readonly overloadRate: number
  readonly batchTime: number
  readonly timeScale: number
}

const HOST = '127.0.0.1'
const MINUTE_MS = 60_000

/** Gives a command the emulator's flags, with the emulator's own defaults. */
export function addEmulateFlags(command: Command): Command {
  const {
    limits,
    externalShare,
    ttftMs,
    tokensPerSecond: pace,
    output,
    faults,
    batchMs,
    timeScale,
  } = resolveEmulatorSettings()
  const some = wholeNumber(1)
  const above0 = decimal(0.001)
  const share = decimal(0, 1)
  const ttft = formatDuration(ttftMs)
  const batchTime = formatDuration(batchMs)
  const options = [
    checkedFlag('--host HOST', 'The address to listen on.', host).default(HOST, HOST),
    checkedFlag('--port PORT', 'The port; 0 picks a free one.', port).default(4010),
    checkedFlag('--rpm N', 'Requests a minute.', some).default(limits.requests),
    checkedFlag('--itpm N', 'Input tokens a minute.', some).default(limits.inputTokens),
    checkedFlag('--otpm N', 'Output tokens a minute.', some).default(limits.outputTokens),
    checkedFlag('--request-burst N', 'Of those requests, at most so many at once.', some),
    checkedFlag('--ttft DURATION', 'Time to the first token.', duration).default(ttftMs, ttft),
    checkedFlag('--tokens-per-second N', 'The pace of one answer.', above0).default(pace),
    checkedFlag('--output-median N', 'Tokens of an answer.', above0).default(output.medianTokens),
    checkedFlag('--external-share S', 'Input that others use up.', share).default(externalShare),
    checkedFlag('--overload-rate S', 'How many meet a 529.', share).default(faults.overloadRate),
    checkedFlag('--batch-time DURATION', 'What a batch takes.', duration).default(
      batchMs,
      batchTime,
    ),
    checkedFlag('--time-scale N', 'So many times as fast.', above0).default(timeScale),
    checkedFlag('--seed N', 'Draws the same random numbers again.', wholeNumber(0)),
  ]
  for (const option of options) command.addOption(option)
  return command
}

export async function runEmulate(flags: EmulateFlags, io: Io): Promise<ExitCode> {
  const seed = flags.seed ?? Math.floor(io.random() * 1e6)
  const emulator = await start(flags, seed, io)
  if (!emulator) return EXIT.failed
  io.stdout.write(banner(emulator.url, flags, seed, paintFor(io.stdout, io.env)))
  using stop = stopWish(io)
  const stopReporting = reportMinutes(emulator, io)
  await untilAborted(stop.signal)
  stopReporting()
  io.stdout.write(`\nIn all: ${summary(emulator.report().totals, null)}\n`)
  await emulator.close()
  return EXIT.ok
}

async function start(flags: EmulateFlags, seed: number, io: Io): Promise<Emulator | null> {
  const { host, port } = flags
  const { clock } = io
  try {
    const settings = optionsOf(flags)
    return await startEmulator({ clock, random: seededRandom(seed), host, port, settings })
  } catch (error) {
    const why = listenFailure(error, flags)
    if (why === null) throw error
    io.stderr.write(`headgate: ${why}\n`)
    return null
  }
}

function optionsOf(flags: EmulateFlags): EmulatorOptions {
  return {
    limits: { requests: flags.rpm, inputTokens: flags.itpm, outputTokens: flags.otpm },
    ...(flags.requestBurst === undefined ? {} : { requestBurst: flags.requestBurst }),
    externalShare: flags.externalShare,
    ttftMs: flags.ttft,
    tokensPerSecond: flags.tokensPerSecond,
    output: { medianTokens: flags.outputMedian },
    faults: { overloadRate: flags.overloadRate },
    batchMs: flags.batchTime,
    timeScale: flags.timeScale,
  }
}

function banner(
  url: string,
  { rpm, itpm, otpm }: EmulateFlags,
  seed: number,
  paint: Paint,
): string {
  const base = localUrl(url)
  const limits: EmulatorSettings['limits'] = {
    requests: rpm,
    inputTokens: itpm,
    outputTokens: otpm,
  }
  const direct = `export ANTHROPIC_BASE_URL=${base}`
  const gated = `headgate serve --upstream anthropic=${base}`
  const width = Math.max(direct.length, gated.length)
  return `An emulated ${paint('bold', 'Anthropic API')} listens on ${paint('bold', url)}
${paint('dim', `A minute has ${limitsInWords(limits)}. Any key will do. Seed ${seed}.`)}

  ${paint('cyan', gated.padEnd(width))}   ${paint('dim', 'put the gate in front')}
  ${paint('cyan', direct.padEnd(width))}   ${paint('dim', 'or meet its limits yourself')}

`
}

function limitsInWords({
  requests,
  inputTokens,
  outputTokens,
}: EmulatorSettings['limits']): string {
  const input = `${amountInWords(inputTokens)} input`
  return `${countOf(requests, 'request')}, ${input} and ${amountInWords(outputTokens)} output tokens`
}

/** One line for each minute in which something was asked or answered. Returns what ends it. */
function reportMinutes(emulator: Emulator, { clock, stdout }: Io): () => void {
  let before = emulator.report().totals
  return every(clock, MINUTE_MS, () => {
    const { totals } = emulator.report()
    const time = new Date(clock.now()).toTimeString().slice(0, 5)
    const isNew = totals.requests + totals.batchRequests > before.requests + before.batchRequests
    if (isNew) stdout.write(`${time}  ${summary(totals, before)}\n`)
    before = totals
  })
}

type Totals = EmulatorReport['totals']

/** What was asked and answered since an earlier count, or at all. */
function summary(totals: Totals, since: Totals | null): string {
  const counted = (name: keyof Totals): number => totals[name] - (since?.[name] ?? 0)
  const refused =
    counted('refusedForRequests') +
    counted('refusedForInputTokens') +
    counted('refusedForOutputTokens')
  const parts = [
    `${countOf(counted('requests'), 'request')}: ${amountInWords(counted('admitted'))} admitted`,
    `${amountInWords(refused)} refused (429)`,
    ...(counted('overloaded') > 0
      ? [`${amountInWords(counted('overloaded'))} overloaded (529)`]
      : []),
    `${amountInWords(counted('inputTokens'))} tokens in`,
    `${amountInWords(counted('outputTokens'))} out`,
    ...(counted('batchRequests') > 0
      ? [`${amountInWords(counted('batchRequests'))} answered in batches`]
      : []),
  ]
  return parts.join(', ')
}
