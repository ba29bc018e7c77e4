// One request of a batch: its shape, what becomes of it, and the line that says so. Source: the Message
// Batches API reference. Must not know: batches, time.
import { z } from 'zod'
import { type ApiError, errorDocument, INTERNAL } from './api-error.ts'
import type { Account, EmulatedProvider } from './emulated-provider.ts'
import { type BatchFault, type FaultPlan, isBatchFault } from './faults.ts'
import { readMarker } from './marker.ts'
import { type MessageHead, type StopReason, wholeMessage } from './message-events.ts'
import { messagesBody } from './messages-request.ts'
import { modelClassOf } from './model-class.ts'
import { cutOutput, drawOutputTokens, outputText } from './output.ts'
import { readPrompt } from './prompt-reader.ts'
import { describeIssues } from './request-body.ts'
import type { EmulatorSettings } from './settings.ts'

const MOST_REQUESTS = 100_000

const batchedRequest = z.object({
  custom_id: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, {
    error: "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
  }),
  /** Looked into only when the request's turn comes. */
  params: z.looseObject({}),
})

/** What creates a batch. */
export const batchBody = z.object({
  requests: z
    .array(batchedRequest)
    .min(1)
    .max(MOST_REQUESTS)
    .refine((requests) => new Set(requests.map((it) => it.custom_id)).size === requests.length, {
      error: 'custom_id must be unique for each request',
    }),
})

/** A batch neither streams nor warms a cache. */
const batchedParams = messagesBody.extend({
  max_tokens: z.number().int().min(1),
  stream: z.literal(false).optional(),
})

export interface BatchedRequest {
  readonly customId: string
  readonly params: object
  /** The length that the request's own text asks for, or null. */
  readonly outputTokens: number | null
  readonly fault: BatchFault | null
}

export type BatchOutcome =
  | {
      readonly type: 'succeeded'
      readonly head: MessageHead
      readonly outputTokens: number
      readonly stopReason: StopReason
    }
  | { readonly type: 'errored'; readonly error: ApiError; readonly requestId: string }
  | { readonly type: 'canceled' }
  | { readonly type: 'expired' }

export interface BatchResult {
  readonly customId: string
  readonly outcome: BatchOutcome
}

/** What it takes to answer: a part of the running emulator. */
export interface Answering {
  readonly settings: EmulatorSettings
  readonly random: () => number
  readonly provider: EmulatedProvider
  newId(): string
}

export function planRequest(
  { custom_id, params }: z.output<typeof batchedRequest>,
  faults: FaultPlan,
): BatchedRequest {
  const { outputTokens, fault } = readMarker(JSON.stringify(params))
  const drawn = faults.drawForBatch()
  const named = fault !== null && fault !== 'none' && isBatchFault(fault) ? fault : drawn
  return { customId: custom_id, params, outputTokens, fault: fault === 'none' ? null : named }
}

/** The request's turn has come. */
export function processRequest(
  request: BatchedRequest,
  account: Account,
  emulator: Answering,
): BatchOutcome {
  const { settings, random, provider } = emulator
  const errored = (error: ApiError) =>
    ({ type: 'errored', error, requestId: `req_01${emulator.newId()}` }) as const
  if (request.fault === 'batch-error') return errored(INTERNAL)
  const parsed = batchedParams.safeParse(request.params)
  if (!parsed.success) {
    return errored({ type: 'invalid_request_error', message: describeIssues(parsed.error) })
  }
  const { model, max_tokens } = parsed.data
  if (modelClassOf(model) === null) {
    return errored({ type: 'not_found_error', message: `model: ${model}` })
  }
  const wanted = request.outputTokens ?? drawOutputTokens(settings.output, random)
  const answer = cutOutput(wanted, max_tokens)
  const { tokens: promptTokens, prefixes } = readPrompt(parsed.data)
  const arrival = { ...account, model, promptTokens, prefixes }
  const usage = provider.answerInBatch(arrival, answer.outputTokens)
  const head = { id: `msg_01${emulator.newId()}`, model, usage, serviceTier: 'batch' } as const
  return { type: 'succeeded', head, ...answer }
}

/** A line of the results, with its end. */
export function resultLine({ customId, outcome }: BatchResult): string {
  return `${JSON.stringify({ custom_id: customId, result: shownOutcome(outcome) })}\n`
}

function shownOutcome(outcome: BatchOutcome): object {
  const { type } = outcome
  switch (type) {
    case 'succeeded': {
      const { head, outputTokens, stopReason } = outcome
      const text = outputText(0, outputTokens)
      return { type, message: wholeMessage(head, text, outputTokens, stopReason) }
    }
    case 'errored':
      return { type, error: errorDocument(outcome.error, outcome.requestId) }
    default:
      return { type }
  }
}
