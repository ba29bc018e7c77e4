// One organization's prompt cache. Owns: which prefixes are readable, and until when.
// Must not know: requests, tokens' contents, limits.
import type { EpochMs } from '../core/clock.ts'
import type { Usage } from '../core/prompt.ts'

/** A leading part of a prompt at whose end the cache is looked up, and written when asked to. */
export interface CachedPrefix {
  /** Identifies model and content from the prompt's start. */
  readonly key: string
  /** Tokens of the whole part from the prompt's start. */
  readonly tokens: number
  /** For how long it is to be kept; 0 at a place that is only looked up. */
  readonly ttlMs: number
}

/** A prompt's tokens, parted by how they are charged. */
export type PromptUsage = Omit<Usage, 'outputTokens'>

/** Shorter prefixes are not cached, on most models. */
const SHORTEST_TOKENS = 1024
const HOUR_MS = 3_600_000

interface Entry {
  readonly ttlMs: number
  expiresAt: EpochMs
}

export class PromptCache {
  readonly #entries = new Map<string, Entry>()
  readonly #timeScale: number
  #sweepAtSize = 1024

  /** Entries expire `timeScale` times as fast. */
  constructor(timeScale: number) {
    this.#timeScale = timeScale
  }

  /** How a prompt would be charged now. `prefixes` come shortest first. Changes nothing. */
  part(prefixes: readonly CachedPrefix[], promptTokens: number, now: EpochMs): PromptUsage {
    const read = prefixes.findLast((prefix) => this.#isReadable(prefix, now))?.tokens ?? 0
    let writtenTo = read
    let hourTokens = 0
    for (const prefix of prefixes) {
      if (prefix.ttlMs === 0 || prefix.tokens < SHORTEST_TOKENS) continue
      if (prefix.tokens <= writtenTo) continue
      if (prefix.ttlMs >= HOUR_MS) hourTokens += prefix.tokens - writtenTo
      writtenTo = prefix.tokens
    }
    return {
      inputTokens: promptTokens - writtenTo,
      cacheReadTokens: read,
      cacheWriteTokens: writtenTo - read,
      cacheWriteHourTokens: hourTokens,
    }
  }

  /** Being read makes an entry's time start anew. */
  refresh(prefixes: readonly CachedPrefix[], now: EpochMs): void {
    for (const { key } of prefixes) {
      const entry = this.#entries.get(key)
      if (entry && entry.expiresAt > now) entry.expiresAt = now + entry.ttlMs
    }
  }

  /** Makes the prefixes readable. Called when the answer begins: not one instant earlier. */
  write(prefixes: readonly CachedPrefix[], now: EpochMs): void {
    for (const prefix of prefixes) {
      if (prefix.ttlMs === 0 || prefix.tokens < SHORTEST_TOKENS) continue
      const ttlMs = prefix.ttlMs / this.#timeScale
      this.#entries.set(prefix.key, { ttlMs, expiresAt: now + ttlMs })
    }
    this.#sweep(now)
  }

  #isReadable(prefix: CachedPrefix, now: EpochMs): boolean {
    const entry = this.#entries.get(prefix.key)
    return entry !== undefined && entry.expiresAt > now
  }

  /** Forgets what has expired, each time that the entries have doubled: constant cost a write. */
  #sweep(now: EpochMs): void {
    if (this.#entries.size < this.#sweepAtSize) return
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt <= now) this.#entries.delete(key)
    }
    this.#sweepAtSize = Math.max(1024, 2 * this.#entries.size)
  }
}
