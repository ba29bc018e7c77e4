// The usage that an answer reports, read as it passes. Must not know: what it is charged to.
// Source: Anthropic's "Streaming Messages" page and the types of its SDK.
import type { EventSourceMessage } from 'eventsource-parser'
import { z } from 'zod'
import type { Usage } from '../../core/prompt.ts'
import { headerText } from '../headers.ts'
import { NOT_JSON, skipValue, skipWhitespace, walkMembers } from '../json-scan.ts'
import type { Headers, UsageTap } from '../provider.ts'
import { SseReader } from '../sse-reader.ts'
import { mergeUsage, type ReportedUsage, totalUsage } from './reported-usage.ts'

/** No model writes a longer answer; a longer body is not kept to look for usage in it. */
const MOST_ANSWER_BYTES = 8 * 1024 * 1024

/** Since Claude 4.7; earlier models write some 30 % fewer tokens for the same text. */
const CHARACTERS_PER_TOKEN = 3

/** What stands around the text in each delta of a stream. */
const DELTA_FRAME_CHARACTERS =
  '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}'.length

/** Usage can be read from a stream and from a JSON answer, unless it is compressed. */
export function openUsageTap(headers: Headers): UsageTap {
  const encoding = headerText(headers, 'content-encoding') ?? 'identity'
  const type = headerText(headers, 'content-type') ?? ''
  if (encoding !== 'identity') return SILENT_TAP
  if (type.startsWith('text/event-stream')) return new StreamTap()
  return type.startsWith('application/json') ? new MessageTap() : SILENT_TAP
}

/** For answers that report nothing that could be read. It has no state, so one serves all. */
const SILENT_TAP: UsageTap = {
  read: () => {},
  end: () => {},
  usage: null,
  producedTokens: 0,
  isComplete: false,
  hasFailed: false,
}

/** A whole JSON answer: its usage is known at its end. */
class MessageTap implements UsageTap {
  readonly producedTokens = 0
  readonly hasFailed = false
  usage: Usage | null = null
  #chunks: Uint8Array[] = []
  #bytes = 0

  get isComplete(): boolean {
    return this.usage !== null
  }

  read(chunk: Uint8Array): void {
    this.#bytes += chunk.length
    if (this.#bytes <= MOST_ANSWER_BYTES) this.#chunks.push(chunk)
    else this.#chunks = []
  }

  end(): void {
    const reported = mergeUsage(null, usageMember(Buffer.concat(this.#chunks)))
    this.#chunks = []
    if (reported) this.usage = totalUsage(reported)
  }
}

/** The value of the top-level `usage`, found without parsing the answer around it. */
function usageMember(answer: Buffer): unknown {
  let usage = { start: 0, end: 0 }
  const end = walkMembers(answer, skipWhitespace(answer, 0), ['usage'], (key, valueAt) => {
    const valueEnd = skipValue(answer, valueAt)
    if (key) usage = { start: valueAt, end: valueEnd }
    return valueEnd
  })
  return end === NOT_JSON ? undefined : parseJson(answer.toString('utf8', usage.start, usage.end))
}

const messageStart = z.object({ message: z.object({ usage: z.unknown() }) })

const messageDelta = z.object({
  usage: z.unknown(),
  delta: z.object({ stop_reason: z.unknown() }).nullish().catch(null),
})

/** A stream: input is known from its first event on, output counts up, the last delta has it all. */
class StreamTap implements UsageTap {
  isComplete = false
  hasFailed = false
  usage: Usage | null = null
  #reported: ReportedUsage | null = null
  #producedCharacters = 0
  readonly #reader = new SseReader((event) => this.#take(event))

  get producedTokens(): number {
    return Math.ceil(this.#producedCharacters / CHARACTERS_PER_TOKEN)
  }

  read(chunk: Uint8Array): void {
    this.#reader.read(chunk)
  }

  end(): void {}

  #take({ event, data }: EventSourceMessage): void {
    if (event === 'content_block_delta') this.#producedCharacters += producedCharacters(data)
    else if (event === 'message_start') this.#start(data)
    else if (event === 'message_delta') this.#update(data)
    else if (event === 'message_stop') this.isComplete = this.usage !== null
    else if (event === 'error') this.hasFailed = true
  }

  #start(data: string): void {
    this.#merge(messageStart.safeParse(parseJson(data)).data?.message.usage)
  }

  #update(data: string): void {
    const update = messageDelta.safeParse(parseJson(data)).data
    this.#merge(update?.usage)
    if (typeof update?.delta?.stop_reason === 'string') this.isComplete = this.usage !== null
  }

  #merge(usage: unknown): void {
    this.#reported = mergeUsage(this.#reported, usage)
    if (this.#reported) this.usage = totalUsage(this.#reported)
  }
}

/** Not parsed: there are thousands of these. A signature is long and was not generated as tokens. */
function producedCharacters(data: string): number {
  if (data.includes('"signature_delta"')) return 0
  return Math.max(0, data.length - DELTA_FRAME_CHARACTERS)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
