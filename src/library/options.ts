// What a program may write to have a gate. Owns: its options, and what is wrong with them. Must not know:
// what is made of them.
import type { z } from 'zod'
import type { Clock } from '../core/clock.ts'
import { ConfigError } from '../policy/problem.ts'
import { settingsFrom } from '../policy/resolve.ts'
import type { fileSchema } from '../policy/schema.ts'
import type { Settings } from '../policy/settings.ts'
import type { GateEvents } from './events.ts'

/** Keys of headgate.yaml that say how others reach a gateway: nobody reaches a program's own gate. */
export const SERVER_KEYS = {
  listen: 'nothing is listened to',
  identity: 'gatedFetch and acquire say which user they are for',
  keys: 'gatedFetch and acquire say which user they are for',
  leases: 'nobody else asks this gate for leases',
  admin: 'nobody administers it from outside',
  max_body_memory: 'bodies are in the memory of their program already',
  log: 'options.events tells what happens',
} as const satisfies Partial<Record<keyof z.input<typeof fileSchema>, string>>

/** The keys of headgate.yaml as data, without those that only a server has. */
export type GateConfig = Omit<z.input<typeof fileSchema>, keyof typeof SERVER_KEYS>

export interface GateOptions {
  /** What `${NAME}` in the configuration stands for. @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** @default the machine's */
  readonly clock?: Clock
  /** From 0 up to 1: spreads what would otherwise happen at once. @default Math.random */
  readonly random?: () => number
  /** @default process warnings for what somebody should know of */
  readonly events?: Partial<GateEvents>
}

/** @throws ConfigError with every problem. */
export function settingsOf(config: GateConfig, { env = process.env }: GateOptions): Settings {
  const problems = Object.entries(SERVER_KEYS).flatMap(([key, why]) =>
    key in config ? [`config: ${key}: is a key of gateways, leave it out: ${why}`] : [],
  )
  if (problems.length > 0) throw new ConfigError(problems)
  return settingsFrom(config, env)
}
