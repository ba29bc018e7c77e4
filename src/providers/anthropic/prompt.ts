// The size of a Messages prompt. Must not know: any estimator's ratio of tokens to bytes.
import type { PromptShape } from '../../core/prompt.ts'
import { CLOSE_BRACKET, type Span, skipWhitespace } from '../json-scan.ts'
import type { Outline } from './body.ts'
import { cachePrefixes } from './cache-prefixes.ts'
import { mediaTokens, type Payload, payloadsOf, unseenTokens } from './media.ts'

/** The system prompt that Anthropic adds where there are tools: 286 to 804, by model and choice. */
const TOOLS_PROMPT_TOKENS = 500

export const NO_PROMPT: PromptShape = {
  textBytes: 0,
  mediaBytes: 0,
  fixedTokens: 0,
  prefixes: [],
  maxOutputTokens: null,
  unseenTokens: 0,
  hidesOutput: false,
}

export function promptShape(body: Buffer, outline: Outline): PromptShape {
  const { tools, system, messages } = outline
  const parts = [tools, system, messages]
  const payloads = payloadsOf(body, outline).filter((payload) => isWithin(parts, payload))
  const textBytes = parts.reduce((sum, part) => sum + lengthOf(part), 0)
  const mediaBytes = payloads.reduce((sum, payload) => sum + lengthOf(payload), 0)
  const toolsTokens = hasTools(body, tools) ? TOOLS_PROMPT_TOKENS : 0
  return {
    textBytes: textBytes - mediaBytes,
    mediaBytes,
    fixedTokens: toolsTokens + mediaTokens(body, outline, payloads),
    prefixes: asksForCaching(outline) ? cachePrefixes(body, outline, payloads) : [],
    maxOutputTokens: outline.maxTokens,
    unseenTokens: unseenTokens(body, outline, payloads),
    hidesOutput: outline.hasThinking,
  }
}

function asksForCaching({ landmarks, cacheControl }: Outline): boolean {
  return landmarks.cache_control.length > 0 || cacheControl !== null
}

function isWithin(parts: readonly (Span | null)[], payload: Payload): boolean {
  return parts.some((part) => part && payload.start >= part.start && payload.end <= part.end)
}

function lengthOf(part: Span | null): number {
  return part ? part.end - part.start : 0
}

function hasTools(body: Buffer, tools: Span | null): boolean {
  return tools !== null && body[skipWhitespace(body, tools.start + 1)] !== CLOSE_BRACKET
}
