// Who may use how much, made of what the file says. Owns: the defaults of tiers, teams and identity.
// Must not know: how they are written, or whom they bind (subjects.ts).
import { DEFAULT_LANE } from '../core/lane.ts'
import { limitsIn } from './limit-schema.ts'
import { isLoopback, LOOPBACK_NETWORKS } from './loopback.ts'
import type { FileConfig } from './schema.ts'
import type { IdentitySettings, PriceRule } from './settings.ts'
import type { BudgetRule, KeyRule, SubjectRules, TeamRule, Tier } from './subject.ts'
import type { BoundsConfig, SharedConfig, TierConfig } from './tier-schema.ts'

const DEFAULT_WARN_AT = [80, 100]
const DEFAULT_USER_HEADER = 'x-headgate-user'

export function resolveRules(config: FileConfig): SubjectRules {
  const warnAt = (config.budget_warnings?.at ?? DEFAULT_WARN_AT).toSorted((a, b) => a - b)
  return {
    tiers: mapped(config.tiers, (tier, name) => resolveTier(name, tier, warnAt)),
    defaultTier: config.default_tier ?? null,
    users: mapped(config.users, ({ tier = null, team = null }) => ({ tier, team })),
    teams: mapped(config.teams, (team) => resolveShared(team, warnAt)),
    keys: (config.keys ?? []).map(
      ({ names_users, user = null, team = null, tier = null, scopes = null, ...key }): KeyRule => {
        const namesUsers = names_users ?? false
        const lasts = { expiresAt: null, revokedAt: null }
        return { ...key, user, team, tier, scopes, namesUsers, ...lasts }
      },
    ),
    warnAt,
  }
}

function mapped<From, To>(
  from: ReadonlyMap<string, From> | undefined,
  make: (value: From, name: string) => To,
): ReadonlyMap<string, To> {
  return new Map([...(from ?? [])].map(([name, value]) => [name, make(value, name)]))
}

function resolveTier(name: string, config: TierConfig, warnAt: readonly number[]): Tier {
  return {
    name,
    lane: config.lane ?? DEFAULT_LANE,
    weight: config.weight ?? 1,
    ...resolveShared(config, warnAt),
    routes: [...(config.models ?? [])].map(([match, model]) => ({ match, model })),
    allowedModels: config.allowed_models ?? null,
  }
}

function resolveShared(config: SharedConfig, warnAt: readonly number[]): TeamRule {
  const { shadow = {} } = config
  return {
    limits: limitsIn(config),
    shadowLimits: limitsIn(shadow),
    maxTokensPerRequest: config.max_tokens_per_request ?? null,
    shadowMaxTokensPerRequest: shadow.max_tokens_per_request ?? null,
    budgets: [...budgetsIn(config, warnAt, false), ...budgetsIn(shadow, warnAt, true)],
    overflow: config.overflow ?? 'reject',
  }
}

function budgetsIn(
  { budget = [] }: BoundsConfig,
  warnAt: readonly number[],
  isShadow: boolean,
): BudgetRule[] {
  return budget.map((written) => ({ ...written, warnAt, isShadow }))
}

/** @param host where the gate listens: from there alone, everybody is on this machine */
export function resolveIdentity(
  { identity, keys = [] }: FileConfig,
  host: string,
): IdentitySettings {
  return {
    requireKey: identity?.require_key ?? keys.length > 0,
    userHeader: identity?.user_header ?? DEFAULT_USER_HEADER,
    trusted: identity?.trusted ?? (isLoopback(host) ? LOOPBACK_NETWORKS : []),
    metadataUser: identity?.metadata_user ?? false,
  }
}

export function resolvePrices({ prices }: FileConfig): PriceRule[] {
  return [...(prices ?? [])].map(([match, price]) => {
    const { input, output, cache_read, cache_write, cache_write_hour } = price
    return {
      match,
      input,
      output,
      ...(cache_read !== undefined && { cacheRead: cache_read }),
      ...(cache_write !== undefined && { cacheWrite: cache_write }),
      ...(cache_write_hour !== undefined && { cacheWriteHour: cache_write_hour }),
    }
  })
}

/** Whether anything of a file's rules needs money to be recorded. */
export function firstBudgetIn({ tiers, teams }: FileConfig): readonly string[] | null {
  const groups = [
    ...[...(tiers ?? [])].map(([name, group]) => ({ path: ['tiers', name], group })),
    ...[...(teams ?? [])].map(([name, group]) => ({ path: ['teams', name], group })),
  ]
  for (const { path, group } of groups) {
    if (group.budget) return [...path, 'budget']
    if (group.shadow?.budget) return [...path, 'shadow', 'budget']
  }
  return null
}
