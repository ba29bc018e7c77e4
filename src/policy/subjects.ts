// What binds each caller. Owns: which tier counts, how a user's and a team's rules come together, and
// the names of their resources. Must not know: how a caller proves who they are, or what has been used.
import { LRUCache } from 'lru-cache'
import type { Limit } from '../core/limit.ts'
import type {
  BudgetRule,
  Identity,
  Scope,
  Subject,
  SubjectName,
  SubjectRules,
  TeamRule,
  Tier,
} from './subject.ts'

/** A budget that an administrator set for one subject, in place of the configured ones. */
export interface BudgetOverride {
  readonly subject: SubjectName
  /** Integer nano-dollars. */
  readonly amount: number
  readonly period: BudgetRule['period']
}

/** The tier that counts for a caller, and who says so. */
export interface TierChoice {
  /** Null: no tier binds the caller. */
  readonly tier: Tier | null
  readonly by: 'key' | 'user' | 'default' | 'nobody'
}

/** Names come from callers, so what is kept of them is bounded. */
const MOST_SUBJECTS = 10_000
/** Who is charged for callers that nobody names. */
const NOBODY_NAMED = 'anonymous'
const SHADOW = '?shadow'
const NO_TIER: TierChoice = { tier: null, by: 'nobody' }

export class Subjects {
  readonly #rules: SubjectRules
  readonly #overrides: ReadonlyMap<SubjectName, readonly BudgetOverride[]>
  readonly #subjects = new LRUCache<string, Subject>({ max: MOST_SUBJECTS })

  constructor(rules: SubjectRules, overrides: readonly BudgetOverride[] = []) {
    this.#rules = rules
    this.#overrides = Map.groupBy(overrides, ({ subject }) => subject)
  }

  /** The same rules with other overrides. */
  withOverrides(overrides: readonly BudgetOverride[]): Subjects {
    return new Subjects(this.#rules, overrides)
  }

  /**
   * All that binds a caller. Its `identity` is complete: with the user that is charged (for a key
   * without a user the key's name, for nobody `anonymous`, once a tier counts) and with the team.
   */
  of(identity: Identity): Subject {
    const { user, team, tier, key } = identity
    // Names have no control characters and are not empty.
    const id = `${user ?? ''}\0${team ?? ''}\0${tier ?? ''}\0${key ?? ''}`
    let subject = this.#subjects.get(id)
    if (!subject) {
      subject = this.#make(identity)
      this.#subjects.set(id, subject)
    }
    return subject
  }

  /** The key's tier, else the user's, else the default; one that is not in the file any more is passed over. */
  tierOf({ user, tier, key }: Identity): TierChoice {
    const ofKey = this.#tierNamed(tier)
    if (ofKey) return { tier: ofKey, by: 'key' }
    return this.#tierOfUser(user ?? key ?? NOBODY_NAMED)
  }

  /** The limits of a resource such as `user/alice`, `team/research?shadow`; null for any other name. */
  limitsOf(resource: string): readonly Limit[] | null {
    const { kind, name: encoded, tier: encodedTier, shadow } = RESOURCE.exec(resource)?.groups ?? {}
    const name = decoded(encoded)
    const tierName = encodedTier === undefined ? null : decoded(encodedTier)
    if (name === null) return null
    const rule =
      kind === 'team'
        ? this.#rules.teams.get(name)
        : (this.#tierNamed(tierName) ?? this.#tierOfUser(name).tier)
    return (shadow === undefined ? rule?.limits : rule?.shadowLimits) ?? []
  }

  #tierNamed(name: string | null): Tier | null {
    return name === null ? null : (this.#rules.tiers.get(name) ?? null)
  }

  #tierOfUser(user: string): TierChoice {
    const ofUser = this.#tierNamed(this.#rules.users.get(user)?.tier ?? null)
    if (ofUser) return { tier: ofUser, by: 'user' }
    const byDefault = this.#tierNamed(this.#rules.defaultTier)
    return byDefault ? { tier: byDefault, by: 'default' } : NO_TIER
  }

  #make(asked: Identity): Subject {
    const { tier } = this.tierOf(asked)
    const user = asked.user ?? asked.key ?? (tier === null ? null : NOBODY_NAMED)
    const team = asked.team ?? (user === null ? null : (this.#rules.users.get(user)?.team ?? null))
    const identity = { ...asked, user, team }
    const bound = [this.#userBound(identity, tier), this.#teamBound(team)].flatMap((b) => b ?? [])
    return {
      identity,
      flow: asked.user ?? asked.key ?? asked.team,
      tier: tier?.name ?? null,
      lane: tier?.lane ?? null,
      weight: tier?.weight ?? 1,
      scopes: bound.map(scopeOf).filter(hasLimits),
      budgets: bound.flatMap(({ subject, rule }) => this.#budgetsOf(subject, rule)),
      maxTokensPerRequest: least(bound, 'maxTokensPerRequest'),
      shadowMaxTokensPerRequest: least(bound, 'shadowMaxTokensPerRequest'),
      routes: tier?.routes ?? [],
      allowedModels: tier?.allowedModels ?? null,
    }
  }

  #userBound({ user }: Identity, tier: Tier | null): Bound | null {
    if (user === null) return null
    const usual = this.#tierOfUser(user).tier
    // A key's own tier is another policy: what it counts is kept apart from the user's.
    const apart = tier === null || tier === usual ? '' : `@${encodeURIComponent(tier.name)}`
    const resource = `user/${encodeURIComponent(user)}${apart}`
    return { subject: `user:${user}`, resource, rule: tier }
  }

  #teamBound(team: string | null): Bound | null {
    if (team === null) return null
    const rule = this.#rules.teams.get(team) ?? null
    return { subject: `team:${team}`, resource: `team/${encodeURIComponent(team)}`, rule }
  }

  #budgetsOf(subject: SubjectName, rule: TeamRule | null): Subject['budgets'] {
    const configured = rule?.budgets ?? []
    const overrides = this.#overrides.get(subject)
    const binding = overrides
      ? overrides.map(({ amount, period }) => {
          return { amount, period, warnAt: this.#rules.warnAt, isShadow: false }
        })
      : configured.filter(({ isShadow }) => !isShadow)
    const shadow = configured.filter(({ isShadow }) => isShadow)
    return [...binding, ...shadow].map((budget) => ({ ...budget, subject }))
  }
}

const RESOURCE = /^(?<kind>user|team)\/(?<name>[^/?@]+)(?:@(?<tier>[^/?@]+))?(?<shadow>\?shadow)?$/

function decoded(text: string | undefined): string | null {
  try {
    return text === undefined ? null : decodeURIComponent(text)
  } catch {
    return null
  }
}

/** A subject, and the rule that binds it, if any. */
interface Bound {
  readonly subject: SubjectName
  readonly resource: string
  readonly rule: TeamRule | null
}

function scopeOf({ subject, resource, rule }: Bound): Scope {
  return {
    subject,
    resource,
    limits: rule?.limits ?? [],
    shadowResource: resource + SHADOW,
    shadowLimits: rule?.shadowLimits ?? [],
    overflow: rule?.overflow ?? 'reject',
  }
}

function hasLimits({ limits, shadowLimits }: Scope): boolean {
  return limits.length > 0 || shadowLimits.length > 0
}

function least(
  bound: readonly Bound[],
  key: 'maxTokensPerRequest' | 'shadowMaxTokensPerRequest',
): number | null {
  const all = bound.flatMap(({ rule }) => rule?.[key] ?? [])
  return all.length === 0 ? null : Math.min(...all)
}
