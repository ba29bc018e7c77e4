// Which beginnings of prompts the provider's cache holds. Owns: what answers have told of them, and
// who is writing one just now. Must not know: how text becomes tokens, models, limits.
import { LRUCache } from 'lru-cache'
import type { EpochMs } from '../core/clock.ts'
import type { PromptPrefix, PromptShape, Usage } from '../core/prompt.ts'

/** A prompt, and the cache that it meets: one credential or organization, one model. */
export interface ScopedPrompt {
  readonly scope: string
  readonly prompt: PromptShape
}

/** A prefix that an answer has told of. Outlives the cache: its number of tokens stays true. */
export interface KnownPrefix {
  textBytes: number
  /** The part of `tokens` that is no text. */
  fixedTokens: number
  tokens: number
  /** Whether `tokens` was reported, rather than taken from a longer prefix by its share of bytes. */
  isExact: boolean
  cacheForMs: number
  readableUntil: EpochMs
}

/** What is known of a prompt before it is sent. */
export interface PrefixForecast {
  /** The longest prefix with a known number of tokens, cached or not. */
  readonly known: KnownPrefix | null
  /** The prefix that the cache will serve. */
  readonly hit: KnownPrefix | null
  /** Tokens to count on from the cache: fewer than the hit's where the cache has disappointed. */
  readonly cachedTokens: number
}

export interface PrefixMemorySettings {
  readonly maxScopes: number
  readonly maxPrefixes: number
}

/** What answers have told of one cache as a whole. */
interface CacheRecord {
  /** The share of the forecast tokens that was served, of late. */
  servedShare: number
  /** The shortest prefix that it takes, as far as is known. */
  minimumTokens: number
}

interface Leader {
  readonly call: ScopedPrompt
  readonly sentAt: EpochMs
}

export const NOTHING_KNOWN: PrefixForecast = { known: null, hit: null, cachedTokens: 0 }

/** The provider looks for entries at so many boundaries before each of a prompt's breakpoints. */
const LOOK_BACK_BOUNDARIES = 20

/** Anthropic's most common minimum. Models differ from 512 to 4,096: answers tell. */
const USUAL_MINIMUM_TOKENS = 1024

/** For deciding whether to wait, where the size counts and not the exact number. */
const ROUGH_BYTES_PER_TOKEN = 3

/** A leader that has not begun by then holds nobody back any more: it may never begin. */
const LEADER_PATIENCE_MS = 60_000

/** What one answer counts for in `servedShare`: about the last ten matter. */
const SERVED_SHARE_STEP = 0.1

/** Above this the forecast stands as it is: one or two misses say little of the next. */
const TRUSTED_SHARE = 0.8

/** A report this close to the forecast is of the same prefix. */
const SAME_PREFIX_TOLERANCE = 0.1

export class PrefixMemory {
  readonly #caches: LRUCache<string, CacheRecord>
  readonly #prefixes: LRUCache<string, KnownPrefix>
  readonly #leaders: LRUCache<string, Leader>

  constructor(settings: PrefixMemorySettings) {
    this.#caches = new LRUCache({ max: settings.maxScopes })
    this.#prefixes = new LRUCache({ max: settings.maxPrefixes })
    this.#leaders = new LRUCache({ max: settings.maxPrefixes })
  }

  forecast(call: ScopedPrompt, now: EpochMs): PrefixForecast {
    const { scope, prompt } = call
    if (prompt.prefixes.length === 0) return NOTHING_KNOWN
    const find = (prefix: PromptPrefix) => this.#prefixes.get(idOf(scope, prefix)) ?? null
    const known = longest(prompt.prefixes, Number.POSITIVE_INFINITY, find)
    if (!known) return NOTHING_KNOWN
    const hit = longest(prompt.prefixes, LOOK_BACK_BOUNDARIES, (prefix) => {
      const found = find(prefix)
      return found && found.readableUntil > now ? found : null
    })
    if (!hit) return { known, hit, cachedTokens: 0 }
    const servedShare = this.#caches.get(scope)?.servedShare ?? 1
    const trust = servedShare >= TRUSTED_SHARE ? 1 : servedShare
    return { known, hit, cachedTokens: Math.round(hit.tokens * trust) }
  }

