// headgate check: says what the settings amount to, without starting anything. Must not know: how
// they are read.
import { ConfigError } from '../policy/problem.ts'
import { type Loaded, loadSettings, type ResolvedValue } from '../policy/resolve.ts'
import type { Flags } from '../policy/setting-table.ts'
import type { LimitRule, ProviderSettings } from '../policy/settings.ts'
import { formatLimit } from '../policy/units.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'

interface TextSink {
  write(text: string): unknown
}

export interface CheckIo {
  readonly stdout: TextSink
  readonly stderr: TextSink
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where `headgate.yaml` is looked for. */
  readonly folder: string
}

/** Prints the settings and where each came from, or every problem with them. */
export async function runCheck(flags: Flags, io: CheckIo): Promise<ExitCode> {
  try {
    const loaded = loadSettings(flags, io.env, io.folder)
    io.stdout.write(report(loaded))
    for (const warning of loaded.warnings) io.stderr.write(`warning: ${warning}\n`)
    return EXIT.ok
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const problem of error.problems) io.stderr.write(`${problem}\n`)
    return EXIT.usage
  }
}

function report({ file, values, settings }: Loaded): string {
  const providers = Object.entries(settings.providers).flatMap(([name, provider]) =>
    describeProvider(`providers.${name}`, provider, file ?? 'default'),
  )
  const head = file === null ? 'No configuration file.' : `${file} is fine.`
  return `${head}\n\n${table([...values, ...providers])}`
}

/** What only the file can say of a provider. */
function describeProvider(
  key: string,
  { apiKey, floors, limits }: ProviderSettings,
  file: string,
): ResolvedValue[] {
  const row = (name: string, text: string | null, otherwise: string): ResolvedValue => ({
    label: `${key}.${name}`,
    text: text ?? otherwise,
    origin: text === null ? 'default' : file,
  })
  const { softTokens, hardTokens } = floors
  const hasFloors = softTokens > 0 || hardTokens > 0
  const rules = limits.length > 0 ? limits.map(describeRule) : [null]
  return [
    row('api_key', apiKey === null ? null : 'set, not shown', "callers' own keys"),
    row('floors', hasFloors ? `soft ${softTokens}, hard ${hardTokens}` : null, 'none'),
    ...rules.map((rule) => row('limits', rule, 'learnt from responses')),
  ]
}

function describeRule({ match, limits }: LimitRule): string {
  const amounts = limits.map((limit) => `${limit.dimension} ${formatLimit(limit)}`)
  return `${match}: ${amounts.join(', ')}`
}

function table(rows: readonly ResolvedValue[]): string {
  const labelWidth = Math.max(...rows.map(({ label }) => label.length))
  const textWidth = Math.max(...rows.map(({ text }) => text.length))
  return rows
    .map(({ label, text, origin }) => {
      return `${label.padEnd(labelWidth)}  ${text.padEnd(textWidth)}  ${origin}\n`
    })
    .join('')
}
