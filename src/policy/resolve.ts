// Finds what the operator wants: flags beat environment, environment beats file, file beats defaults.
// Owns: the order, and where each setting came from. Must not know: what the settings do.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { locateLedger, type Whereabouts } from './ledger-address.ts'
import { type Environment, type ReadFile, readConfig } from './load.ts'
import { ConfigError, problemLine } from './problem.ts'
import { firstBudgetIn, resolveIdentity, resolvePrices, resolveRules } from './resolve-rules.ts'
import type { FileConfig } from './schema.ts'
import {
  CONFIG_VARIABLE,
  DEFAULT_CONFIG_FILE,
  type Flags,
  OPTIONS,
  PROVIDER_NAMES,
  type ProviderName,
  SETTINGS,
  type Setting,
  upstreamOption,
  upstreamSetting,
} from './setting-table.ts'
import type { ProviderSettings, Settings } from './settings.ts'
import { suggestion } from './suggest.ts'
import { warningsOf } from './warnings.ts'

/** One setting as it came out, for people. */
export interface ResolvedValue {
  readonly label: string
  readonly text: string
  /** A flag, a variable, the file's name or `default`. */
  readonly origin: string
}

export interface Loaded {
  readonly settings: Settings
  /** The file that was read, or null. */
  readonly file: string | null
  /** Whether the file says nothing at all. */
  readonly isBlank: boolean
  readonly values: readonly ResolvedValue[]
  /** Nothing that stops the gate, but probably not meant. */
  readonly warnings: readonly string[]
}

/**
 * The settings that these flags, this environment and the file they name amount to.
 *
 * @throws ConfigError with every problem of all three.
 */
export function loadSettings(flags: Flags, env: Environment, folder = process.cwd()): Loaded {
  const source = findFile(flags, env, folder)
  const read = readConfig(source.name, source.text ?? '', env)
  const resolver = new Resolver(flags, env, source.name)
  const settings = resolve(resolver, read.config, { env, folder, platform: process.platform })
  const problems = [...source.problems, ...read.problems, ...resolver.problems]
  problems.push(...budgetsWithoutLedger(settings, read))
  if (problems.length > 0) throw new ConfigError(problems)
  return {
    settings,
    file: source.text === null ? null : source.name,
    isBlank: source.text?.trim() === '',
    values: resolver.values,
    warnings: warningsOf(settings, env),
  }
}

/**
 * The settings of a configuration that a program wrote as plain data: no flag or variable changes them,
 * and `${NAME}` in a value stands for a variable.
 *
 * @throws ConfigError with every problem.
 */
export function settingsFrom(config: unknown, env: Environment, folder = process.cwd()): Settings {
  const read = readConfig('config', textOf(config), env)
  const resolver = new Resolver({}, {}, 'config')
  const settings = resolve(resolver, read.config, { env, folder, platform: process.platform })
  const problems = [...read.problems, ...budgetsWithoutLedger(settings, read)]
  // Nobody has seen the text whose lines these are.
  const named = problems.map((problem) => problem.replace(/^config:\d+:\d+/, 'config'))
  if (named.length > 0) throw new ConfigError(named)
  return settings
}

function textOf(config: unknown): string {
  try {
    return JSON.stringify(config)
  } catch (error) {
    // What is circular, and what JSON has no word for.
    if (!(error instanceof TypeError)) throw error
    const [why] = error.message.split('\n')
    throw new ConfigError([`config: is no plain data: ${why}`])
  }
}

function resolve(resolver: Resolver, config: FileConfig, where: Whereabouts): Settings {
  const { listen, queue } = config
  const host = resolver.pick(SETTINGS.host, listen?.host, 'listen: host')
  return {
    host,
    port: resolver.pick(SETTINGS.port, listen?.port, 'listen: port'),
    store: resolver.pick(SETTINGS.store, config.store),
    onStoreFailure: resolver.pick(SETTINGS.onStoreFailure, config.on_store_failure),
    ledger: locateLedger(resolver.pick(SETTINGS.ledger, config.ledger), where),
    queue: {
      maxWaitMs: resolver.pick(SETTINGS.maxWait, queue?.max_wait),
      maxQueued: resolver.pick(SETTINGS.maxQueued, queue?.max_queued),
      agingMs: resolver.pick(SETTINGS.aging, queue?.aging),
      keepalive: resolver.pick(SETTINGS.keepalive, queue?.keepalive),
    },
    maxBodyMemoryBytes: resolver.pick(SETTINGS.maxBodyMemory, config.max_body_memory),
    resources: config.resources ?? new Map(),
    rules: resolveRules(config),
    identity: resolveIdentity(config, host),
    fallbacks: [...(config.fallbacks ?? [])].map(([match, models]) => ({ match, models })),
    fallbackAfterMs: resolver.pick(SETTINGS.fallbackAfter, config.fallback_after),
    prices: resolvePrices(config),
    unknownPrice: resolver.pick(SETTINGS.unknownPrice, config.unknown_price),
    leases: {
      defaultTtlMs: resolver.pick(SETTINGS.leaseTtl, config.leases?.default_ttl),
      maxTtlMs: resolver.pick(SETTINGS.maxLeaseTtl, config.leases?.max_ttl),
      maxPerCaller: resolver.pick(SETTINGS.maxLeasesPerCaller, config.leases?.max_per_caller),
      origins: config.leases?.origins ?? [],
    },
    webhook: config.budget_warnings?.webhook ?? null,
    adminToken: config.admin?.token ?? null,
    log: {
      level: resolver.pick(SETTINGS.logLevel, config.log?.level),
      format: resolver.pick(SETTINGS.logFormat, config.log?.format),
    },
    providers: { anthropic: resolveProvider(resolver, 'anthropic', config.providers?.anthropic) },
  }
}

