// What a request and its answer say that matters to an estimate: sizes and hashes, never text.
// Providers fill it in, estimators learn from it. Must not know: either of them.

/** A leading part of a prompt, as a prompt cache would see it. */
export interface PromptPrefix {
  /** Identifies the content of the whole part from the prompt's start. */
  readonly key: string
  /** Bytes of the whole part that count as text. */
  readonly textBytes: number
  /** How long the provider is asked to cache the prompt up to here, or 0 where it is not asked to. */
  readonly cacheForMs: number
}

export interface PromptShape {
  /** Bytes of the prompt that count as text: encoded images and documents left out. */
  readonly textBytes: number
  /** Bytes of encoded images and documents. */
  readonly mediaBytes: number
  /** Tokens of images, documents and hidden prompts, by the provider's own rules. */
  readonly fixedTokens: number
  /** Shortest first. Empty where the request asks for no caching. */
  readonly prefixes: readonly PromptPrefix[]
  /** The most that the request allows the answer to be, or null where it does not say. */
  readonly maxOutputTokens: number | null
  /** What lies elsewhere, such as a document behind a URL, may add so many tokens. */
  readonly unseenTokens: number
  /** Whether the model may write what a stream does not show. */
  readonly hidesOutput: boolean
}

/** Tokens that an answer reports. What it did not report is 0 in a complete report. */
export interface Usage {
  /** Read afresh: neither from the cache nor into it. */
  readonly inputTokens: number
  readonly cacheReadTokens: number
  readonly cacheWriteTokens: number
  /** The part of `cacheWriteTokens` that is kept for an hour. */
  readonly cacheWriteHourTokens: number
  readonly outputTokens: number
  /** Of the usual price, in per cent, as the answer tells of it; missing where it does not. */
  readonly pricePercent?: number
}
