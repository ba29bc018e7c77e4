// Every setting that is one value: its flag, variable, key, type, default and what it does. The
// schema, the command line, the reference and the messages are made of it.
// Must not know: where a value comes from.
import type { z } from 'zod'
import { USUAL_LEDGER, type WrittenLedger } from './ledger-address.ts'
import { MEMORY, type StoreAddress } from './store-address.ts'
import { formatDuration, formatSize } from './units.ts'
import * as values from './values.ts'

/** The providers that this build can stand in front of. */
export const PROVIDER_NAMES = ['anthropic'] as const

export type ProviderName = (typeof PROVIDER_NAMES)[number]

/** What the command line says, by the names that commander gives to flags. */
export interface Flags {
  readonly config?: string | undefined
  /** Each `NAME=URL`. */
  readonly upstream?: readonly string[] | undefined
  readonly host?: string | undefined
  readonly port?: string | undefined
  readonly store?: string | undefined
  readonly ledger?: string | undefined
  readonly maxWait?: string | undefined
  readonly logLevel?: string | undefined
  readonly logFormat?: string | undefined
}

/** A flag and the environment variable that stands for it. */
export interface Option {
  readonly name: keyof Flags
  /** As in the help: `--max-wait DURATION`. */
  readonly flag: string
  readonly variable: string
}

/** What the help says of an option. */
export interface DescribedOption extends Option {
  readonly doc: string
  readonly defaultText: string
}

export interface Setting<T> {
  /** The path in the file. */
  readonly key: string
  /** Null for a setting that only the file has. */
  readonly option: Option | null
  readonly type: z.ZodType<T>
  readonly default: T
  /** The default as people write it. */
  readonly defaultText: string
  /** How people write a value. */
  readonly format: (value: T) => string
  /** What it does, in one sentence. */
  readonly doc: string
}

interface Entry<T> extends Pick<Setting<T>, 'key' | 'type' | 'doc'> {
  readonly default: NoInfer<T>
  readonly option?: Option | null
  readonly format?: (value: NoInfer<T>) => string
}

function setting<T>({ option = null, format = String, ...entry }: Entry<T>): Setting<T> {
  return { ...entry, option, format, defaultText: format(entry.default) }
}

