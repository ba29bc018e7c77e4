// What a subject's tier says of one call, before any limit is asked. Owns: routing, allowed models, the
// largest request, the lane. Must not know: meters, money, the line.
import { DEFAULT_LANE, LANES, type Lane } from '../core/lane.ts'
import type { Refusal } from '../core/refusal.ts'
import { type FallbackRule, matches } from '../policy/settings.ts'
import type { Subject } from '../policy/subject.ts'
import type { Operation } from '../providers/provider.ts'
import { PRICE_UNKNOWN, UNREADABLE } from './subject-refusals.ts'

/** The model that a tier puts in the place of the one asked for, or null. */
export function routeOf({ routes }: Subject, model: string): string | null {
  const route = routes.find(({ match }) => matches(match, model))
  return route && route.model !== model ? route.model : null
}

function mayUse({ allowedModels }: Subject, model: string): boolean {
  return allowedModels === null || allowedModels.some((pattern) => matches(pattern, model))
}

/** The models to take in the place of one, in order, as far as the subject may use them. */
export function fallbacksOf(
  rules: readonly FallbackRule[],
  subject: Subject,
  model: string | null,
): readonly string[] {
  if (model === null) return []
  const rule = rules.find(({ match }) => matches(match, model))
  return (rule?.models ?? []).filter((other) => other !== model && mayUse(subject, other))
}

/** The lane that a tier gives, or a lower one that the caller asks for. */
export function laneOf({ lane: highest }: Subject, asked: Lane | null): Lane {
  if (highest === null) return asked ?? DEFAULT_LANE
  if (asked === null) return highest
  return LANES.indexOf(asked) > LANES.indexOf(highest) ? asked : highest
}

/** Whether a tier says anything of models, so that they must be known. */
const mindsModels = ({ routes, allowedModels }: Subject): boolean =>
  routes.length > 0 || allowedModels !== null

function forbiddenModel(subject: Subject, model: string | null): Refusal | null {
  if (model === null ? !mindsModels(subject) : mayUse(subject, model)) return null
  const what =
    model === null
      ? `the model of this request cannot be read, and ${whose(subject)} may not use every model`
      : `${whose(subject)} may not use ${clip(model)}`
  const allowed = subject.allowedModels ? `; allowed: ${subject.allowedModels.join(', ')}` : ''
  return { reason: 'model_forbidden', message: `Headgate: ${what}${allowed}.`, retryAfterMs: null }
}

/** @param tokens of the whole prompt, cached ones too, and of the longest answer that is allowed. */
export function overCap(subject: Subject, cap: number | null, tokens: number): Refusal | null {
  if (cap === null || tokens <= cap) return null
  return {
    reason: 'tokens_over_cap',
    message: `Headgate: this request is too large for ${whose(subject)}: about ${tokens} tokens with its max_tokens, of ${cap} for one request. Ask for less, or lower max_tokens.`,
    retryAfterMs: null,
  }
}

function whose({ identity, tier }: Subject): string {
  const who = identity.user ?? identity.team ?? 'this caller'
  return tier === null ? who : `${who} (tier ${tier})`
}

const clip = (model: string): string => model.slice(0, 100)

/** A call as its subject's tier sees it. */
export interface JudgedCall {
  readonly operation: Operation
  readonly model: string | null
  /** Tokens of the whole prompt, and of the longest answer that is allowed. */
  readonly largestTokens: () => number
}

/**
 * What a batch runs, or a path that is not known, is not looked into: only callers whom nothing binds
 * may send it. Batches are counted at least.
 */
function unreadable(
  subject: Subject,
  { pool }: Operation,
  isUnpricedRefused: boolean,
): Refusal | null {
  if (mindsModels(subject)) return forbiddenModel(subject, null)
  if (isUnpricedRefused) return PRICE_UNKNOWN
  const isFree = subject.scopes.length === 0 && subject.maxTokensPerRequest === null
  return isFree || pool === 'batches' ? null : UNREADABLE
}

export interface Judgement {
  readonly refusal: Refusal | null
  /** Whether a largest request in shadow mode would have refused it. */
  readonly isShadowed: boolean
}

const ACCEPTED: Judgement = { refusal: null, isShadowed: false }

/** What the tier forbids, whatever is left of its limits. */
export function judge(subject: Subject, call: JudgedCall, isUnpricedRefused: boolean): Judgement {
  const { operation, model } = call
  if (operation.pool !== 'model') {
    const refusal = operation.isHarmless ? null : unreadable(subject, operation, isUnpricedRefused)
    return { ...ACCEPTED, refusal }
  }
  const forbidden = forbiddenModel(subject, model)
  if (forbidden) return { ...ACCEPTED, refusal: forbidden }
  const { maxTokensPerRequest, shadowMaxTokensPerRequest } = subject
  if (maxTokensPerRequest === null && shadowMaxTokensPerRequest === null) return ACCEPTED
  const tokens = call.largestTokens()
  return {
    refusal: overCap(subject, maxTokensPerRequest, tokens),
    isShadowed: overCap(subject, shadowMaxTokensPerRequest, tokens) !== null,
  }
}
