// The shapes of Postgres' answers. Owns: that numbers are exact: a sum beyond what a double holds is
// refused, not rounded. Must not know: who asked.
import { z } from 'zod'
import type { LedgerResult, Recovered } from '../backend.ts'
import type { Balance, BudgetWarning, Registry, UsageEvent, UsageTotal } from '../ledger.ts'

/** Zod's integers are those that a double holds exactly. */
const integer = z.int()
const textOrNull = z.string().nullable()
const subject = z.templateLiteral([z.enum(['user', 'team']), ':', z.string()])
const period = z.object({ unit: z.enum(['hour', 'day', 'month']), timeZone: z.string() })

const tokens = {
  inputTokens: integer,
  cacheReadTokens: integer,
  cacheWriteTokens: integer,
  cacheWriteHourTokens: integer,
  outputTokens: integer,
}

const balance = z.object({
  budget: z.object({
    subject,
    amount: integer,
    period,
    warnAt: z.array(z.number()),
    isShadow: z.boolean(),
  }),
  startAt: integer,
  endAt: integer,
  spent: integer,
  reserved: integer,
  credited: integer,
}) satisfies z.ZodType<Balance>

export const balances = z.array(balance)

const warning = z.object({
  subject,
  period,
  startAt: integer,
  endAt: integer,
  step: z.number(),
  amount: integer,
  spent: integer,
  credited: integer,
  isShadow: z.boolean(),
}) satisfies z.ZodType<BudgetWarning>

export const warnings = z.array(warning)

export const results: z.ZodType<LedgerResult[]> = z.array(
  z.union([
    z.null(),
    z.object({ kind: z.literal('reserved'), balances, warnings }),
    z.object({ kind: z.literal('over_budget'), balance, warnings }),
    z.object({ isNew: z.boolean(), balances, warnings }),
    z.object({ kind: z.literal('recorded'), warnings }),
  ]),
)

export const recovered = z.object({
  requests: integer,
  cost: integer,
  warnings,
}) satisfies z.ZodType<Recovered>

export const total = z.object({
  cost: integer,
  requests: integer,
  unpriced: integer,
  tokens: z.object(tokens),
}) satisfies z.ZodType<UsageTotal>

const event = z.object({
  call: z.object({
    id: z.string(),
    user: textOrNull,
    team: textOrNull,
    key: textOrNull,
    tier: textOrNull,
    provider: z.string(),
    model: textOrNull,
  }),
  attempt: integer,
  at: integer,
  cost: integer.nullable(),
  outcome: z.enum([
    'answered',
    'provider_error',
    'abandoned',
    'broken',
    'rate_limited',
    'overloaded',
    'unreachable',
    'lost',
    'corrected',
  ]),
  isExact: z.boolean(),
  ...tokens,
}) satisfies z.ZodType<UsageEvent>

/** Each with its place in the order of writing. */
export const page = z.array(z.object({ event, place: integer }))

const secret = z.object({
  sha256: z.string(),
  id: z.string(),
  user: textOrNull,
  team: textOrNull,
  tier: textOrNull,
  scopes: z.array(z.string()).nullable(),
  createdAt: integer,
  expiresAt: integer.nullable(),
  revokedAt: integer.nullable(),
})

export const registry = z.object({
  revision: integer,
  keys: z.array(secret),
  overrides: z.array(z.object({ subject, amount: integer, period })),
}) satisfies z.ZodType<Registry>

export const revision = integer
export const isDone = z.boolean()
/** Of a function that answers nothing. */
export const nothing = z.literal('')