export const SETTINGS = {
  host: setting({
    key: 'listen',
    option: { name: 'host', flag: '--host HOST', variable: 'HEADGATE_HOST' },
    type: values.host,
    default: '127.0.0.1',
    doc: 'The address to listen on.',
  }),
  port: setting({
    key: 'listen',
    option: { name: 'port', flag: '--port PORT', variable: 'HEADGATE_PORT' },
    type: values.port,
    default: 4000,
    doc: 'The port to listen on; 0 picks a free one.',
  }),
  store: setting<StoreAddress>({
    key: 'store',
    option: { name: 'store', flag: '--store URL', variable: 'HEADGATE_STORE' },
    type: values.store,
    default: MEMORY,
    format: ({ shown }) => shown,
    doc: 'Where the queue and the meters live: memory, or a Redis that gateways share.',
  }),
  onStoreFailure: setting({
    key: 'on_store_failure',
    type: values.oneOf('degrade', 'open', 'closed'),
    default: 'degrade',
    doc: 'What is done while a shared store cannot be reached.',
  }),
  ledger: setting<WrittenLedger>({
    key: 'ledger',
    option: { name: 'ledger', flag: '--ledger URL', variable: 'HEADGATE_LEDGER' },
    type: values.ledger,
    default: USUAL_LEDGER,
    format: ({ shown }) => shown,
    doc: 'Where spending is recorded: a file in the data folder, sqlite:PATH, a Postgres, or off.',
  }),
  maxWait: setting({
    key: 'queue.max_wait',
    option: { name: 'maxWait', flag: '--max-wait DURATION', variable: 'HEADGATE_MAX_WAIT' },
    type: values.duration,
    default: 600_000,
    format: formatDuration,
    doc: 'How long a request may wait for its turn before it is refused; 0s refuses at once.',
  }),
  maxQueued: setting({
    key: 'queue.max_queued',
    type: values.wholeNumber(1),
    default: 10_000,
    doc: 'How many requests may wait at once.',
  }),
  aging: setting({
    key: 'queue.aging',
    type: values.positiveDuration,
    default: 60_000,
    format: formatDuration,
    doc: 'A waiting request rises one lane after each such interval.',
  }),
  keepalive: setting({
    key: 'queue.keepalive',
    type: values.oneOf('auto', 'off'),
    default: 'auto',
    doc: 'Whether waiting clients are shown life before they give up.',
  }),
  maxBodyMemory: setting({
    key: 'max_body_memory',
    type: values.size,
    default: 2 ** 30,
    format: formatSize,
    doc: 'How much memory the bodies of all waiting requests may take together.',
  }),
  fallbackAfter: setting({
    key: 'fallback_after',
    type: values.duration,
    default: 30_000,
    format: formatDuration,
    doc: 'A predicted wait longer than this takes a fallback.',
  }),
  unknownPrice: setting({
    key: 'unknown_price',
    type: values.oneOf('refuse', 'allow'),
    default: 'refuse',
    doc: 'What becomes of a request under a budget whose model has no known price.',
  }),
  leaseTtl: setting({
    key: 'leases.default_ttl',
    type: values.leaseTtl,
    default: 30_000,
    format: formatDuration,
    doc: 'How long a lease lasts without a sign of life, where its caller asks for no other time.',
  }),
  maxLeaseTtl: setting({
    key: 'leases.max_ttl',
    type: values.leaseTtl,
    default: 3_600_000,
    format: formatDuration,
    doc: 'The longest such time that a caller may ask for.',
  }),
  maxLeasesPerCaller: setting({
    key: 'leases.max_per_caller',
    type: values.wholeNumber(1),
    default: 10_000,
    doc: 'How many leases one caller may hold and wait for at once.',
  }),
  logLevel: setting({
    key: 'log.level',
    option: { name: 'logLevel', flag: '--log-level LEVEL', variable: 'HEADGATE_LOG_LEVEL' },
    type: values.oneOf('debug', 'info', 'warn', 'error', 'silent'),
    default: 'info',
    doc: 'The least that is logged.',
  }),
  logFormat: setting({
    key: 'log.format',
    option: { name: 'logFormat', flag: '--log-format FORMAT', variable: 'HEADGATE_LOG_FORMAT' },
    type: values.oneOf('auto', 'pretty', 'json'),
    default: 'auto',
    doc: 'How it is written; auto is pretty on a terminal and json elsewhere.',
  }),
}

export function upstreamOption(provider: ProviderName): Option {
  return {
    name: 'upstream',
    flag: `--upstream ${provider}=URL`,
    variable: `HEADGATE_UPSTREAM_${provider.toUpperCase()}`,
  }
}

/** Where a provider's calls go. Null stands for the provider's public address. */
export function upstreamSetting(provider: ProviderName): Setting<string | null> {
  return setting<string | null>({
    key: `providers.${provider}.base_url`,
    option: upstreamOption(provider),
    type: values.baseUrl,
    default: null,
    format: (url) => url ?? 'the public address',
    doc: `Where calls to ${provider} go.`,
  })
}

export const DEFAULT_CONFIG_FILE = 'headgate.yaml'
export const CONFIG_VARIABLE = 'HEADGATE_CONFIG'

/** The options of the command line that configure the gate. */
export const OPTIONS: readonly DescribedOption[] = [
  ...Object.values(SETTINGS).flatMap(({ option, doc, defaultText }) =>
    option ? [{ ...option, doc, defaultText }] : [],
  ),
  {
    name: 'upstream',
    flag: '--upstream NAME=URL',
    variable: 'HEADGATE_UPSTREAM_NAME',
    doc: `Where a provider's calls go (${PROVIDER_NAMES.join(', ')}); may be repeated.`,
    defaultText: 'the public address',
  },
  {
    name: 'config',
    flag: '--config FILE',
    variable: CONFIG_VARIABLE,
    doc: 'The configuration file.',
    defaultText: `./${DEFAULT_CONFIG_FILE} if there`,
  },
]
