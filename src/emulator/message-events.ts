// The bytes of an answer, whole and streamed. Source: the Messages API and its streaming reference.
// Must not know: when they are sent.
import type { PromptUsage } from './prompt-cache.ts'

/** Who answers what. */
export interface MessageHead {
  readonly id: string
  readonly model: string
  readonly usage: PromptUsage
  readonly serviceTier: 'standard' | 'batch'
}

export type StopReason = 'end_turn' | 'max_tokens'

export function wholeMessage(
  head: MessageHead,
  text: string,
  outputTokens: number,
  stopReason: StopReason,
) {
  const content = text === '' ? [] : [{ type: 'text', text }]
  return { ...emptyMessage(head, outputTokens), content, stop_reason: stopReason }
}

/** The events before the first delta. */
export function openingEvents(head: MessageHead): string {
  return (
    event('message_start', { message: emptyMessage(head, 1) }) +
    event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }) +
    event('ping', {})
  )
}

export function deltaEvent(text: string): string {
  return event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
}

/** The events after the last delta. */
export function closingEvents(
  head: MessageHead,
  outputTokens: number,
  stopReason: StopReason,
): string {
  return (
    event('content_block_stop', { index: 0 }) +
    event('message_delta', {
      delta: { stop_reason: stopReason, stop_sequence: null },
      usage: { ...inputUsage(head.usage), output_tokens: outputTokens },
    }) +
    event('message_stop', {})
  )
}

/** The event by which a stream that has begun says that it failed. `body` is an error's. */
export function errorEvent(body: string): string {
  return `event: error\ndata: ${body}\n\n`
}

function event(type: string, fields: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
}

function emptyMessage({ id, model, usage, serviceTier }: MessageHead, outputTokens: number) {
  const hourTokens = usage.cacheWriteHourTokens
  return {
    id,
    type: 'message',
    role: 'assistant',
    model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: {
      ...inputUsage(usage),
      cache_creation: {
        ephemeral_5m_input_tokens: usage.cacheWriteTokens - hourTokens,
        ephemeral_1h_input_tokens: hourTokens,
      },
      output_tokens: outputTokens,
      service_tier: serviceTier,
    },
  }
}

function inputUsage(usage: PromptUsage) {
  return {
    input_tokens: usage.inputTokens,
    cache_creation_input_tokens: usage.cacheWriteTokens,
    cache_read_input_tokens: usage.cacheReadTokens,
  }
}
