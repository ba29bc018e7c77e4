// What a run and a worker begin with. Owns: their settings and their key, and how it is said that they cannot
// begin. Must not know: what either does.
import { JobError } from '../fleet/job/problem.ts'
import { LedgerSetupError, LedgerUnavailable } from '../ledger/ledger.ts'
import { ConfigError } from '../policy/problem.ts'
import { loadSettings } from '../policy/resolve.ts'
import type { Settings } from '../policy/settings.ts'
import { StoreSetupError } from '../stores/redis/server-check.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import type { RunFlags } from './run-flags.ts'

/** @throws ConfigError for mistakes in them */
export function settingsFor(
  {
    config,
    upstream,
    logFormat,
    store,
  }: Pick<RunFlags, 'config' | 'upstream' | 'logFormat' | 'store'>,
  { env, folder, stderr }: Io,
): Settings {
  const { settings, warnings } = loadSettings({ config, upstream, logFormat, store }, env, folder)
  for (const warning of warnings) stderr.write(`warning: ${warning}\n`)
  return settings
}

const NO_KEY =
  'there is no key: set ANTHROPIC_API_KEY, or providers.anthropic.api_key in the configuration'

/** @throws ConfigError where there is none */
export function keyFor({ providers }: Settings, { env }: Io): string {
  const key = providers.anthropic.apiKey ?? env.ANTHROPIC_API_KEY
  if (!key) throw new ConfigError([NO_KEY])
  return key
}

/** What is wrong is for the user to mend; the message says it. */
const SETUP_ERRORS = [StoreSetupError, LedgerSetupError, LedgerUnavailable]

/** Says in a line each what has kept the command from its work, or ended it. */
export async function explained({ stderr }: Io, work: () => Promise<ExitCode>): Promise<ExitCode> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ConfigError || error instanceof JobError) {
      for (const problem of error.problems) stderr.write(`${problem}\n`)
      return error instanceof JobError && error.kind === 'run' ? EXIT.failed : EXIT.usage
    }
    if (!(error instanceof Error) || !SETUP_ERRORS.some((kind) => error instanceof kind))
      throw error
    stderr.write(`headgate: ${error.message}\n`)
    return EXIT.failed
  }
}
