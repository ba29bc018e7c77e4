// What a program may write to have a gate. Owns: its options, and what is wrong with them. Must not know:
// what is made of them.
import { z } from 'zod'
import type { Clock } from '../core/clock.ts'
import { ConfigError } from '../policy/problem.ts'
import { settingsFrom } from '../policy/resolve.ts'
import type { fileSchema } from '../policy/schema.ts'
import type { Settings } from '../policy/settings.ts'
import { warningsOf } from '../policy/warnings.ts'
import { checked, functionSchema, notKnown, objectOf } from './checked.ts'
import { type GateEvents, gateEvents } from './events.ts'

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

type Variables = NonNullable<GateOptions['env']>

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const isClock = (value: unknown): boolean =>
  isObject(value) && 'now' in value && 'schedule' in value

const EVENTS = Object.keys(gateEvents())

const eventsSchema = z
  .custom<Partial<GateEvents>>(isObject, { error: 'is no object' })
  .superRefine((heard, context) => {
    // An object of a class has more than its listeners.
    const isPlain = Object.getPrototypeOf(heard) === Object.prototype
    for (const [name, listener] of Object.entries(heard)) {
      const isEvent = EVENTS.includes(name)
      const isWrong = isEvent && listener !== undefined && typeof listener !== 'function'
      if (isWrong) context.addIssue({ code: 'custom', path: [name], message: 'is no function' })
      if (!isEvent && isPlain)
        context.addIssue({ code: 'custom', path: [name], message: notKnown(name, EVENTS) })
    }
  })

const optionsSchema = objectOf({
  env: z.custom<Variables>(isObject, { error: 'is no object' }).optional(),
  clock: z.custom<Clock>(isClock, { error: 'is no clock' }).optional(),
  random: functionSchema<() => number>().optional(),
  events: eventsSchema.optional(),
})

/** @throws ConfigError with every problem. */
export function readOptions(options: GateOptions): z.output<typeof optionsSchema> {
  return checked(
    optionsSchema,
    options,
    ['options'],
    (problems) => new ConfigError(problems.map(({ detail }) => detail)),
  )
}

export interface ReadConfig {
  readonly settings: Settings
  /** Nothing that stops the gate, but probably not meant. */
  readonly warnings: readonly string[]
}

/** @throws ConfigError with every problem. */
export function readConfig(config: GateConfig, env: Variables = process.env): ReadConfig {
  if (!isObject(config) || Array.isArray(config))
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
