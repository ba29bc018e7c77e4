// Who calls an HTTP API. Owns: what a program, or a request's own headers, may say of that. Must not
// know: frameworks, or what a caller may use.
import { z } from 'zod'
import type { EpochMs } from '../core/clock.ts'
import type { Refusal } from '../core/refusal.ts'
import { identify, type TrustRules } from '../policy/identity.ts'
import type { KeyRing } from '../policy/key-ring.ts'
import { ANONYMOUS, type Identity } from '../policy/subject.ts'
import { isName } from '../policy/values.ts'

/** Who a request comes from, as the program that received it knows. What is left out is not known. */
export interface CallerName {
  readonly user?: string
  readonly team?: string
  /** Beats the tier that the configuration gives the user, and is counted apart from it. */
  readonly tier?: string
  /** The name of an API key of your own. It stands for the user where there is none. */
  readonly key?: string
}

/** The text of a request's header, by its name in lower case. */
export type HeaderOf = (name: string) => string | null

export type Caller =
  | { readonly kind: 'named'; readonly name: CallerName | null | undefined }
  | { readonly kind: 'shown'; readonly header: HeaderOf }

export type Known =
  | { readonly kind: 'known'; readonly identity: Identity }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

const name = z.string().refine(isName).nullish()
const callerName = z.strictObject({ user: name, team: name, tier: name, key: name })

/** Takes the program's word. */
export function named(asked: CallerName | null | undefined): Known {
  if (!asked) return { kind: 'known', identity: ANONYMOUS }
  const checked = callerName.safeParse(asked)
  if (!checked.success) {
    const where = checked.error.issues[0]?.path.join('.') ?? ''
    const message = `Headgate: the ${where || 'caller'} of this request has no proper name: 1 to 200 characters without control characters.`
    return refused({ reason: 'bad_request', message, retryAfterMs: null })
  }
  const { user = null, team = null, tier = null, key = null } = checked.data
  return { kind: 'known', identity: { user, team, tier, key } }
}

export interface KeyRules {
  readonly ring: KeyRing
  /** Whether any key is known at all: else `x-api-key` belongs to the program's own affairs. */
  readonly hasKeys: boolean
  readonly requireKey: boolean
  readonly hasTier: (name: string) => boolean
}

/** By the virtual key that a request shows; without one it is anybody. */
export function shown(header: HeaderOf, rules: KeyRules, now: EpochMs): Known {
  const key = header('x-headgate-key') ?? (rules.hasKeys ? header('x-api-key') : null)
  const claims = { key, credential: null, user: null, address: null }
  const { requireKey, hasTier } = rules
  const trust: TrustRules = { ...NO_TRUST, requireKey, hasTier }
  const found = identify(claims, rules.ring, trust, now)
  if (found.kind === 'identified') return { kind: 'known', identity: found.identity }
  const { reason } = found
  const message =
    reason === 'key_missing'
      ? 'Headgate: no key came with this request: send one as x-api-key.'
      : `Headgate: ${found.message}.`
  return refused({ reason, message, retryAfterMs: null })
}

/** Whoever stands before the program is not known here, so headers name nobody. */
const NO_TRUST = { metadataUser: false, trusts: () => false }

const refused = (refusal: Refusal): Known => ({ kind: 'refused', refusal })
