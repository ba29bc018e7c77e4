// The provider as limits see it, without HTTP: who is admitted, what it is charged, what is told.
// Owns: organizations with their quotas and prompt caches, the report. Must not know: HTTP, bodies,
// pacing. Does no I/O; a simulator drives it on virtual time.
import { createHash } from 'node:crypto'
import type { Clock, EpochMs } from '../core/clock.ts'
import { type Bill, type BillRow, Bills } from './bills.ts'
import { countsCacheReads, modelClassOf } from './model-class.ts'
import { type CachedPrefix, PromptCache, type PromptUsage } from './prompt-cache.ts'
import { type LimitedDimension, type LimitState, Quota, type QuotaOptions } from './quota.ts'
import { type EmulatorSettings, limitsOf } from './settings.ts'
import { type Counts, type MinuteReport, REFUSAL_COUNT, Tally } from './tally.ts'

export type AuxiliaryPool = 'count_tokens' | 'batches' | 'other'

/** Whose request it is. */
export interface Account {
  /** What the report calls the credential: never the secret itself. */
  readonly key: string
  /** Whose limits and cache it uses. */
  readonly organization: string
}

/** A message request, as limits see it. */
export interface Arrival extends Account {
  readonly model: string
  /** The whole prompt. */
  readonly promptTokens: number
  /** Shortest first. Empty where the request asks for no caching. */
  readonly prefixes: readonly CachedPrefix[]
}

export interface Refused {
  readonly kind: 'refused'
  readonly dimension: LimitedDimension
  /** The limit that refused, a minute. */
  readonly amount: number
  /** From now until the request would fit, if nobody else came. */
  readonly retryAfterMs: number
}

export type Admission = { readonly kind: 'admitted'; readonly call: AdmittedCall } | Refused

export interface EmulatorReport {
  readonly startedAt: EpochMs
  readonly totals: Counts
  readonly inFlight: number
  readonly maxInFlight: number
  /**
   * Whether the traffic ever asked for more than a limit allows: something was refused for a limit,
   * or a bucket fell a whole unit below zero.
   */
  readonly isLimitExceeded: boolean
  readonly keys: Readonly<Record<string, Counts>>
  /** Input that outside consumers have taken of all limits. */
  readonly externalTokens: number
  readonly limits: readonly QuotaReport[]
  /** What was used, by model and by what it is charged. */
  readonly bills: readonly Bill[]
  /** Minutes of the limits: `timeScale` of them pass in a real one. Oldest first. */
  readonly minutes: readonly MinuteReport[]
}

export interface QuotaReport {
  readonly organization: string
  /** A model class, or the pool of other calls. */
  readonly group: string
  readonly limits: readonly LimitState[]
}

interface Organization {
  readonly cache: PromptCache
  readonly quotas: Map<string, Quota>
}

const MINUTE_MS = 60_000

export class EmulatedProvider {
  readonly #settings: EmulatorSettings
  readonly #clock: Clock
  readonly #random: () => number
  readonly #organizations = new Map<string, Organization>()
  readonly #windowMs: number
  readonly #startedAt: EpochMs
  readonly #bills = new Bills()
  readonly tally: Tally

