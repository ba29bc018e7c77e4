// The configuration file: which keys there are and what they hold. Owns: the schema, and the JSON
// Schema made of it. Must not know: files, flags and variables.
import { z } from 'zod'
import type { Limit } from '../core/limit.ts'
import { type PROVIDER_NAMES, SETTINGS, type Setting, upstreamSetting } from './setting-table.ts'
import type { LimitRule } from './settings.ts'
import { parseLimit } from './units.ts'
import * as values from './values.ts'

const keyFor = <T>({ type, doc, defaultText }: Setting<T>) =>
  type.optional().meta({ description: `${doc} Default: ${defaultText}.` })

function section<T extends z.ZodRawShape>(shape: T, description: string) {
  const error = (issue: { readonly code?: string }): string | undefined =>
    issue.code === 'invalid_type' ? 'is not a group of keys, write them indented below' : undefined
  return z.strictObject(shape, { error }).meta({ description })
}

const consumed = (dimension: Exclude<Limit['dimension'], 'concurrency'>) =>
  values
    .textsOf((text) => parseLimit(dimension, text))
    .refine((limits) => new Set(limits.map(windowOf)).size === limits.length, {
      error: 'limits the same window twice in the same way, keep one',
    })
    .optional()

/** What a meter is kept by: two limits that agree in this could not be told apart. */
function windowOf(limit: Limit): string {
  if (limit.algorithm === 'concurrency') return limit.algorithm
  const period = limit.algorithm === 'fixed_window' ? limit.calendar : null
  return [limit.algorithm, limit.windowMs, period?.unit, period?.timeZone].join()
}

const concurrency = values.wholeNumber(1).transform(
  (amount): Limit => ({
    algorithm: 'concurrency',
    dimension: 'concurrency',
    amount,
    source: 'configured',
  }),
)

const limitRule = section(
  {
    match: values.glob.meta({ description: 'A model, with * for any letters.' }),
    requests: consumed('requests'),
    input_tokens: consumed('input_tokens'),
    output_tokens: consumed('output_tokens'),
    tokens: consumed('tokens'),
    concurrency: concurrency.optional(),
  },
  'AMOUNT/WINDOW [burst N] [bucket|sliding|fixed], or a list of them, for each dimension; concurrency is a number.',
).transform(({ match, ...byDimension }, context): LimitRule => {
  const limits = Object.values(byDimension).flatMap((limit) => limit ?? [])
  if (limits.length === 0) {
    const message = 'limits nothing, add a line such as requests: 1000/min'
    context.issues.push({ code: 'custom', message, input: match })
  }
  return { match, limits }
})

const floors = section(
  {
    soft: values.wholeNumber(0).default(0),
    hard: values.wholeNumber(0).default(0),
  },
  'Remaining input tokens under which new admissions slow (soft) or stop (hard). Default: 0.',
).refine(({ soft, hard }) => hard <= soft || soft === 0, {
  error: 'has hard above soft, the gate would stop before it slows: swap them',
})

const provider = (name: (typeof PROVIDER_NAMES)[number]) =>
  section(
    {
      base_url: keyFor(upstreamSetting(name)),
      api_key: values.secret
        .optional()
        .meta({ description: "Sent upstream. Without it callers' own keys pass through." }),
      floors: floors.optional(),
      limits: z
        .array(limitRule, { error: 'is not a list, begin each entry with "- match:"' })
        .optional()
        .meta({ description: 'The first entry that matches a model counts. Default: learnt.' }),
    },
    `How ${name} is reached and what it allows.`,
  )

export const fileSchema = section(
  {
    listen: values.listen.optional().meta({ description: 'HOST:PORT. Default: 127.0.0.1:4000.' }),
    store: keyFor(SETTINGS.store),
    on_store_failure: keyFor(SETTINGS.onStoreFailure),
    queue: section(
      {
        max_wait: keyFor(SETTINGS.maxWait),
        max_queued: keyFor(SETTINGS.maxQueued),
        aging: keyFor(SETTINGS.aging),
        keepalive: keyFor(SETTINGS.keepalive),
      },
      'How requests wait.',
    ).optional(),
    max_body_memory: keyFor(SETTINGS.maxBodyMemory),
    providers: section(
      { anthropic: provider('anthropic').optional() },
      'The APIs behind the gate.',
    ).optional(),
    log: section(
      { level: keyFor(SETTINGS.logLevel), format: keyFor(SETTINGS.logFormat) },
      'What is logged.',
    ).optional(),
  },
  'Headgate configuration.',
)

/** What a file says, checked and converted. */
export type FileConfig = z.output<typeof fileSchema>

/** The JSON Schema of the file, for editors. */
export function jsonSchema(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(fileSchema, { io: 'input' })
}

/** The keys that may stand at a path in the file. */
export function keysAt(path: readonly PropertyKey[]): readonly string[] {
  let here: z.core.JSONSchema.JSONSchema = jsonSchema()
  for (const step of path) {
    const next = typeof step === 'number' ? here.items : here.properties?.[String(step)]
    if (typeof next !== 'object' || Array.isArray(next)) return []
    here = next
  }
  return Object.keys(here.properties ?? {})
}
