// How tiers, users, teams and keys are written in the configuration file. Owns: their keys, and that the
// names they mention exist. Must not know: what is made of them (resolve-rules.ts).
import { z } from 'zod'
import { LANES } from '../core/lane.ts'
import { limitKeys } from './limit-schema.ts'
import { chosenKeys, listOf, section } from './section.ts'
import { KEY_SCOPES, USUAL_SCOPES } from './subject.ts'
import { suggestion } from './suggest.ts'
import { parseBudget, type WrittenBudget } from './units.ts'
import * as values from './values.ts'

const budget = values
  .textsOf(parseBudget)
  .refine((budgets) => new Set(budgets.map(periodOf)).size === budgets.length, {
    error: 'has the same period twice, keep one',
  })
  .optional()

const periodOf = ({ period }: WrittenBudget): string => `${period.unit} ${period.timeZone}`

const bounds = {
  ...limitKeys,
  max_tokens_per_request: values
    .wholeNumber(1)
    .optional()
    .meta({ description: 'The most tokens of one request, input and allowed output together.' }),
  budget: budget.meta({ description: 'AMOUNT USD/PERIOD [in ZONE], or a list of them.' }),
}

const shared = {
  ...bounds,
  overflow: values.oneOf('reject', 'wait').optional().meta({
    description: 'What becomes of a request that these limits have no room for. Default: reject.',
  }),
  shadow: section(
    bounds,
    'Limits and budgets that are counted and told of, and refuse nothing.',
  ).optional(),
}

const tier = section(
  {
    lane: values
      .oneOf(...LANES)
      .optional()
      .meta({ description: 'Default: normal.' }),
    weight: values.wholeNumber(1).optional().meta({ description: 'Default: 1.' }),
    ...shared,
    models: chosenKeys(
      values.glob,
      values.model,
      'Models to take in place of those asked for.',
    ).optional(),
    allowed_models: z
      .array(values.glob, { error: 'is not a list, write [model, model]' })
      .min(1, { error: 'allows no model at all, name some or leave it out' })
      .optional()
      .meta({ description: 'The models that may be used, after routing. Default: all.' }),
  },
  'What the users of a tier may use.',
)

const mention = values.name.optional()

const key = section(
  {
    id: values.name.meta({ description: 'The name of the key.' }),
    sha256: values.sha256.meta({ description: 'SHA-256 of its secret, in hex.' }),
    user: mention,
    team: mention,
    tier: mention,
    names_users: values.truth
      .optional()
      .meta({ description: 'Whether it names the user that each call is for. Default: false.' }),
    scopes: z
      .array(values.scope, { error: 'is not a list, write [requests, leases]' })
      .min(1, { error: 'opens nothing at all, name some or leave it out' })
      .optional()
      .meta({
        description: `What it opens: ${KEY_SCOPES.join(', ')}. Default: ${USUAL_SCOPES.join(', ')}.`,
      }),
  },
  'A virtual key, and whom it stands for.',
)

/** The keys of the file that say who may use how much. */
export const subjectKeys = {
  tiers: chosenKeys(values.name, tier, 'Policies that users have, by name.').optional(),
  default_tier: mention.meta({ description: 'The tier of whoever has no other. Default: none.' }),
  users: chosenKeys(
    values.name,
    section({ tier: mention, team: mention }, 'What a user is.'),
    'Users, by name.',
  ).optional(),
  teams: chosenKeys(
    values.name,
    section(shared, 'What the members of a team share.'),
    'Teams, by name.',
  ).optional(),
  keys: listOf(key, 'id', 'Virtual keys.').optional(),
}

export type SubjectConfig = z.output<z.ZodObject<typeof subjectKeys>>
export type TierConfig = z.output<typeof tier>
export type BoundsConfig = z.output<z.ZodObject<typeof bounds>>
export type SharedConfig = z.output<z.ZodObject<typeof shared>>

/** A name that something must have been given elsewhere in the file. */
interface Mention {
  readonly path: PropertyKey[]
  readonly what: 'tier' | 'team'
  readonly name: string | undefined
}

/** Tells of tiers and teams that are mentioned and not there, and of secrets that two keys share. */
export function checkSubjects(config: SubjectConfig, context: z.RefinementCtx): void {
  const known = {
    tier: [...(config.tiers?.keys() ?? [])],
    team: [...(config.teams?.keys() ?? [])],
  }
  for (const { path, what, name } of mentionsIn(config)) {
    if (name === undefined || known[what].includes(name)) continue
    const message = `is not a ${what} of this file, ${adviceOn(name, known[what], what)}`
    context.addIssue({ code: 'custom', message, path, input: name })
  }
  const seen = new Set<string>()
  for (const [index, { sha256 }] of (config.keys ?? []).entries()) {
    const message = 'is the secret of another key already, keep one'
    if (seen.has(sha256))
      context.addIssue({ code: 'custom', message, path: ['keys', index, 'sha256'] })
    seen.add(sha256)
  }
}

function adviceOn(name: string, known: readonly string[], what: 'tier' | 'team'): string {
  return known.length === 0 ? `write it under ${what}s` : suggestion(name, known)
}

function mentionsIn({ default_tier, users, keys }: SubjectConfig): Mention[] {
  const holders = [
    ...[...(users ?? [])].map(([name, user]) => ({ path: ['users', name], ...user })),
    ...(keys ?? []).map((entry, index) => ({ path: ['keys', index], ...entry })),
  ]
  return [
    { path: ['default_tier'], what: 'tier', name: default_tier },
    ...holders.flatMap(({ path, tier: tierName, team }): Mention[] => [
      { path: [...path, 'tier'], what: 'tier', name: tierName },
      { path: [...path, 'team'], what: 'team', name: team },
    ]),
  ]
}