/** Without a record a budget would bind nobody. */
function budgetsWithoutLedger({ ledger }: Settings, { config, placeOf }: ReadFile): string[] {
  const path = firstBudgetIn(config)
  if (ledger.kind !== 'off' || path === null) return []
  return [`${placeOf(path)}: is counted in the ledger, which is off: name a ledger`]
}

type ProviderConfig = NonNullable<FileConfig['providers']>[ProviderName]

function resolveProvider(
  resolver: Resolver,
  name: ProviderName,
  config: ProviderConfig,
): ProviderSettings {
  return {
    baseUrl: resolver.pick(upstreamSetting(name), config?.base_url),
    apiKey: config?.api_key ?? null,
    floors: { softTokens: config?.floors?.soft ?? 0, hardTokens: config?.floors?.hard ?? 0 },
    limits: config?.limits ?? [],
  }
}

interface ConfigSource {
  readonly name: string
  /** Null where there is no file. */
  readonly text: string | null
  readonly problems: readonly string[]
}

function findFile(flags: Flags, env: Environment, folder: string): ConfigSource {
  const asked = flags.config ?? (env[CONFIG_VARIABLE] || undefined)
  const name = asked ?? DEFAULT_CONFIG_FILE
  try {
    return { name, text: readFileSync(path.resolve(folder, name), 'utf8'), problems: [] }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    const isAbsent = code === 'ENOENT'
    if (isAbsent && asked === undefined) return { name, text: null, problems: [] }
    const by = flags.config === undefined ? CONFIG_VARIABLE : '--config'
    const what = isAbsent ? 'there is no such file' : `the file cannot be read (${code})`
    return { name, text: null, problems: [`${by}: ${name}: ${what}, name another or leave it out`] }
  }
}

/** Picks each setting from where it was said first, and remembers where that was. */
class Resolver {
  readonly values: ResolvedValue[] = []
  readonly problems: string[] = []
  readonly #env: Environment
  readonly #file: string
  /** What the command line says, by the options' `flag`. */
  readonly #said = new Map<string, string>()

  constructor(flags: Flags, env: Environment, file: string) {
    this.#env = env
    this.#file = file
    for (const { name, flag } of OPTIONS) {
      const text = flags[name]
      if (typeof text === 'string') this.#said.set(flag, text)
    }
    for (const text of flags.upstream ?? []) this.#readUpstream(text)
  }

  pick<T>(setting: Setting<T>, fromFile: T | undefined, label = setting.key): T {
    const { value, origin } = this.#fromOption(setting) ?? this.#fromFile(setting, fromFile)
    this.values.push({ label, text: setting.format(value), origin })
    return value
  }

  #fromFile<T>(setting: Setting<T>, value: T | undefined): { value: T; origin: string } {
    return value === undefined
      ? { value: setting.default, origin: 'default' }
      : { value, origin: this.#file }
  }

  #fromOption<T>({ option, type }: Setting<T>): { value: T; origin: string } | null {
    if (!option) return null
    const flagText = this.#said.get(option.flag)
    // Compose files set a variable to nothing when they mean that it is not there.
    const text = flagText ?? (this.#env[option.variable] || undefined)
    if (text === undefined) return null
    const origin = flagText === undefined ? option.variable : flagWord(option.flag)
    const checked = type.safeParse(text)
    if (checked.success) return { value: checked.data, origin }
    const [issue] = checked.error.issues
    this.problems.push(problemLine({ at: origin }, text, issue?.message ?? 'is not understood'))
    return null
  }

  #readUpstream(text: string): void {
    const [, name = '', url = ''] = /^([^=]*)=(.*)$/.exec(text) ?? []
    const provider = PROVIDER_NAMES.find((known) => known === name)
    if (provider) {
      this.#said.set(upstreamOption(provider).flag, url)
      return
    }
    const why = name ? `names no provider, ${suggestion(name, PROVIDER_NAMES)}` : 'is not NAME=URL'
    this.problems.push(problemLine({ at: '--upstream' }, name || text, why))
  }
}

/** `--port` of `--port PORT` */
const flagWord = (flag: string): string => flag.split(' ')[0] ?? flag
