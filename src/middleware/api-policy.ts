// The policy that is in force for an HTTP API. Owns: what each caller's requests and reservations take,
// and the names of those resources. Must not know: HTTP, stores, one request.
//
// They are apart from those of a gateway: a request to the program is not one to a provider. And what a
// request takes when it comes is apart from what its handler reserves, so that a handler at work never
// stands in line behind requests that have not begun.
import type { GateSettings } from '../core/admission.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Limit } from '../core/limit.ts'
import type { Registry } from '../ledger/ledger.ts'
import { Prices } from '../ledger/prices.ts'
import { KeyRing } from '../policy/key-ring.ts'
import type { Settings } from '../policy/settings.ts'
import type { Identity, Scope, Subject } from '../policy/subject.ts'
import { Subjects } from '../policy/subjects.ts'
import { type Caller, type Known, named, shown } from './callers.ts'

/** What a subject is bound by. Scopes without any limit are left out. */
export interface ApiScopes {
  /** What each request takes when it comes: requests and slots, then what everybody shares. */
  readonly arrival: readonly Scope[]
  /** What handlers reserve: tokens. */
  readonly reserve: readonly Scope[]
  /** The limits that the subject is told of. */
  readonly told: readonly Scope[]
}

type Part = 'api' | 'api-tokens'

const SHARED = 'api-shared'
const NO_FLOORS = { soft: 0, hard: 0 }

export class ApiPolicy {
  readonly prices: Prices
  readonly sendsUnpriced: boolean
  readonly #settings: Settings
  readonly #keys: KeyRing
  readonly #shared: readonly Scope[]
  #hasIssuedKeys = false
  #subjects: Subjects
  /** Subjects are shared by all requests of one caller. */
  #scopes = new WeakMap<Subject, ApiScopes>()

  /** @param shared limits behind which all callers wait in one line. */
  constructor(settings: Settings, shared: readonly Limit[], registry: Registry | null) {
    this.#settings = settings
    this.#keys = new KeyRing(settings.rules.keys)
    this.#subjects = new Subjects(settings.rules)
    this.#shared = [sharedScope(shared)].filter(hasLimits)
    this.prices = new Prices(settings.prices)
    this.sendsUnpriced = settings.unknownPrice === 'allow'
    if (registry) this.replaceRegistry(registry)
  }

  /** An administrator has changed keys or budgets. */
  replaceRegistry({ keys, overrides }: Registry): void {
    this.#keys.replaceIssued(keys)
    this.#hasIssuedKeys = keys.length > 0
    this.#subjects = this.#subjects.withOverrides(overrides)
  }

  identify(caller: Caller, now: EpochMs): Known {
    if (caller.kind === 'named') return named(caller.name)
    const { rules, identity } = this.#settings
    const hasKeys = rules.keys.length > 0 || this.#hasIssuedKeys
    const { requireKey } = identity
    const hasTier = (name: string): boolean => rules.tiers.has(name)
    const known = { ring: this.#keys, hasKeys, requireKey, hasTier }
    return shown(caller.header, known, now)
  }

  subjectOf(identity: Identity): Subject {
    return this.#subjects.of(identity)
  }

  scopesOf(subject: Subject): ApiScopes {
    const known = this.#scopes.get(subject)
    if (known) return known
    const arrival = partsOf(subject, 'api')
    const reserve = partsOf(subject, 'api-tokens')
    const told = [...arrival, ...reserve].filter(({ limits }) => limits.length > 0)
    const scopes = { arrival: [...arrival, ...this.#shared], reserve, told }
    this.#scopes.set(subject, scopes)
    return scopes
  }

  gateSettings(resource: string): GateSettings {
    const { agingMs, maxQueued } = this.#settings.queue
    const limits = this.#limitsOf(resource)
    return { limits, learns: false, agingMs, maxQueued, floors: NO_FLOORS }
  }

  #limitsOf(resource: string): readonly Limit[] {
    if (resource === SHARED) return this.#shared.flatMap(({ limits }) => limits)
    const [part = '', ...rest] = resource.split('/')
    const limits = this.#subjects.limitsOf(rest.join('/')) ?? []
    return limits.filter((limit) => partOf(limit) === part)
  }
}

function partsOf({ scopes }: Subject, part: Part): readonly Scope[] {
  return scopes
    .map((scope) => ({
      ...scope,
      resource: `${part}/${scope.resource}`,
      limits: scope.limits.filter((limit) => partOf(limit) === part),
      shadowResource: `${part}/${scope.shadowResource}`,
      shadowLimits: scope.shadowLimits.filter((limit) => partOf(limit) === part),
    }))
    .filter(hasLimits)
}

function partOf({ dimension }: Limit): Part {
  return dimension === 'requests' || dimension === 'concurrency' ? 'api' : 'api-tokens'
}

/** Everybody, as one team whose members wait. */
function sharedScope(limits: readonly Limit[]): Scope {
  return {
    subject: 'team:everybody',
    resource: SHARED,
    limits,
    shadowResource: SHARED,
    shadowLimits: [],
    overflow: 'wait',
  }
}

const hasLimits = ({ limits, shadowLimits }: Scope): boolean =>
  limits.length > 0 || shadowLimits.length > 0
