// Who is charged for a call, and what they may use. Owns: the shapes that policy hands to those who
// enforce it. Must not know: how a caller proves who they are, how limits are metered, where money is kept.
import type { EpochMs } from '../core/clock.ts'
import type { Lane } from '../core/lane.ts'
import type { Limit } from '../core/limit.ts'

/** Who is calling, as far as is known. All null: anybody. */
export interface Identity {
  readonly user: string | null
  readonly team: string | null
  /** A tier that the key itself names; it beats the user's and the team's. */
  readonly tier: string | null
  /** The virtual key's name. */
  readonly key: string | null
}

export const ANONYMOUS: Identity = { user: null, team: null, tier: null, key: null }

/** `user:alice` or `team:research`, as people and the ledger read it. */
export type SubjectName = `${'user' | 'team'}:${string}`

/** Money for each calendar period. */
export interface BudgetRule {
  /** Integer nano-dollars. */
  readonly amount: number
  readonly period: { readonly unit: 'hour' | 'day' | 'month'; readonly timeZone: string }
  /** Steps of use, in per cent, that are told of once in each period; rising. */
  readonly warnAt: readonly number[]
  /** Counted and told of, never refusing. */
  readonly isShadow: boolean
}

/** What a tier allows. */
export interface Tier {
  readonly name: string
  readonly lane: Lane
  /** A user of weight 2 gets twice the share of a user of weight 1 in the same lane. */
  readonly weight: number
  readonly limits: readonly Limit[]
  /** Counted and told of, never refusing. */
  readonly shadowLimits: readonly Limit[]
  /** The most tokens, input and allowed output together, of one request. */
  readonly maxTokensPerRequest: number | null
  readonly shadowMaxTokensPerRequest: number | null
  readonly budgets: readonly BudgetRule[]
  /** The first that matches the model asked for replaces it. */
  readonly routes: readonly ModelRoute[]
  /** Patterns of models that may be used, after routing; null: all. */
  readonly allowedModels: readonly string[] | null
  /** What becomes of a call that this tier's own limits have no room for. */
  readonly overflow: 'reject' | 'wait'
}

export interface ModelRoute {
  /** A model's name, where `*` stands for any letters. */
  readonly match: string
  readonly model: string
}

/** What a user is, as far as the configuration says. */
export interface UserRule {
  readonly tier: string | null
  readonly team: string | null
}

/** What the members of a team share, on top of what binds each of them. */
export type TeamRule = Pick<
  Tier,
  | 'limits'
  | 'shadowLimits'
  | 'maxTokensPerRequest'
  | 'shadowMaxTokensPerRequest'
  | 'budgets'
  | 'overflow'
>

/** What a virtual key opens: `leases` are its own, `leases:all` everybody's, its own included. */
export const KEY_SCOPES = ['requests', 'leases', 'leases:all'] as const

export type KeyScope = (typeof KEY_SCOPES)[number]

/** What is open to a key that says nothing of it, and to whoever may come without a key. */
export const USUAL_SCOPES: readonly KeyScope[] = ['requests', 'leases']

/** One secret of a virtual key, and whom it stands for. The secret itself is kept nowhere. */
export interface KeyRule {
  /** SHA-256 of the secret, in lower-case hex. */
  readonly sha256: string
  /** The key's name, such as `ci`. A key that was rotated has several secrets. */
  readonly id: string
  readonly user: string | null
  readonly team: string | null
  readonly tier: string | null
  /** A service's key: it names the user that each call is for, in the header or the body. */
  readonly namesUsers?: boolean
  /** Words that are no `KeyScope` open nothing. Null: `USUAL_SCOPES`. */
  readonly scopes?: readonly string[] | null
  /** From then on it is refused; null: never. */
  readonly expiresAt: EpochMs | null
  readonly revokedAt: EpochMs | null
}

/** Who may use how much: all that the configuration says of tiers, users, teams and keys. */
export interface SubjectRules {
  readonly tiers: ReadonlyMap<string, Tier>
  /** The tier of whoever has no other; null: such callers are bound by nothing. */
  readonly defaultTier: string | null
  readonly users: ReadonlyMap<string, UserRule>
  readonly teams: ReadonlyMap<string, TeamRule>
  readonly keys: readonly KeyRule[]
  /** Steps of use, in per cent, that are told of; rising. Every budget of `tiers` and `teams` has them. */
  readonly warnAt: readonly number[]
}

/** One subject's own limits, beside those of the provider: a resource of the store. */
export interface Scope {
  readonly subject: SubjectName
  /** The name of the resource: `user/alice`. */
  readonly resource: string
  readonly limits: readonly Limit[]
  /** The resource that its shadow limits are counted in: `user/alice?shadow`. */
  readonly shadowResource: string
  readonly shadowLimits: readonly Limit[]
  readonly overflow: 'reject' | 'wait'
}

/** A caller with all that binds it. Made once for each identity and policy, and shared. */
export interface Subject {
  /** With the user and the team that are charged, even where the caller named neither. */
  readonly identity: Identity
  /** The unit of fairness: the name of the user, the key or the team; null where none is known. */
  readonly flow: string | null
  readonly tier: string | null
  /** The highest lane that it may use, and uses unless it asks for a lower one. Null: any. */
  readonly lane: Lane | null
  readonly weight: number
  /** Narrowest first: the user's, then the team's. Those without any limit are left out. */
  readonly scopes: readonly Scope[]
  readonly budgets: readonly (BudgetRule & { readonly subject: SubjectName })[]
  readonly maxTokensPerRequest: number | null
  readonly shadowMaxTokensPerRequest: number | null
  readonly routes: readonly ModelRoute[]
  readonly allowedModels: readonly string[] | null
}
