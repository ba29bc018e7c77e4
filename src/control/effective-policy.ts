// What binds one user, as JSON. Owns: that document. Must not know: how it was come by, or what the
// user has used.
import { z } from 'zod'
import { LANES } from '../core/lane.ts'
import type { Limit } from '../core/limit.ts'
import { ANONYMOUS, type Scope } from '../policy/subject.ts'
import { Subjects } from '../policy/subjects.ts'
import { formatBudget, formatLimit } from '../policy/units.ts'
import type { Administration } from './administration.ts'

const limitView = z.object({
  subject: z.string(),
  dimension: z.string(),
  limit: z.string().meta({ description: 'As it is written: 60/min burst 20.' }),
  isShadow: z.boolean().meta({ description: 'Counted and told of, never refusing.' }),
  overflow: z.enum(['reject', 'wait']),
})

export const policyView = z.object({
  user: z.string().nullable(),
  team: z.string().nullable(),
  tier: z.string().nullable(),
  tierBy: z.enum(['key', 'user', 'default', 'nobody']).meta({ description: 'Who says so.' }),
  lane: z.enum(LANES).nullable().meta({ description: 'The highest that is allowed; null: any.' }),
  weight: z.number(),
  maxTokensPerRequest: z.number().nullable(),
  shadowMaxTokensPerRequest: z.number().nullable(),
  limits: z.array(limitView),
  budgets: z.array(
    z.object({
      subject: z.string(),
      budget: z.string(),
      isShadow: z.boolean(),
      warnAt: z.array(z.number()).meta({ description: 'Per cent.' }),
    }),
  ),
  routes: z.array(z.object({ match: z.string(), model: z.string() })),
  allowedModels: z.array(z.string()).nullable().meta({ description: 'Null: all.' }),
})

/** What binds a user's calls that come without a key of their own tier. */
export async function effectivePolicy(
  { ledger, rules }: Administration,
  user: string,
): Promise<z.infer<typeof policyView>> {
  const { overrides } = await ledger.registry()
  const subjects = new Subjects(rules(), overrides)
  const identity = { ...ANONYMOUS, user }
  const subject = subjects.of(identity)
  return {
    user: subject.identity.user,
    team: subject.identity.team,
    tier: subject.tier,
    tierBy: subjects.tierOf(identity).by,
    lane: subject.lane,
    weight: subject.weight,
    maxTokensPerRequest: subject.maxTokensPerRequest,
    shadowMaxTokensPerRequest: subject.shadowMaxTokensPerRequest,
    limits: subject.scopes.flatMap(limitsIn),
    budgets: subject.budgets.map((budget) => ({
      subject: budget.subject,
      budget: formatBudget(budget),
      isShadow: budget.isShadow,
      warnAt: [...budget.warnAt],
    })),
    routes: subject.routes.map((route) => ({ ...route })),
    allowedModels: subject.allowedModels && [...subject.allowedModels],
  }
}

function limitsIn(scope: Scope): z.infer<typeof limitView>[] {
  const { subject, overflow, limits, shadowLimits } = scope
  const view = (limit: Limit, isShadow: boolean) => {
    return { subject, dimension: limit.dimension, limit: formatLimit(limit), isShadow, overflow }
  }
  return [
    ...limits.map((limit) => view(limit, false)),
    ...shadowLimits.map((limit) => view(limit, true)),
  ]
}
