// The provider's batches as calls and answers. Owns: paths, documents, what an answer means for the next step.
// Must not know: when to call, or what becomes of payloads. Source: the Message Batches API reference.
import { z } from 'zod'
import type { EpochMs } from '../../core/clock.ts'
import { verdictOn } from '../../providers/anthropic/verdict.ts'
import { instantOf } from '../../providers/headers.ts'
import type { Headers } from '../../providers/provider.ts'
import type { Failed } from '../payload.ts'
import { linesOf } from './lines.ts'

export interface CallAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Headers
  /** Read to its end, or left; never both at once. Throws when the connection breaks. */
  readonly body: AsyncIterable<Uint8Array>
}

/**
 * Calls the provider, with whatever credential it has: through a gate or directly. Rejects when there was no
 * answer, and when the signal is aborted.
 */
export type Call = (
  method: 'GET' | 'POST',
  path: string,
  body: Buffer | null,
  signal?: AbortSignal,
) => Promise<CallAnswer>

export type Reply<T> =
  | { readonly kind: 'done'; readonly value: T }
  | Later
  /** Asking again changes nothing. */
  | { readonly kind: 'refused'; readonly error: Failed['error'] }

/** Something is in the way for now. */
export interface Later {
  readonly kind: 'later'
  /** Floor of the next try, or null where nothing was said. */
  readonly retryAfterMs: number | null
  /** The provider's queue is full, or too much was asked: it will have room. */
  readonly isRateLimited: boolean
  /** Whether it may have happened all the same. */
  readonly isUncertain: boolean
  readonly error: Failed['error']
}

const count = z.int().nonnegative()

const batchSchema = z.object({
  id: z.string().regex(/^[\w-]{1,128}$/),
  processing_status: z.string(),
  created_at: z.string(),
  request_counts: z.object({
    processing: count,
    succeeded: count,
    errored: count,
    canceled: count,
    expired: count,
  }),
})

const listSchema = z.object({
  data: z.array(batchSchema),
  has_more: z.boolean(),
  last_id: z.string().nullish(),
})

export type BatchDocument = z.output<typeof batchSchema>

export const requestsIn = ({ request_counts: counts }: BatchDocument): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0)

const errorSchema = z.object({ error: z.object({ type: z.string(), message: z.string() }) })

const PATH = '/v1/messages/batches'
const PAGE_SIZE = 100
const MOST_PAGES = 100
const MOST_DOCUMENT_BYTES = 4 * 1024 * 1024
const LONGEST_MESSAGE = 1000

/** After these nobody knows whether the provider did what it was asked. The others say that it did not. */
const UNCERTAIN = new Set([408, 500, 502, 503, 504])

export class BatchApi {
  readonly #call: Call

  constructor(call: Call) {
    this.#call = call
  }

  /** Never aborted: nobody would know whether the batch exists. */
  create(body: Buffer): Promise<Reply<BatchDocument>> {
    return this.#ask('POST', PATH, { schema: batchSchema, body })
  }

  look(id: string, signal: AbortSignal | undefined): Promise<Reply<BatchDocument>> {
    return this.#ask('GET', `${PATH}/${encodeURIComponent(id)}`, { schema: batchSchema, signal })
  }

  /** The batches that were created at an instant or later, newest first. */
  async createdSince(
    at: EpochMs,
    signal: AbortSignal | undefined,
  ): Promise<Reply<readonly BatchDocument[]>> {
    const found: BatchDocument[] = []
    let query = `?limit=${PAGE_SIZE}`
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      const reply = await this.#ask('GET', PATH + query, { schema: listSchema, signal })
      if (reply.kind !== 'done') return reply
      const { data, has_more, last_id } = reply.value
      const recent = data.filter((batch) => (instantOf(batch.created_at) ?? 0) >= at)
      found.push(...recent)
      if (!has_more || !last_id || recent.length < data.length)
        return { kind: 'done', value: found }
      query = `?limit=${PAGE_SIZE}&after_id=${encodeURIComponent(last_id)}`
    }
    return noAnswer(
      new Error(`There are more than ${MOST_PAGES * PAGE_SIZE} batches to look through.`),
    )
  }

  /** The results as they come, a line each. Where they break off, that is the last one. */
  async results(
    id: string,
    signal: AbortSignal | undefined,
  ): Promise<Reply<AsyncIterable<string | Later>>> {
    try {
      const answer = await this.#call(
        'GET',
        `${PATH}/${encodeURIComponent(id)}/results`,
        null,
        signal,
      )
      const text = answer.status < 300 ? '' : await textOf(answer.body)
      return replyOf(answer, text, () => linesOrTrouble(answer.body))
    } catch (cause) {
      signal?.throwIfAborted()
      return noAnswer(cause)
    }
  }

  async #ask<T>(
    method: 'GET' | 'POST',
    path: string,
    how: {
      readonly schema: z.ZodType<T>
      readonly body?: Buffer
      readonly signal?: AbortSignal | undefined
    },
  ): Promise<Reply<T>> {
    const { schema, body = null, signal } = how
    try {
      const answer = await this.#call(method, path, body, signal)
      const text = await textOf(answer.body)
      return replyOf(answer, text, () => schema.parse(JSON.parse(text)))
    } catch (cause) {
      signal?.throwIfAborted()
      return noAnswer(cause)
    }
  }
}

/** Throws what `read` throws. */
function replyOf<T>({ status, headers }: CallAnswer, text: string, read: () => T): Reply<T> {
  const verdict = verdictOn(status, headers, text)
  if (verdict.kind === 'passed' && status < 300) return { kind: 'done', value: read() }
  if (verdict.kind === 'passed') throw new Error(`The answer is one of HTTP status ${status}.`)
  const isRetryable = verdict.kind !== 'final'
  const error = { status, ...errorIn(text, status), isRetryable }
  if (verdict.kind === 'final') return { kind: 'refused', error }
  return {
    kind: 'later',
    retryAfterMs: verdict.retryAfterMs,
    isRateLimited: verdict.kind === 'rate_limited',
    isUncertain: UNCERTAIN.has(status),
    error,
  }
}

/** Neither an answer that could be read to its end nor a refusal. */
function noAnswer(cause: unknown): Later {
  const message = cause instanceof Error ? cause.message : String(cause)
  return later({
    status: null,
    type: 'no_answer',
    message: message.slice(0, LONGEST_MESSAGE),
    isRetryable: true,
  })
}

/** It may be otherwise the next time. */
export const later = (error: Failed['error']): Later => ({
  kind: 'later',
  retryAfterMs: null,
  isRateLimited: false,
  isUncertain: true,
  error,
})

function errorIn(
  text: string,
  status: number,
): { readonly type: string; readonly message: string } {
  const otherwise = { type: `http_${status}`, message: text.slice(0, LONGEST_MESSAGE) }
  try {
    return errorSchema.safeParse(JSON.parse(text)).data?.error ?? otherwise
  } catch {
    return otherwise
  }
}

async function* linesOrTrouble(body: AsyncIterable<Uint8Array>): AsyncGenerator<string | Later> {
  try {
    yield* linesOf(body)
  } catch (cause) {
    yield noAnswer(cause)
  }
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MOST_DOCUMENT_BYTES) throw new Error('The answer is too long.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
