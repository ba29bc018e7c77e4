// The policy that is in force: what the file says, and what administrators changed since. Owns: putting
// both together and handing them to those who carry them out. Must not know: when a file is read, or
// how a ledger is watched.
import type { GateSettings } from '../core/admission.ts'
import type { Limit } from '../core/limit.ts'
import type { CallRules } from '../dispatch/call-rules.ts'
import type { UpstreamBase } from '../dispatch/upstream.ts'
import type { Registry } from '../ledger/ledger.ts'
import { Prices } from '../ledger/prices.ts'
import { KeyRing } from '../policy/key-ring.ts'
import { limitsOf, type Settings } from '../policy/settings.ts'
import { Subjects } from '../policy/subjects.ts'
import type { Provider } from '../providers/provider.ts'

export class PolicyInForce {
  #settings: Settings
  #registry: Registry | null
  /** The same for its whole life: what it holds is replaced. */
  readonly keys: KeyRing
  #subjects: Subjects
  #callRules: CallRules
  /** Parsed once for each address. */
  #base: { readonly url: string; readonly base: UpstreamBase } = { url: '', base: NO_BASE }
  readonly #listeners: (() => void)[] = []
  /** Resources that the file names no more, while somebody may still stand in their lines. */
  readonly #dropped = new Map<string, readonly Limit[]>()
  /** Is told when limits may have changed, after those who hear of all changes. */
  onNewLimits: () => void = () => {}

  constructor(settings: Settings, registry: Registry | null) {
    this.#settings = settings
    this.#registry = registry
    this.keys = new KeyRing(settings.rules.keys)
    this.keys.replaceIssued(registry?.keys ?? [])
    this.#subjects = new Subjects(settings.rules, registry?.overrides)
    this.#callRules = this.#makeCallRules()
  }

  get settings(): Settings {
    return this.#settings
  }

  get callRules(): CallRules {
    return this.#callRules
  }

  /** Is told when anything has changed. For as long as the policy lasts. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** The file has changed. */
  replaceSettings(settings: Settings): void {
    for (const [name, limits] of this.#settings.resources) this.#dropped.set(name, limits)
    for (const name of settings.resources.keys()) this.#dropped.delete(name)
    this.#settings = settings
    this.keys.replaceConfigured(settings.rules.keys)
    this.#subjects = new Subjects(settings.rules, this.#registry?.overrides)
    this.#callRules = this.#makeCallRules()
    for (const listener of this.#listeners) listener()
    this.onNewLimits()
  }

  /** An administrator has changed keys or budgets. */
  replaceRegistry(registry: Registry): void {
    this.#registry = registry
    this.keys.replaceIssued(registry.keys)
    this.#subjects = this.#subjects.withOverrides(registry.overrides)
    this.#callRules = { ...this.#callRules, subjects: this.#subjects }
    for (const listener of this.#listeners) listener()
  }

  /** Where a provider's calls go. */
  baseOf(provider: Provider): UpstreamBase {
    const url = this.#settings.providers.anthropic.baseUrl ?? provider.defaultBaseUrl
    if (this.#base.url !== url) this.#base = { url, base: parseBase(url) }
    return this.#base.base
  }

  /** What is said of a resource: one that has a name, a subject's own, or a provider's, known by its limit group. */
  gateSettings(resource: string): GateSettings {
    const { providers, queue } = this.#settings
    const { agingMs, maxQueued } = queue
    const own =
      this.#settings.resources.get(resource) ??
      this.#dropped.get(resource) ??
      this.#subjects.limitsOf(resource)
    if (own) return { limits: own, learns: false, agingMs, maxQueued, floors: NO_FLOORS }
    const { limits, floors } = providers.anthropic
    const group = resource.slice(resource.lastIndexOf('/') + 1)
    return {
      limits: limitsOf(limits, group) ?? [],
      learns: true,
      agingMs,
      maxQueued,
      floors: { soft: floors.softTokens, hard: floors.hardTokens },
    }
  }

  #makeCallRules(): CallRules {
    const { prices, unknownPrice, fallbacks, fallbackAfterMs } = this.#settings
    return {
      subjects: this.#subjects,
      prices: new Prices(prices),
      sendsUnpriced: unknownPrice === 'allow',
      fallbacks,
      fallbackAfterMs,
    }
  }
}

const NO_BASE: UpstreamBase = { origin: '', pathPrefix: '' }

function parseBase(url: string): UpstreamBase {
  const { origin, pathname } = new URL(url)
  return { origin, pathPrefix: pathname.replace(/\/+$/, '') }
}

const NO_FLOORS = { soft: 0, hard: 0 }