  /**
   * The key of the longest prefix of this prompt that a call in flight is writing to the cache, or
   * null where waiting for that call to begin would save less than a cacheable amount of tokens.
   */
  pendingLeader(call: ScopedPrompt, now: EpochMs): string | null {
    if (this.#leaders.size === 0) return null
    const led = longest(call.prompt.prefixes, LOOK_BACK_BOUNDARIES, (prefix) => {
      const leader = this.#leaders.get(idOf(call.scope, prefix))
      return leader && leader.call !== call && isPatient(leader, now) ? prefix : null
    })
    if (!led) return null
    const readableBytes = this.forecast(call, now).hit?.textBytes ?? 0
    const savedTokens = (led.textBytes - readableBytes) / ROUGH_BYTES_PER_TOKEN
    return savedTokens >= USUAL_MINIMUM_TOKENS ? led.key : null
  }

  /** The call leaves: from here on it leads all that share what it will write. */
  sent(call: ScopedPrompt, now: EpochMs): void {
    const minimumTokens = this.#caches.get(call.scope)?.minimumTokens ?? USUAL_MINIMUM_TOKENS
    for (const prefix of call.prompt.prefixes) {
      if (prefix.cacheForMs <= 0) continue
      if (prefix.textBytes / ROUGH_BYTES_PER_TOKEN < minimumTokens) continue
      const id = idOf(call.scope, prefix)
      const isReadable = (this.#prefixes.get(id)?.readableUntil ?? 0) > now
      const leader = this.#leaders.get(id)
      if (isReadable || (leader && isPatient(leader, now))) continue
      this.#leaders.set(id, { call, sentAt: now })
    }
  }

  /** The answer has begun, so what it wrote is readable. `forecast` is what was expected of it. */
  began(call: ScopedPrompt, forecast: PrefixForecast, usage: Usage, now: EpochMs): void {
    this.failed(call)
    const last = call.prompt.prefixes.findLast((prefix) => prefix.cacheForMs > 0)
    if (!last) return
    const cache = this.#cacheOf(call.scope)
    if (forecast.hit) judge(cache, forecast.hit, usage.cacheReadTokens, now)
    const cachedTokens = usage.cacheReadTokens + usage.cacheWriteTokens
    if (cachedTokens === 0) {
      const tokens = usage.inputTokens * shareOf(last.textBytes, call.prompt.textBytes)
      cache.minimumTokens = Math.max(cache.minimumTokens, tokens)
      return
    }
    cache.minimumTokens = Math.min(cache.minimumTokens, cachedTokens)
    this.#learn(call, last, cachedTokens, now)
  }

  /** The call will write nothing any more: its siblings need not wait for it. */
  failed(call: ScopedPrompt): void {
    for (const prefix of call.prompt.prefixes) {
      const id = idOf(call.scope, prefix)
      if (this.#leaders.get(id)?.call === call) this.#leaders.delete(id)
    }
  }

  #learn(call: ScopedPrompt, last: PromptPrefix, cachedTokens: number, now: EpochMs): void {
    const minimumTokens = this.#cacheOf(call.scope).minimumTokens
    for (const prefix of call.prompt.prefixes) {
      if (prefix.cacheForMs <= 0) continue
      const id = idOf(call.scope, prefix)
      const earlier = this.#prefixes.get(id)
      const share = prefix === last ? 1 : shareOf(prefix.textBytes, last.textBytes)
      const isKept = prefix !== last && earlier !== undefined
      const tokens = isKept ? earlier.tokens : cachedTokens * share
      if (tokens < minimumTokens) continue
      const learnt: KnownPrefix = {
        textBytes: prefix.textBytes,
        fixedTokens: isKept ? earlier.fixedTokens : call.prompt.fixedTokens * share,
        tokens,
        isExact: prefix === last || (earlier?.isExact ?? false),
        cacheForMs: prefix.cacheForMs,
        readableUntil: Math.max(now + prefix.cacheForMs, earlier?.readableUntil ?? 0),
      }
      // In place, because forecasts of calls in flight hold on to the entry.
      if (earlier) Object.assign(earlier, learnt)
      else this.#prefixes.set(id, learnt)
    }
  }

  #cacheOf(scope: string): CacheRecord {
    let cache = this.#caches.get(scope)
    if (!cache) {
      cache = { servedShare: 1, minimumTokens: USUAL_MINIMUM_TOKENS }
      this.#caches.set(scope, cache)
    }
    return cache
  }
}

/** Holds a forecast against what the cache did serve. */
function judge(cache: CacheRecord, hit: KnownPrefix, servedTokens: number, now: EpochMs): void {
  const served = Math.min(1, servedTokens / hit.tokens)
  cache.servedShare += (served - cache.servedShare) * SERVED_SHARE_STEP
  if (served < 1 - SAME_PREFIX_TOLERANCE) {
    hit.readableUntil = now
    return
  }
  // Use refreshes an entry's time.
  hit.readableUntil = Math.max(hit.readableUntil, now + hit.cacheForMs)
  if (servedTokens <= hit.tokens * (1 + SAME_PREFIX_TOLERANCE)) {
    hit.tokens = servedTokens
    hit.isExact = true
  }
}

/**
 * The first that `find` gives for the prefixes, longest first, that lie at most `lookBack`
 * boundaries before a breakpoint. An infinite look-back takes in those after the last breakpoint too.
 */
function longest<T>(
  prefixes: readonly PromptPrefix[],
  lookBack: number,
  find: (prefix: PromptPrefix) => T | null,
): T | null {
  let boundariesBack = Number.POSITIVE_INFINITY
  for (let index = prefixes.length - 1; index >= 0; index--) {
    const prefix = prefixes[index]
    if (!prefix) continue
    boundariesBack = prefix.cacheForMs > 0 ? 0 : boundariesBack + 1
    if (boundariesBack > lookBack) continue
    const found = find(prefix)
    if (found !== null) return found
  }
  return null
}

function idOf(scope: string, prefix: PromptPrefix): string {
  return `${scope} ${prefix.key}`
}

function isPatient(leader: Leader, now: EpochMs): boolean {
  return now - leader.sentAt < LEADER_PATIENCE_MS
}

function shareOf(part: number, whole: number): number {
  return whole > 0 ? Math.min(1, part / whole) : 1
}
