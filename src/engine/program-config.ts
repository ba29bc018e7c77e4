// The configuration of an engine within a program of its own. Owns: which keys it has, and what is wrong with
// them. Must not know: which door the program uses.
import type { z } from 'zod'
import { ConfigError } from '../policy/problem.ts'
import { settingsFrom } from '../policy/resolve.ts'
import type { fileSchema } from '../policy/schema.ts'
import type { Settings } from '../policy/settings.ts'
import { warningsOf } from '../policy/warnings.ts'

/** Keys of headgate.yaml that say how others reach a gateway: nobody reaches a program's own gate. */
export const SERVER_KEYS = {
  listen: 'nothing is listened to',
  identity: 'the program itself says which user its calls are for',
  keys: 'the program itself says which user its calls are for',
  leases: 'nobody else asks this gate for leases',
  admin: 'nobody administers it from outside',
  max_body_memory: 'bodies are in the memory of their program already',
  log: 'its events tell what happens',
} as const satisfies Partial<Record<keyof z.input<typeof fileSchema>, string>>

/** The keys of headgate.yaml as data, without those that only a server has. */
export type GateConfig = Omit<z.input<typeof fileSchema>, keyof typeof SERVER_KEYS>

export interface ReadConfig {
  readonly settings: Settings
  /** Nothing that stops the gate, but probably not meant. */
  readonly warnings: readonly string[]
}

/** @throws ConfigError with every problem. */
export function readConfig(
  config: GateConfig,
  env: Readonly<Record<string, string | undefined>> = process.env,
): ReadConfig {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new ConfigError(['config: is no object, write the keys of headgate.yaml as data'])
  const given = new Map(Object.entries(config))
  const problems = Object.entries(SERVER_KEYS).flatMap(([key, why]) =>
    given.get(key) === undefined
      ? []
      : [`config: ${key}: is a key of gateways, leave it out: ${why}`],
  )
  if (problems.length > 0) throw new ConfigError(problems)
  const settings = settingsFrom(config, env)
  // No variable sets anything here: those of this name are some other program's.
  return { settings, warnings: warningsOf(settings, {}) }
}
