// A payload as a call of the dispatcher, and what all calls of a fleet have. Owns: its bytes, its headers and
// its place in line. Must not know: when it is sent, or what comes of it.
import type { EpochMs } from '../core/clock.ts'
import type { Lane } from '../core/lane.ts'
import type { CallRequest } from '../dispatch/caller.ts'
import type { UpstreamBase } from '../dispatch/upstream.ts'
import { ANONYMOUS } from '../policy/subject.ts'
import { anthropic } from '../providers/anthropic/anthropic.ts'
import type { Operation } from '../providers/provider.ts'
import type { MessageParams } from './payload.ts'

export interface RequestTerms {
  readonly apiKey: string
  /** Null: where the provider's calls go. */
  readonly base: UpstreamBase | null
  readonly lane: Lane
  readonly flow: string
  readonly weight: number
}

/** Each time that it is sent it is another call, with an id of its own. */
export type MessageRequest = Omit<CallRequest, 'id'>

const API_VERSION = '2023-06-01'

/** A job waits for as long as it takes; stores want a number. */
const PATIENCE_MS = 365 * 86_400_000

const OPERATION = anthropic.match('POST', '/v1/messages', {})

/**
 * What is sent of a payload: its answer comes as one document, whatever `stream` says.
 *
 * @throws where it cannot be written as JSON
 */
export function bodyOf(params: MessageParams): Buffer {
  // Undefined is left out.
  return Buffer.from(JSON.stringify({ ...params, stream: undefined }, withoutCode))
}

/** What JSON would leave out in silence. */
function withoutCode(key: string, value: unknown): unknown {
  if (typeof value !== 'function' && typeof value !== 'symbol') return value
  throw new TypeError(`${key} is a ${typeof value}`)
}

/** @param body of `bodyOf` */
export function messageRequest(body: Buffer, terms: RequestTerms, now: EpochMs): MessageRequest {
  if (!OPERATION) throw new Error('the provider knows no messages')
  return callRequest({ operation: OPERATION, method: 'POST', body, more: {} }, terms, now)
}

interface Asked {
  readonly operation: Operation
  readonly method: string
  readonly body: CallRequest['body']
  /** Headers of its own. */
  readonly more: Readonly<Record<string, string>>
}

/** A call of a fleet. */
export function callRequest(
  { operation, method, body, more }: Asked,
  terms: RequestTerms,
  now: EpochMs,
): MessageRequest {
  const { apiKey, base, lane, flow, weight } = terms
  const headers = {
    'content-type': 'application/json',
    ...more,
    'anthropic-version': API_VERSION,
    'x-api-key': apiKey,
    // Another gate may stand there: it hears what this one was told.
    ...(base && { 'x-headgate-lane': lane, 'x-headgate-flow': flow }),
  }
  return {
    provider: anthropic,
    operation,
    method,
    headers,
    forwardHeaders: [['accept-encoding', 'identity'], ...Object.entries(headers)].flat(),
    base,
    body,
    identity: ANONYMOUS,
    believesBody: false,
    flow,
    lane,
    weight,
    deadlineAt: now + PATIENCE_MS,
    longestPlainWaitMs: Number.POSITIVE_INFINITY,
    waitsForLedger: true,
  }
}
