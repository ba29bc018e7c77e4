// headgate check: says what the settings amount to, without starting anything. Must not know: how
// they are read.
import type { Command } from 'commander'
import type { Limit } from '../core/limit.ts'
import { ConfigError } from '../policy/problem.ts'
import { type Loaded, loadSettings, type ResolvedValue } from '../policy/resolve.ts'
import type { Flags } from '../policy/setting-table.ts'
import type { ProviderSettings, Settings } from '../policy/settings.ts'
import { formatLimit } from '../policy/units.ts'
import { explain, identityOf, type WhomFlags } from './check-subject.ts'
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

export type CheckFlags = Flags & WhomFlags

/** Gives a command the flags that name whom to explain. */
export function addWhomFlags(command: Command): Command {
  return command
    .option('--user <NAME>', 'Explain what binds this user.')
    .option('--team <NAME>', 'Explain what binds the members of this team.')
    .option('--key <ID>', 'Explain what binds the holder of this key of the file.')
}

/** Prints the settings and where each came from, or what binds one caller, or every problem. */
export async function runCheck(flags: CheckFlags, io: CheckIo): Promise<ExitCode> {
  try {
    const loaded = loadSettings(flags, io.env, io.folder)
    const text = isAboutSomebody(flags) ? subjectReport(flags, loaded) : report(loaded)
    io.stdout.write(text)
    for (const warning of loaded.warnings) io.stderr.write(`warning: ${warning}\n`)
    return EXIT.ok
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const problem of error.problems) io.stderr.write(`${problem}\n`)
    return EXIT.usage
  }
}

function isAboutSomebody({ user, team, key }: CheckFlags): boolean {
  return [user, team, key].some((name) => name !== undefined)
}

/** @throws ConfigError when the flags name nobody. */
function subjectReport(flags: WhomFlags, { settings, file }: Loaded): string {
  const identity = identityOf(flags, settings)
  if (typeof identity === 'string') throw new ConfigError([identity])
  const head = file === null ? 'No configuration file.' : `By ${file}:`
  return `${head}\n\n${table(explain(identity, settings).map(({ label, text }) => [label, text]))}`
}

function report({ file, values, settings }: Loaded): string {
  const from = file ?? 'default'
  const providers = Object.entries(settings.providers).flatMap(([name, provider]) =>
    describeProvider(`providers.${name}`, provider, from),
  )
  const rows = [
    ...values,
    ...providers,
    ...describeLeases(settings, from),
    ...describeRules(settings, from),
  ]
  const head = file === null ? 'No configuration file.' : `${file} is fine.`
  return `${head}\n\n${table(rows.map(({ label, text, origin }) => [label, text, origin]))}`
}

/** What only the file can say of leases. */
function describeLeases({ resources, leases }: Settings, file: string): ResolvedValue[] {
  const rows = [...resources].map(([name, limits]) => ({
    label: 'resources',
    text: describeLimits(name, limits),
    origin: file,
  }))
  return [
    ...(rows.length > 0 ? rows : [named('resources', [], file)]),
    named('leases.origins', leases.origins, file),
  ]
}

/** What only the file can say of callers. */
function describeRules({ rules, identity, ...settings }: Settings, file: string): ResolvedValue[] {
  const { tiers, defaultTier, users, teams, keys } = rules
  const fallbacks = settings.fallbacks.map(({ match, models }) => `${match}: ${models.join(', ')}`)
  const prices = settings.prices.map(({ match }) => match)
  return [
    named('tiers', [...tiers.keys()], file),
    named('default_tier', [defaultTier ?? []].flat(), file),
    { label: 'users', text: String(users.size), origin: users.size > 0 ? file : 'default' },
    named('teams', [...teams.keys()], file),
    named('keys', [...new Set(keys.map(({ id }) => id))], file),
    { label: 'identity.require_key', text: String(identity.requireKey), origin: '' },
    { label: 'identity.trusted', text: identity.trusted.join(', ') || 'nobody', origin: '' },
    named('fallbacks', fallbacks, file),
    named('prices', prices, file),
    named('admin.token', settings.adminToken === null ? [] : ['set, not shown'], file),
  ]
}

/** What the file gives names to. */
function named(label: string, names: readonly string[], file: string): ResolvedValue {
  const isSaid = names.length > 0
  return { label, text: names.join(', ') || 'none', origin: isSaid ? file : 'default' }
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
  const rules =
    limits.length > 0 ? limits.map((rule) => describeLimits(rule.match, rule.limits)) : [null]
  return [
    row('api_key', apiKey === null ? null : 'set, not shown', "callers' own keys"),
    row('floors', hasFloors ? `soft ${softTokens}, hard ${hardTokens}` : null, 'none'),
    ...rules.map((rule) => row('limits', rule, 'learnt from responses')),
  ]
}

function describeLimits(name: string, limits: readonly Limit[]): string {
  const amounts = limits.map((limit) => `${limit.dimension} ${formatLimit(limit)}`)
  return `${name}: ${amounts.join(', ')}`
}

/** Columns of equal width; the last is as wide as it is. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('')
}
