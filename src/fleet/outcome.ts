// What the end of one sending means for its payload. Owns: the reason of a failure, and whether the same may
// succeed another time. Must not know: how often that is tried.
import { z } from 'zod'
import type { Usage } from '../core/prompt.ts'
import { REFUSALS, type Refusal } from '../core/refusal.ts'
import type { Provider } from '../providers/provider.ts'
import type { Failed } from './payload.ts'
import type { Ended } from './sending.ts'

export type Outcome =
  | {
      readonly kind: 'answer'
      readonly response: unknown
      /** Null where it says nothing of it. */
      readonly usage: Usage | null
      readonly queuedMs: number
      readonly model: string | null
    }
  | {
      readonly kind: 'failure'
      readonly error: Failed['error']
      readonly retryAfterMs: number | null
      /** Whether the provider may have worked for it. */
      readonly mayHaveCost: boolean
    }

const errorSchema = z.object({ error: z.object({ type: z.string(), message: z.string() }) })

const LONGEST_MESSAGE = 1000

/** Reasons of refusals that tell of a request which was sent. */
const WAS_SENT: ReadonlySet<string> = new Set(['upstream_broken', 'upstream_timeout'])

export function outcomeOf(ended: Exclude<Ended, { kind: 'left' }>, provider: Provider): Outcome {
  switch (ended.kind) {
    case 'refused':
      return refused(ended.refusal, null, WAS_SENT.has(ended.refusal.reason))
    case 'broke_off':
      return refused(ended.refusal, ended.status, true)
    default:
      return ended.status < 400 ? answerOf(ended, provider) : errorOf(ended, provider)
  }
}

function refused(
  { reason, message, retryAfterMs }: Refusal,
  status: number | null,
  mayHaveCost: boolean,
): Outcome {
  const error = { status, type: reason, message, isRetryable: REFUSALS[reason].retryable }
  return { kind: 'failure', error, retryAfterMs, mayHaveCost }
}

const JSON_TYPE = { 'content-type': 'application/json' }

const messageSchema = z.looseObject({ type: z.literal('message'), usage: z.unknown() })

type Answer = Extract<Ended, { kind: 'answered' }>

function answerOf({ status, body, queuedMs, model }: Answer, provider: Provider): Outcome {
  const response = parsed(body)
  const read = messageSchema.safeParse(response)
  if (status >= 300 || !read.success) {
    const message = `The answer is no message: ${excerpt(body)}`
    const error = { status, type: 'bad_answer', message, isRetryable: true }
    return { kind: 'failure', error, retryAfterMs: null, mayHaveCost: true }
  }
  // Of the answer's document nothing else: what passes a tap may be too long for it.
  const tap = provider.openUsageTap(JSON_TYPE)
  tap.read(Buffer.from(JSON.stringify({ usage: read.data.usage })))
  tap.end()
  return { kind: 'answer', response, usage: tap.usage, queuedMs, model }
}

function errorOf({ status, headers, body }: Answer, provider: Provider): Outcome {
  const verdict = provider.classify(status, headers, body.toString('utf8'))
  const isRetryable = verdict.kind === 'rate_limited' || verdict.kind === 'overloaded'
  const { type, message } = errorSchema.safeParse(parsed(body)).data?.error ?? {
    type: `http_${status}`,
    message: excerpt(body),
  }
  return {
    kind: 'failure',
    error: { status, type, message, isRetryable },
    retryAfterMs: isRetryable ? verdict.retryAfterMs : null,
    mayHaveCost: false,
  }
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}

const excerpt = (body: Buffer): string => body.toString('utf8', 0, LONGEST_MESSAGE)

/** The connection broke after it was sent, and it was not sent again. */
export const LOST: Failed['error'] = {
  status: null,
  type: 'upstream_broken',
  message: 'The connection broke before the answer.',
  isRetryable: true,
}

const STOPPED = 'The job stopped before this payload could be sent again'

/** It had failed before, and by then nothing was sent any more. */
export const NOT_SENT_AGAIN: Failed['error'] = {
  status: null,
  type: 'stopped',
  message: `${STOPPED}.`,
  isRetryable: true,
}

/** @param last what it had failed with; null where only the gate has heard of it */
export function notSentAgain(last: Failed['error'] | null): Failed['error'] {
  if (!last) return NOT_SENT_AGAIN
  const { status, type, message } = last
  return { ...NOT_SENT_AGAIN, status, message: `${STOPPED}, after ${type}: ${message}` }
}

/** A payload that cannot be sent at all. @param message a sentence */
export function failedUnsent(
  { id, index }: Pick<Failed, 'id' | 'index'>,
  type: string,
  message: string,
): Failed {
  const error = { status: null, type, message, isRetryable: false }
  const nothing = { latencyMs: 0, attempts: 0, tokens: null, costNanoUsd: 0, costUsd: 0 }
  return { kind: 'failed', id, index, error, ...nothing }
}
