// The configuration file: which keys there are and what they hold. Owns: the schema, and the JSON
// Schema made of it. Must not know: files, flags and variables.
import { z } from 'zod'
import { limitKeys, someLimitsIn } from './limit-schema.ts'
import { chosenKeys, listOf, section } from './section.ts'
import { type PROVIDER_NAMES, SETTINGS, type Setting, upstreamSetting } from './setting-table.ts'
import type { LimitRule } from './settings.ts'
import { checkSubjects, subjectKeys } from './tier-schema.ts'
import * as values from './values.ts'

const keyFor = <T>({ type, doc, defaultText }: Setting<T>) =>
  type.optional().meta({ description: `${doc} Default: ${defaultText}.` })

const limitRule = section(
  { match: values.glob.meta({ description: 'A model, with * for any letters.' }), ...limitKeys },
  'AMOUNT/WINDOW [burst N] [bucket|sliding|fixed], or a list of them, for each dimension; concurrency is a number.',
).transform(
  ({ match, ...byDimension }, context): LimitRule => ({
    match,
    limits: someLimitsIn(byDimension, context),
  }),
)

const resource = section(
  limitKeys,
  'The limits of what is shared: AMOUNT/WINDOW for each dimension; concurrency is a number.',
).transform(someLimitsIn)

const leases = section(
  {
    default_ttl: keyFor(SETTINGS.leaseTtl),
    max_ttl: keyFor(SETTINGS.maxLeaseTtl),
    max_per_caller: keyFor(SETTINGS.maxLeasesPerCaller),
    origins: z
      .array(values.origin, { error: 'is not a list, write [https://app.example]' })
      .optional()
      .meta({ description: 'Origins of web pages that may ask for leases. Default: none.' }),
  },
  'How leases are given to those who ask for them.',
).refine(
  ({ default_ttl = SETTINGS.leaseTtl.default, max_ttl = SETTINGS.maxLeaseTtl.default }) =>
    default_ttl <= max_ttl,
  {
    error: `has default_ttl above max_ttl (${SETTINGS.leaseTtl.defaultText} and ${SETTINGS.maxLeaseTtl.defaultText} where not written), write a shorter default_ttl`,
  },
)

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
      limits: listOf(
        limitRule,
        'match',
        'The first entry that matches a model counts. Default: learnt.',
      ).optional(),
    },
    `How ${name} is reached and what it allows.`,
  )

const identity = section(
  {
    require_key: values.truth.optional().meta({
      description: 'Whether callers need a virtual key. Default: true where keys has entries.',
    }),
    user_header: values.headerName.optional().meta({
      description: 'The header that names the user. Default: x-headgate-user.',
    }),
    trusted: z
      .array(values.network, { error: 'is not a list, write [10.0.0.0/8]' })
      .optional()
      .meta({
        description:
          'Networks whose callers are believed when they name a user. Default: loopback when listening there, else none.',
      }),
    metadata_user: values.truth.optional().meta({
      description: 'Whether metadata.user_id of such callers names the user. Default: false.',
    }),
  },
  'Whose word is taken for who is calling.',
)

const price = section(
  {
    input: values.price,
    output: values.price,
    cache_read: values.price.optional(),
    cache_write: values.price.optional(),
    cache_write_hour: values.price.optional(),
  },
  'What a model costs: AMOUNT USD/Mtok for each kind of token.',
)

const budgetWarnings = section(
  {
    at: z
      .array(values.wholeNumber(1, 100), { error: 'is not a list, write [80, 100]' })
      .refine((steps) => new Set(steps).size === steps.length, {
        error: 'has the same step twice, keep one',
      })
      .optional()
      .meta({ description: 'Steps of use, in per cent. Default: [80, 100].' }),
    webhook: section(
      { url: values.webhookUrl, secret: values.secret },
      'Where warnings are posted. Default: nowhere.',
    ).optional(),
  },
  'When and where it is told that a budget runs out.',
)

export const fileSchema = section(
  {
    listen: values.listen.optional().meta({ description: 'HOST:PORT. Default: 127.0.0.1:4000.' }),
    store: keyFor(SETTINGS.store),
    on_store_failure: keyFor(SETTINGS.onStoreFailure),
    ledger: keyFor(SETTINGS.ledger),
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
    resources: chosenKeys(
      values.resourceName,
      resource,
      'What leases are asked for, by name, and its limits.',
    ).optional(),
    leases: leases.optional(),
    ...subjectKeys,
    identity: identity.optional(),
    fallbacks: chosenKeys(
      values.glob,
      values.models,
      'Models to take when the predicted wait is too long, in order.',
    ).optional(),
    fallback_after: keyFor(SETTINGS.fallbackAfter),
    prices: chosenKeys(
      values.glob,
      price,
      'Prices of models, in place of the public ones.',
    ).optional(),
    unknown_price: keyFor(SETTINGS.unknownPrice),
    budget_warnings: budgetWarnings.optional(),
    admin: section(
      { token: values.adminToken.optional() },
      'Who may administer keys and budgets while the gate runs. Default: nobody.',
    ).optional(),
    log: section(
      { level: keyFor(SETTINGS.logLevel), format: keyFor(SETTINGS.logFormat) },
      'What is logged.',
    ).optional(),
  },
  'Headgate configuration.',
).transform((config, context) => {
  checkSubjects(config, context)
  return config
})

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
    const next =
      typeof step === 'number'
        ? here.items
        : (here.properties?.[String(step)] ?? here.additionalProperties)
    if (typeof next !== 'object' || Array.isArray(next)) return []
    here = next
  }
  return Object.keys(here.properties ?? {})
}
