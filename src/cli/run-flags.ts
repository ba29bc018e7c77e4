// The flags of headgate run. Must not know: what becomes of them.
import { type Command, Option } from 'commander'
import { z } from 'zod'
import { LANES, type Lane } from '../core/lane.ts'
import { LONG_WINDOWS, MOST_IN_FLIGHT, MOST_USD } from '../fleet/options.ts'
import { type Flags, OPTIONS } from '../policy/setting-table.ts'
import { oneOf, positiveDuration } from '../policy/values.ts'
import { checkedFlag, decimal } from './flags.ts'

export interface RunFlags extends Pick<Flags, 'config' | 'upstream' | 'logFormat' | 'store'> {
  readonly output: string
  readonly maxInFlight: number | 'auto'
  readonly maxSpendUsd?: number
  readonly lane: Lane
  readonly longWindows: (typeof LONG_WINDOWS)[number]
  /** Milliseconds. */
  readonly within?: number
  readonly skipBad?: boolean
  readonly retryFailed?: boolean
  readonly dryRun?: boolean
  readonly workers?: boolean
  readonly worker?: boolean
}

const LEAST_USD = 0.000001

const inFlight = z
  .string()
  .transform((text) => (text === 'auto' ? text : Number(text)))
  .refine((n) => n === 'auto' || (Number.isInteger(n) && n >= 1 && n <= MOST_IN_FLIGHT), {
    error: `is neither auto nor a whole number from 1 to ${MOST_IN_FLIGHT}`,
  })

const SETTINGS = ['config', 'upstream', 'logFormat', 'store']

const LOG_FORMAT = 'How progress is written: json, or text for people.'

/** Gives a command the flags of a job, and those settings that matter to one. */
export function addRunFlags(command: Command): Command {
  const dollars = decimal(LEAST_USD, MOST_USD)
  command
    .argument('[input]', 'The prompts, one a line.')
    .option('-o, --output <FILE>', 'Where the answers go, one a line.')
    .addOption(
      checkedFlag(
        '--max-in-flight N',
        'So many prompts at once; auto takes as many as the limits can use.',
        inFlight,
      ).default('auto', 'auto'),
    )
    .addOption(checkedFlag('--max-spend-usd N', 'What all runs of the job may cost.', dollars))
    .addOption(
      checkedFlag('--lane LANE', 'The priority in line.', oneOf(...LANES)).default('low', 'low'),
    )
    .addOption(
      checkedFlag(
        '--long-windows WHAT',
        'When the limit of an hour or a day is used up: wait, stop, or pace, which makes it last.',
        oneOf(...LONG_WINDOWS),
      ).default('wait', 'wait'),
    )
    .addOption(
      checkedFlag(
        '--within DURATION',
        'How long the job may take: what can wait goes as batches, at half the price.',
        positiveDuration,
      ),
    )
    .option('--skip-bad', 'Make failures of lines that are no prompts, and send the others.')
    .option('--retry-failed', 'Send again what has failed in earlier runs.')
    .option('--dry-run', 'Say what the job would take, and send nothing.')
    .option('--workers', 'Have workers send the prompts, which take them from the store.')
    .option('--worker', 'Be one: send what such runs have in the store, until stopped.')
    .hook('preAction', checkFiles)
  for (const { name, flag, variable, doc } of OPTIONS) {
    const text = name === 'logFormat' ? LOG_FORMAT : doc
    if (!SETTINGS.includes(name)) continue
    const option = new Option(flag.replace(/ (.+)$/, ' <$1>'), `${text} (${variable})`)
    if (name === 'upstream') option.argParser(collect)
    command.addOption(option)
  }
  return command
}

const collect = (text: string, before: readonly string[] = []): string[] => [...before, text]

/** Whoever is no worker needs both files. */
function checkFiles(command: Command): void {
  const { worker, output } = command.opts<Partial<RunFlags>>()
  if (worker) {
    if (command.args.length > 0) command.error('error: a worker has no files of its own')
    return
  }
  if (command.args.length === 0) command.error("error: missing required argument 'input'")
  if (output === undefined)
    command.error("error: required option '-o, --output <FILE>' not specified")
  if (command.args[0] === '-') command.error('error: the input is read twice: it has to be a file')
  if (output === '-') command.error('error: a later run reads the output: it has to be a file')
}
