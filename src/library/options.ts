// What a program may write to have a gate. Owns: its options, and what is wrong with them. Must not know:
// what is made of them.
import { z } from 'zod'
import type { Clock } from '../core/clock.ts'
import { type GateEvents, gateEvents } from '../engine/program-events.ts'
import { ConfigError } from '../policy/problem.ts'
import { checked, functionSchema, notKnown, objectOf } from './checked.ts'

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
