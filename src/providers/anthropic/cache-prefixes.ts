// The leading parts of a prompt as Anthropic's prompt cache sees them, each with a key.
// Must not know: which of them are cached, or what that saves.
//
// A key is the length and the running CRC-32 of the content's bytes. It tells apart the prompts that
// one organization sends, at 2 GB/s; it is no protection against someone who wants two to be equal,
// and needs none: who forges a key spoils the estimate of his own requests, and pays the difference.
import { crc32 } from 'node:zlib'
import type { PromptPrefix } from '../../core/prompt.ts'
import type { Span } from '../json-scan.ts'
import type { Outline } from './body.ts'
import { attributionIn, type Cut, cacheForMs, cutsIn } from './cuts.ts'
import type { Payload } from './media.ts'

/** In the cache's order: tools, then system, then messages, whatever the order in the body. */
export function cachePrefixes(
  body: Buffer,
  outline: Outline,
  payloads: readonly Payload[],
): PromptPrefix[] {
  const chain = new PrefixChain(body, `${outline.model} ${outline.isFast}`, payloads)
  const { tools, system, messages } = outline
  const cuts = (part: Span): Cut[] => cutsIn(body, part, outline.landmarks.cache_control)
  if (tools) chain.extend(tools, [tools.end], cuts(tools))
  if (system) chain.extend(system, [system.end], [...attributionIn(body, system), ...cuts(system)])
  if (messages) chain.extend(messages, outline.messageEnds, cuts(messages))
  if (outline.cacheControl) chain.markEnd(cacheForMs(body, outline.cacheControl) ?? 0)
  return chain.asksForCaching ? chain.prefixes : []
}

type Draft = { -readonly [Field in keyof PromptPrefix]: PromptPrefix[Field] }

class PrefixChain {
  readonly prefixes: Draft[] = []
  asksForCaching = false
  readonly #body: Buffer
  readonly #payloads: readonly Payload[]
  #checksum: number
  #bytes = 0
  #textBytes = 0

  constructor(body: Buffer, seed: string, payloads: readonly Payload[]) {
    this.#body = body
    this.#payloads = payloads
    this.#checksum = crc32(seed)
  }

  /** Adds a part of the prompt, with a prefix for each of the `ends` in it. */
  extend(part: Span, ends: readonly number[], cuts: readonly Cut[]): void {
    const cutsAhead = new InOrder(cuts)
    const payloadsAhead = new InOrder(this.#payloads.filter(({ start }) => isWithin(part, start)))
    let at = part.start
    let textAt = part.start
    for (const end of ends) {
      const passed = cutsAhead.takeBefore(end)
      for (const cut of passed) {
        this.#add(at, cut.start)
        at = cut.end
      }
      this.#add(at, end)
      at = Math.max(at, end)
      this.#textBytes += end - textAt - totalBytes(payloadsAhead.takeBefore(end))
      textAt = end
      this.#end(Math.max(0, ...passed.map((cut) => cut.cacheForMs)))
    }
  }

  /** Marks the whole prompt's end. */
  markEnd(duration: number): void {
    const last = this.prefixes.at(-1)
    if (!last || duration === 0) return
    last.cacheForMs = Math.max(last.cacheForMs, duration)
    this.asksForCaching = true
  }

  #add(start: number, end: number): void {
    if (start >= end) return
    this.#checksum = crc32(this.#body.subarray(start, end), this.#checksum)
    this.#bytes += end - start
  }

  #end(duration: number): void {
    const key = `${this.#bytes}:${this.#checksum.toString(16)}`
    this.prefixes.push({ key, textBytes: this.#textBytes, cacheForMs: duration })
    if (duration > 0) this.asksForCaching = true
  }
}

/** Spans in order, each handed out once. */
class InOrder<S extends Span> {
  readonly #spans: readonly S[]
  #next = 0

  constructor(spans: readonly S[]) {
    this.#spans = spans
  }

  takeBefore(end: number): S[] {
    const first = this.#next
    while ((this.#spans[this.#next]?.start ?? end) < end) this.#next++
    return this.#spans.slice(first, this.#next)
  }
}

function isWithin(part: Span, at: number): boolean {
  return at >= part.start && at < part.end
}

function totalBytes(spans: readonly Span[]): number {
  return spans.reduce((sum, { start, end }) => sum + end - start, 0)
}
