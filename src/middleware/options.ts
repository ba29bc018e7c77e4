// What a program may write to have a limiter. Owns: its options, their defaults, and what is wrong with
// them. Must not know: what is made of them.
import path from 'node:path'
import type { z } from 'zod'
import type { Clock } from '../core/clock.ts'
import type { Limit } from '../core/limit.ts'
import { limitKeys, limitsIn } from '../policy/limit-schema.ts'
import { ConfigError } from '../policy/problem.ts'
import { loadSettings, settingsFrom } from '../policy/resolve.ts'
import type { fileSchema } from '../policy/schema.ts'
import { section } from '../policy/section.ts'
import type { Settings } from '../policy/settings.ts'
import type { LimiterEvents } from './context.ts'

/** What all callers share: they wait for it in one line, by lane and then fairly. */
export interface SharedLimits {
  /** As in the configuration: `5/s`. */
  readonly requests?: string | string[]
  /** Requests at once. */
  readonly concurrency?: number
}

export interface LimiterOptions {
  /** The keys of headgate.yaml, as data. */
  readonly config?: z.input<typeof fileSchema>
  /** In its place, a file: `./headgate.yaml`. */
  readonly file?: string
  /** One line for all callers; a text stands for its `requests`. @default none */
  readonly shared?: string | SharedLimits
  /** How long a request waits for its turn where its limits let it. @default 30000 */
  readonly maxWaitMs?: number
  /** @default process warnings */
  readonly events?: Partial<LimiterEvents>
  /** What `${NAME}` in the configuration stands for. @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** @default the machine's */
  readonly clock?: Clock
  /** From 0 up to 1: spreads attempts to reach a shared store. @default Math.random */
  readonly random?: () => number
}

export interface ResolvedOptions {
  readonly settings: Settings
  readonly shared: readonly Limit[]
  readonly maxWaitMs: number
}

const DEFAULT_MAX_WAIT_MS = 30_000

const sharedSchema = section(
  { requests: limitKeys.requests, concurrency: limitKeys.concurrency },
  'What all callers share.',
)

/** @throws ConfigError with every problem of the configuration, or of the rest. */
export function resolveOptions(options: LimiterOptions): ResolvedOptions {
  const { maxWaitMs = DEFAULT_MAX_WAIT_MS } = options
  if (!(maxWaitMs >= 0 && Number.isFinite(maxWaitMs)))
    throw new ConfigError([`maxWaitMs: ${maxWaitMs} is no time, write milliseconds from 0`])
  return { settings: settingsOf(options), shared: sharedLimits(options.shared), maxWaitMs }
}

function settingsOf({ config, file, env = process.env }: LimiterOptions): Settings {
  if (file === undefined) return settingsFrom(config ?? {}, env)
  if (config !== undefined) throw new ConfigError(['file: there is config already, keep one'])
  return loadSettings({ config: path.resolve(file) }, env).settings
}

function sharedLimits(shared: LimiterOptions['shared'] = {}): readonly Limit[] {
  const checked = sharedSchema.safeParse(typeof shared === 'string' ? { requests: shared } : shared)
  if (checked.success) return limitsIn(checked.data)
  throw new ConfigError(
    checked.error.issues.map(({ path: keys, message }) =>
      [['shared', ...keys].join('.'), message].join(': '),
    ),
  )
}
