// From a prompt's parts to what limits see of it: its size and its cacheable prefixes.
import { hash } from 'node:crypto'
import {
  automaticCacheMs,
  type PromptBody,
  type PromptPart,
  promptParts,
} from './messages-request.ts'
import type { CachedPrefix } from './prompt-cache.ts'

export interface ReadPrompt {
  readonly tokens: number
  /** Shortest first. */
  readonly prefixes: readonly CachedPrefix[]
}

/** How many blocks before a breakpoint the provider looks for an older entry. */
const LOOKBACK_BLOCKS = 20

export function readPrompt(body: PromptBody): ReadPrompt {
  const parts = [...promptParts(body)]
  const automaticMs = automaticCacheMs(body)
  const last = parts.at(-1)
  if (automaticMs > 0 && last) parts[parts.length - 1] = { ...last, cacheForMs: automaticMs }
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0)
  return { tokens, prefixes: cacheablePrefixes(body.model, parts) }
}

/** Every breakpoint, and every place before one at which an older entry may be found. */
function cacheablePrefixes(model: string, parts: readonly PromptPart[]): CachedPrefix[] {
  const lookups = lookupPlaces(parts)
  const prefixes: CachedPrefix[] = []
  let key = model
  let tokens = 0
  for (const [index, part] of parts.slice(0, lookups.length).entries()) {
    key = hash('sha256', key + part.canonical(), 'base64')
    tokens += part.tokens
    if (lookups[index]) prefixes.push({ key, tokens, ttlMs: part.cacheForMs })
  }
  return prefixes
}

/** For each part up to the last breakpoint: whether the cache is looked up behind it. */
function lookupPlaces(parts: readonly PromptPart[]): boolean[] {
  const end = parts.findLastIndex((part) => part.cacheForMs > 0) + 1
  const lookups: boolean[] = new Array(end).fill(false)
  let nextBreakpoint = Number.POSITIVE_INFINITY
  for (let index = end - 1; index >= 0; index--) {
    if ((parts[index]?.cacheForMs ?? 0) > 0) nextBreakpoint = index
    lookups[index] = nextBreakpoint - index <= LOOKBACK_BLOCKS
  }
  return lookups
}
