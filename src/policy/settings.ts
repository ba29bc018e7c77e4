// Policy: what the operator wants. Owns: `Settings`, complete and never edited, and what a rule of
// limits means. Must not know: how settings are written (schema.ts) or found (resolve.ts), or what
// they do.
import type { Limit } from '../core/limit.ts'
import type { LedgerAddress } from './ledger-address.ts'
import type { StoreAddress } from './store-address.ts'
import type { SubjectRules } from './subject.ts'

/** The limits of the models whose name matches. */
export interface LimitRule {
  /** A model's name, where `*` stands for any letters. */
  readonly match: string
  readonly limits: readonly Limit[]
}

export interface ProviderSettings {
  /** Without a slash at its end; null stands for the provider's public address. */
  readonly baseUrl: string | null
  /** Null: callers' own keys pass through. */
  readonly apiKey: string | null
  /** Remaining input tokens under which admissions slow and stop; 0 switches a floor off. */
  readonly floors: { readonly softTokens: number; readonly hardTokens: number }
  /** The first rule that matches a model counts; the limits of other models are learnt. */
  readonly limits: readonly LimitRule[]
}

/**
 * Without its store a gateway goes on with its share of the limits (`degrade`), without limits
 * (`open`), or takes nobody new (`closed`).
 */
export type StoreFailurePolicy = 'degrade' | 'open' | 'closed'

/** Whose word is taken for who is calling. */
export interface IdentitySettings {
  /** Whether callers without a virtual key are turned away. */
  readonly requireKey: boolean
  /** The header that names the user, in lower case. */
  readonly userHeader: string
  /** Networks, such as `10.0.0.0/8`, whose callers are believed when they name a user. */
  readonly trusted: readonly string[]
  /** Whether the `metadata.user_id` of callers that are believed names the user. */
  readonly metadataUser: boolean
}

/** Models to take when the wait for the one asked for is too long. */
export interface FallbackRule {
  /** A model's name, where `*` stands for any letters. */
  readonly match: string
  /** In the order in which they are tried. */
  readonly models: readonly string[]
}

/** What the models whose name matches cost, in whole pico-dollars per token. */
export interface PriceRule {
  readonly match: string
  readonly input: number
  readonly output: number
  readonly cacheRead?: number
  /** Kept for five minutes. */
  readonly cacheWrite?: number
  readonly cacheWriteHour?: number
}

/** Where it is told that a budget has passed a step. */
export interface WebhookSettings {
  readonly url: string
  readonly secret: string
}

/** What may be asked of the coordinator. */
export interface LeaseSettings {
  /** How long a lease lasts without a sign of life, where its caller says nothing. */
  readonly defaultTtlMs: number
  readonly maxTtlMs: number
  /** What one caller may have waiting and held at once, in one process. */
  readonly maxPerCaller: number
  /** Origins of web pages that may ask, such as `https://app.example`. */
  readonly origins: readonly string[]
}

export interface Settings {
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  readonly store: StoreAddress
  readonly ledger: LedgerAddress
  /** What is done while a shared store cannot be reached. */
  readonly onStoreFailure: StoreFailurePolicy
  readonly queue: {
    readonly maxWaitMs: number
    readonly maxQueued: number
    readonly agingMs: number
    readonly keepalive: 'auto' | 'off'
  }
  readonly maxBodyMemoryBytes: number
  readonly providers: { readonly anthropic: ProviderSettings }
  /** The limits of each resource that leases are asked for, by its name. */
  readonly resources: ReadonlyMap<string, readonly Limit[]>
  readonly leases: LeaseSettings
  /** Who may use how much. */
  readonly rules: SubjectRules
  readonly identity: IdentitySettings
  /** The first rule that matches a model counts. */
  readonly fallbacks: readonly FallbackRule[]
  /** A predicted wait longer than this takes a fallback. */
  readonly fallbackAfterMs: number
  /** The first rule that matches a model counts; other models have their public prices. */
  readonly prices: readonly PriceRule[]
  /** What becomes of a call whose subject has a budget and whose model has no known price. */
  readonly unknownPrice: 'refuse' | 'allow'
  /** Null: nobody is told of warnings but the log. */
  readonly webhook: WebhookSettings | null
  /** What administrators show; null: nobody administers. */
  readonly adminToken: string | null
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
    readonly format: 'auto' | 'pretty' | 'json'
  }
}

/** The limits that the first matching rule sets for a model, or null where they are to be learnt. */
export function limitsOf(rules: readonly LimitRule[], model: string): readonly Limit[] | null {
  return rules.find((rule) => matches(rule.match, model))?.limits ?? null
}

/** Whether a name fits a pattern, where `*` stands for any letters, none included. */
export function matches(glob: string, model: string): boolean {
  const [head = '', ...rest] = glob.split('*')
  const tail = rest.pop()
  if (tail === undefined) return model === glob
  if (model.length < head.length + tail.length) return false
  if (!model.startsWith(head) || !model.endsWith(tail)) return false
  let from = head.length
  for (const part of rest) {
    const at = model.indexOf(part, from)
    if (at < 0) return false
    from = at + part.length
  }
  return from <= model.length - tail.length
}
