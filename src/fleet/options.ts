// What a program may write to have a fleet. Owns: its options, their defaults, and what is wrong with them.
// Must not know: what is made of them.
import { z } from 'zod'
import { LANES, type Lane } from '../core/lane.ts'
import { NANO_PER_USD } from '../core/money.ts'
import type { GateConfig } from '../engine/program-config.ts'
import { ConfigError } from '../policy/problem.ts'
import { suggestion } from '../policy/suggest.ts'
import { isName } from '../policy/values.ts'
import type { FleetEvent } from './events.ts'

export interface FleetOptions {
  /** @default `providers.anthropic.api_key` of `config`, or the variable ANTHROPIC_API_KEY */
  readonly apiKey?: string
  /** Where the provider is. @default `providers.anthropic.base_url` of `config`, or its public address */
  readonly baseUrl?: string
  /** The keys of headgate.yaml as data: limits, prices, a shared store. */
  readonly config?: GateConfig
  /** One that `createGate` has made: the fleet stands in its line. @default a gate of its own */
  readonly gate?: object
  /** How many payloads are under way at once, those in line among them. @default 'auto' */
  readonly maxInFlight?: number | 'auto'
  /** Remaining input tokens under which admissions slow down, and stop. 0 switches one off. @default 0 */
  readonly floors?: { readonly soft?: number; readonly hard?: number }
  /** After the gate's own tries. @default 3 for each payload, 20 a minute for all */
  readonly retries?: { readonly perPayload?: number; readonly perMinute?: number }
  /** Nothing is sent that could cost more than this. @default no bound */
  readonly maxSpendUsd?: number
  /** @default 'low' */
  readonly lane?: Lane
  /** A job of weight 2 gets twice the share of a job of weight 1 in its lane. @default 1 */
  readonly weight?: number
  /** The unit of fairness. @default one of its own for each fleet */
  readonly flow?: string
  /** In which results come: as they are ready, or as payloads were handed in. @default 'completion' */
  readonly order?: 'completion' | 'submission'
  /** What is done when a limit of an hour or more is used up. @default 'wait' */
  readonly longWindows?: 'pace' | 'stop' | 'wait'
  /**
   * How long all answers of a job may take, in milliseconds from its beginning: work that can wait goes as
   * batches of the provider's, where that is cheaper. @default it cannot wait
   */
  readonly within?: number
  readonly onEvent?: (event: FleetEvent) => void
}

/** Integers are exact up to nine million dollars. */
export const MOST_USD = 9_000_000
export const MOST_IN_FLIGHT = 10_000
export const LONG_WINDOWS = ['wait', 'stop', 'pace'] as const

const amount = (what: string, least: number) =>
  z.int({ error: `is no ${what}` }).min(least, { error: `is no ${what}` })

const IN_FLIGHT = `is neither 'auto' nor a whole number from 1 to ${MOST_IN_FLIGHT}`
const TOKENS = 'number of tokens, write 0 or more'
const DOLLARS = `is no amount of dollars, write a number above 0, up to ${MOST_USD}`
const NAME = 'is no name: write 1 to 200 characters without control characters'

const oneOf = <const T extends readonly string[]>(words: T) =>
  z.enum(words, { error: ({ input }) => `is not known, ${suggestion(String(input), words)}` })

const schema = z.strictObject({
  apiKey: z.string().min(1, { error: 'is empty' }).optional(),
  baseUrl: z.url({ protocol: /^https?$/, error: 'is no address that begins with http' }).optional(),
  config: z.custom<GateConfig>(isObject, { error: 'is no object' }).optional(),
  gate: z.custom<object>(isObject, { error: 'is no gate of createGate' }).optional(),
  maxInFlight: z
    .union(
      [
        z.literal('auto', { error: IN_FLIGHT }),
        z
          .int({ error: IN_FLIGHT })
          .min(1, { error: IN_FLIGHT })
          .max(MOST_IN_FLIGHT, { error: IN_FLIGHT }),
      ],
      { error: IN_FLIGHT },
    )
    .default('auto'),
  floors: z
    .strictObject({ soft: amount(TOKENS, 0).default(0), hard: amount(TOKENS, 0).default(0) })
    .optional(),
  retries: z
    .strictObject({
      perPayload: amount('number of retries, write 0 or more', 0).default(3),
      perMinute: amount('number of retries, write 1 or more', 1).default(20),
    })
    .prefault({}),
  maxSpendUsd: z
    .number({ error: DOLLARS })
    .positive({ error: DOLLARS })
    .max(MOST_USD, { error: DOLLARS })
    .optional(),
  lane: oneOf(LANES).default('low'),
  weight: amount('weight, write a whole number from 1', 1).default(1),
  flow: z.string({ error: NAME }).refine(isName, { error: NAME }).optional(),
  order: oneOf(['completion', 'submission']).default('completion'),
  longWindows: oneOf(LONG_WINDOWS).default('wait'),
  within: amount('time in milliseconds, write a whole number from 0', 0).optional(),
  onEvent: z
    .custom<(event: FleetEvent) => void>((value) => typeof value === 'function', {
      error: 'is no function',
    })
    .default(() => () => {}),
})

export interface FleetSettings extends Omit<z.output<typeof schema>, 'maxSpendUsd'> {
  /** Integer nano-dollars; Infinity where nothing bounds it. */
  readonly maxSpendNanoUsd: number
}

/** @throws ConfigError with a line for each problem */
export function readOptions(options: FleetOptions): FleetSettings {
  const read = schema.safeParse(options)
  if (!read.success) throw new ConfigError(read.error.issues.flatMap(problemsOf))
  const { maxSpendUsd, ...rest } = read.data
  const problems = contradictionsIn(rest)
  if (problems.length > 0) throw new ConfigError(problems)
  return {
    ...rest,
    maxSpendNanoUsd:
      maxSpendUsd === undefined ? Number.POSITIVE_INFINITY : Math.round(maxSpendUsd * NANO_PER_USD),
  }
}

type Rest = Omit<z.output<typeof schema>, 'maxSpendUsd'>

function contradictionsIn({ gate, config, floors }: Rest): string[] {
  const problems: string[] = []
  if (gate && config) problems.push('config: the gate has its own, leave one of both out')
  if (gate && floors) problems.push('floors: the gate has its own, leave them out')
  if (floors && floors.hard > floors.soft && floors.soft > 0)
    problems.push('floors: hard is above soft: what slows down comes before what stops')
  return problems
}

function problemsOf(issue: z.core.$ZodIssue): string[] {
  const at = issue.path.join('.')
  if (issue.code !== 'unrecognized_keys') return [`${at || 'options'}: ${issue.message}`]
  const known = at === '' ? Object.keys(schema.shape) : (KNOWN_INSIDE[at] ?? [])
  return issue.keys.map(
    (key) => `${at === '' ? key : `${at}.${key}`}: is not known, ${suggestion(key, known)}`,
  )
}

const KNOWN_INSIDE: Readonly<Record<string, readonly string[]>> = {
  floors: ['soft', 'hard'],
  retries: ['perPayload', 'perMinute'],
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