  constructor(settings: EmulatorSettings, clock: Clock, random: () => number) {
    this.#settings = settings
    this.#clock = clock
    this.#random = random
    this.#windowMs = MINUTE_MS / settings.timeScale
    this.#startedAt = clock.now()
    this.tally = new Tally(this.#windowMs, clock)
  }

  /** Admits and charges a message request, or refuses it at no cost. */
  admit(arrival: Arrival): Admission {
    const { key, model, promptTokens, prefixes } = arrival
    const { cache } = this.#organizationOf(arrival)
    const quota = this.#modelQuota(arrival, model)
    const usage = cache.part(prefixes, promptTokens, this.#clock.now())
    const counted = countedInput(model, usage)
    this.tally.add(key, 'requests')
    const refused = this.#refusal(quota, counted)
    if (refused) {
      this.tally.add(key, REFUSAL_COUNT[refused.dimension])
      return refused
    }
    quota.take(counted)
    cache.refresh(prefixes, this.#clock.now())
    this.tally.add(key, 'admitted')
    this.tally.add(key, 'inputTokens', counted)
    this.tally.add(key, 'cacheReadTokens', usage.cacheReadTokens)
    const bill = this.#bills.rowOf(model, 'standard')
    bill.addPrompt(usage)
    const parts = { arrival, usage, cache, quota, bill, tally: this.tally, clock: this.#clock }
    return { kind: 'admitted', call: new AdmittedCall(parts) }
  }

  /** Answers a request of a batch, which no limit of its model counts. */
  answerInBatch(
    { key, organization, model, ...prompt }: Arrival,
    outputTokens: number,
  ): PromptUsage {
    const { cache } = this.#organizationOf({ key, organization })
    const now = this.#clock.now()
    const usage = cache.part(prompt.prefixes, prompt.promptTokens, now)
    cache.refresh(prompt.prefixes, now)
    cache.write(prompt.prefixes, now)
    const bill = this.#bills.rowOf(model, 'batch')
    bill.addPrompt(usage)
    bill.addOutput(outputTokens)
    this.tally.add(key, 'batchRequests')
    return usage
  }

  /** Counts a call of another pool against that pool's limit. Null: it may pass. */
  admitAuxiliary(account: Account, pool: AuxiliaryPool): Refused | null {
    this.tally.add(account.key, 'auxiliaryRequests')
    const quota = this.#poolQuota(account, pool)
    const refused = this.#refusal(quota, 0)
    if (!refused) quota.take(0)
    return refused
  }

  /** The limit headers of a model's class at this instant. */
  modelHeaders(account: Account, model: string): Record<string, string> {
    return this.#modelQuota(account, model).headers()
  }

  /** The limit headers of another pool at this instant. */
  poolHeaders(account: Account, pool: AuxiliaryPool): Record<string, string> {
    return this.#poolQuota(account, pool).headers()
  }

  report(): EmulatorReport {
    const totals = this.tally.totals()
    const limits = [...this.#organizations].flatMap(([organization, { quotas }]) =>
      Array.from(quotas, ([group, quota]) => ({ organization, group, limits: quota.state() })),
    )
    const quotas = [...this.#organizations.values()].flatMap((one) => [...one.quotas.values()])
    const refused =
      totals.refusedForRequests + totals.refusedForInputTokens + totals.refusedForOutputTokens
    const isOverdrawn = limits.some((quota) => quota.limits.some(({ lowest }) => lowest <= -1))
    return {
      startedAt: this.#startedAt,
      totals,
      inFlight: this.tally.inFlight,
      maxInFlight: this.tally.maxInFlight,
      isLimitExceeded: refused > 0 || isOverdrawn,
      keys: this.tally.keys(),
      externalTokens: quotas.reduce((sum, quota) => sum + quota.externalTokens, 0),
      limits,
      bills: this.#bills.all(),
      minutes: this.tally.minutes(),
    }
  }

  #refusal(quota: Quota, countedTokens: number): Refused | null {
    const shortage = quota.shortage(countedTokens)
    if (!shortage) return null
    const { dimension, amount, freeAt } = shortage
    return { kind: 'refused', dimension, amount, retryAfterMs: freeAt - this.#clock.now() }
  }

  #organizationOf({ organization }: Account): Organization {
    const known = this.#organizations.get(organization)
    if (known) return known
    const cache = new PromptCache(this.#settings.timeScale)
    const created = { cache, quotas: new Map<string, Quota>() }
    this.#organizations.set(organization, created)
    return created
  }

  #modelQuota(account: Account, model: string): Quota {
    const modelClass = modelClassOf(model) ?? model
    return this.#quota(account, modelClass, () => ({
      limits: limitsOf(this.#settings, modelClass),
      requestBurst: this.#settings.requestBurst,
      externalShare: this.#settings.externalShare,
    }))
  }

  #poolQuota(account: Account, pool: AuxiliaryPool): Quota {
    return this.#quota(account, pool, () => ({
      limits: { requests: this.#settings.poolRequests[pool] },
      requestBurst: undefined,
      externalShare: 0,
    }))
  }

  #quota(account: Account, group: string, options: () => Omit<QuotaOptions, 'windowMs'>): Quota {
    const { quotas } = this.#organizationOf(account)
    const known = quotas.get(group)
    if (known) return known
    const quota = new Quota({ ...options(), windowMs: this.#windowMs }, this.#clock, this.#random)
    quotas.set(group, quota)
    return quota
  }
}

interface AdmittedParts {
  readonly arrival: Arrival
  readonly usage: PromptUsage
  readonly cache: PromptCache
  readonly quota: Quota
  readonly bill: BillRow
  readonly tally: Tally
  readonly clock: Clock
}

/** A message request from its admission to its end. Its owner says what happens, in this order. */
export class AdmittedCall {
  readonly usage: PromptUsage
  readonly #parts: AdmittedParts
  #hasEnded = false

  constructor(parts: AdmittedParts) {
    this.usage = parts.usage
    this.#parts = parts
    parts.tally.began()
  }

  /** The answer has begun: what the prompt writes to the cache is readable from now on. */
  begun(): void {
    this.#parts.cache.write(this.#parts.arrival.prefixes, this.#parts.clock.now())
  }

  /** So many more tokens have been generated. */
  generated(tokens: number): void {
    this.#parts.quota.generated(tokens)
    this.#parts.bill.addOutput(tokens)
    this.#parts.tally.add(this.#parts.arrival.key, 'outputTokens', tokens)
  }

  /** The answer is complete, or its client has gone. */
  ended(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#parts.tally.ended()
  }
}

/** The input that limits count: what the cache serves is free. */
function countedInput(model: string, usage: PromptUsage): number {
  const read = countsCacheReads(modelClassOf(model) ?? model) ? usage.cacheReadTokens : 0
  return usage.inputTokens + usage.cacheWriteTokens + read
}

/** The id that an organization has in headers: always the same for one name. */
export function organizationId(organization: string): string {
  const hex = createHash('sha256').update(organization).digest('hex')
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16)
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(18, 20)}`,
    hex.slice(20, 32),
  ].join('-')
}
