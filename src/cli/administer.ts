// Commands that work on the ledger itself, whether a gate is running or not. Owns: their common flags,
// opening and closing the ledger, and how their failures end. Must not know: any one command.
import { randomBytes } from 'node:crypto'
import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import type { z } from 'zod'
import { openLedger } from '../backends/open-ledger.ts'
import { type Administration, AdminRefusal } from '../control/administration.ts'
import { type Ledger, LedgerSetupError, LedgerUnavailable } from '../ledger/ledger.ts'
import { ConfigError } from '../policy/problem.ts'
import { loadSettings } from '../policy/resolve.ts'
import { type Flags, OPTIONS } from '../policy/setting-table.ts'
import type { Settings } from '../policy/settings.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'

export interface AdminFlags extends Pick<Flags, 'config' | 'ledger'> {
  readonly json?: boolean
}

/** Writes wait so long for a ledger that is busy before the command fails. */
const CLOSE_WITHIN_MS = 5000

/** Gives a command the flags that say which ledger. */
export function addLedgerFlags(command: Command): Command {
  for (const { name, flag, variable, doc } of OPTIONS) {
    if (name !== 'config' && name !== 'ledger') continue
    command.addOption(new Option(flag.replace(/ (.+)$/, ' <$1>'), `${doc} (${variable})`))
  }
  return command
}

/** An argument that the command line checks itself, written as in the help: `<subject>`. */
export function checkedArgument(name: string, doc: string, type: z.ZodType): Argument {
  return new Argument(name, doc).argParser((text) => {
    const checked = type.safeParse(text)
    if (checked.success) return checked.data
    throw new InvalidArgumentError(`It ${checked.error.issues[0]?.message ?? 'is not understood'}.`)
  })
}

/** Does some work on the ledger that the flags and the configuration name; says why where it can't. */
export async function administer(
  flags: AdminFlags,
  io: Io,
  work: (admin: Administration) => Promise<void>,
): Promise<ExitCode> {
  try {
    const { settings } = loadSettings(flags, io.env, io.folder)
    const ledger = await open(settings, io)
    try {
      const { clock } = io
      await work({ clock, ledger, rules: () => settings.rules, randomBytes })
    } finally {
      await ledger.close(CLOSE_WITHIN_MS)
    }
    return EXIT.ok
  } catch (error) {
    return explain(error, io)
  }
}

async function open({ ledger: address }: Settings, { clock, stderr }: Io): Promise<Ledger> {
  const say = (sentence: string) => stderr.write(`headgate: ${sentence}\n`)
  const ledger = await openLedger(address, {
    clock,
    events: {
      unavailable: (why) => say(`the ledger cannot be used now: ${why}`),
      returned: () => say('the ledger can be used again'),
      recovered: () => {},
      // The gates that run tell of them.
      warned: () => {},
      failed: (error) => say(error instanceof Error ? error.message : String(error)),
    },
  })
  if (ledger) return ledger
  throw new AdminRefusal('invalid', 'ledger', 'the ledger is off: name one with --ledger')
}

function explain(error: unknown, { stderr }: Io): ExitCode {
  if (error instanceof ConfigError) {
    for (const problem of error.problems) stderr.write(`${problem}\n`)
    return EXIT.usage
  }
  const isExpected = [AdminRefusal, LedgerSetupError, LedgerUnavailable].some(
    (known) => error instanceof known,
  )
  if (!isExpected || !(error instanceof Error)) throw error
  stderr.write(`headgate: ${error.message}\n`)
  return error instanceof AdminRefusal && error.reason === 'invalid' ? EXIT.usage : EXIT.failed
}
