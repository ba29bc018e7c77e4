// What administrators read, as JSON. Owns: its fields, the same over HTTP and from the command line.
// Must not know: how it was found. Money is in dollars, as a decimal in a text, so that none is lost.
import { z } from 'zod'
import { formatUsd } from '../core/money.ts'
import type { UsageQuery, UsageTotal } from '../ledger/ledger.ts'
import { KEY_SCOPES } from '../policy/subject.ts'
import { formatBudget } from '../policy/units.ts'
import type { BudgetStanding } from './budgets.ts'
import type { KeySummary } from './keys.ts'

const iso = (at: number): string => new Date(at).toISOString()
const isoOrNull = (at: number | null): string | null => (at === null ? null : iso(at))

const instantText = z.iso.datetime()
const usd = z.string().meta({ description: 'Dollars, such as 12.5.' })

export const keyView = z.object({
  id: z.string(),
  user: z.string().nullable(),
  team: z.string().nullable(),
  tier: z.string().nullable(),
  scopes: z.array(z.enum(KEY_SCOPES)).meta({ description: 'What it opens.' }),
  origin: z.enum(['configured', 'issued']),
  state: z.enum(['active', 'expired', 'revoked']),
  secrets: z.int().meta({ description: 'In force: two while a rotated secret has its grace.' }),
  createdAt: instantText.nullable(),
  expiresAt: instantText.nullable(),
})

export function viewOfKey(key: KeySummary): z.infer<typeof keyView> {
  const { scopes, createdAt, expiresAt } = key
  const instants = { createdAt: isoOrNull(createdAt), expiresAt: isoOrNull(expiresAt) }
  return { ...key, scopes: [...scopes], ...instants }
}

export const budgetView = z.object({
  subject: z.string(),
  budget: z.string().meta({ description: 'As it is written: 50 USD/month.' }),
  origin: z.enum(['configured', 'set']),
  isShadow: z.boolean().meta({ description: 'Counted and told of, never refusing.' }),
  spentUsd: usd,
  reservedUsd: usd.meta({ description: 'Set aside for requests under way.' }),
  creditedUsd: usd.meta({ description: 'Given back by resets.' }),
  remainingUsd: usd,
  startAt: instantText,
  endAt: instantText.meta({ description: 'When there is money again.' }),
})

export type BudgetView = z.infer<typeof budgetView>

export function viewOfBudget({ balance, origin }: BudgetStanding): BudgetView {
  const { budget, spent, reserved, credited, startAt, endAt } = balance
  return {
    subject: budget.subject,
    budget: formatBudget(budget),
    origin,
    isShadow: budget.isShadow,
    spentUsd: formatUsd(spent),
    reservedUsd: formatUsd(reserved),
    creditedUsd: formatUsd(credited),
    remainingUsd: formatUsd(budget.amount + credited - spent - reserved),
    startAt: iso(startAt),
    endAt: iso(endAt),
  }
}

export const usageView = z.object({
  subject: z.string().nullable(),
  from: instantText,
  to: instantText,
  costUsd: usd,
  requests: z.int(),
  unpriced: z
    .int()
    .meta({ description: 'Attempts whose cost is not known: they count as nothing.' }),
  inputTokens: z.int(),
  cacheReadTokens: z.int(),
  cacheWriteTokens: z.int(),
  cacheWriteHourTokens: z.int(),
  outputTokens: z.int(),
})

export function viewOfUsage(query: UsageQuery, total: UsageTotal): z.infer<typeof usageView> {
  const { cost, requests, unpriced, tokens } = total
  return {
    subject: query.subject ?? null,
    from: iso(query.from),
    to: iso(query.to),
    costUsd: formatUsd(cost),
    requests,
    unpriced,
    ...tokens,
  }
}
