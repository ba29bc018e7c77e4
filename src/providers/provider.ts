// The contract of a provider: everything that Headgate knows of one API, and nothing else.
// Owns: the vocabulary between dispatch and a provider. Must not know: queues, sockets, stores.
import type { ObservedLimit } from '../core/observation.ts'
import type { PromptShape, Usage } from '../core/prompt.ts'
import type { Refusal } from '../core/refusal.ts'

/** Header names in lower case, as node:http and undici give them. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** What a method and path mean to a provider. */
export interface Operation {
  /** Which of the provider's separate pools of limits the call draws on. */
  readonly pool: 'model' | 'count_tokens' | 'batches' | 'other'
  /** The path and query to send upstream. */
  readonly upstreamPath: string
  /** `read` bodies are described, may be sent again and are bounded; `stream` bodies pass through. */
  readonly body: 'none' | 'read' | 'stream'
  /** The provider's own maximum. */
  readonly maxBodyBytes: number
  /** Whether it is known to run no model: not merely a path that is not known. */
  readonly isHarmless: boolean
}

/** What a request says of itself. */
export interface Description {
  readonly model: string | null
  /** The last part of the resource's name: the group of models that shares limits, or the pool. */
  readonly limitGroup: string
  readonly stream: boolean
  readonly prompt: PromptShape
  /** Of the usual price, as it asks for: by where and how fast it is to be worked on. */
  readonly pricePercent: number
  /** Whom the request says that it is made for, or null: only callers that are trusted are believed. */
  readonly user: string | null
  /** The conversation or agent run that the request belongs to, or null where it does not say. */
  readonly session: string | null
}

/** What a response's headers say of limits. */
export interface LimitReport {
  /** Whose limits they are: credentials with one organization share them. Null when not said. */
  readonly organization: string | null
  readonly limits: readonly ObservedLimit[]
}

/**
 * What an answer means for the request. `passed`: it is the answer. `rate_limited`: wait, then send
 * again. `overloaded`: the provider's trouble, send again within the retry budget. `final`: an error
 * that waiting does not mend.
 */
export type Verdict =
  | { readonly kind: 'passed' }
  | { readonly kind: 'rate_limited'; readonly retryAfterMs: number | null }
  | { readonly kind: 'overloaded'; readonly retryAfterMs: number | null }
  | { readonly kind: 'final' }

/** Reads usage as an answer passes by. Keeps no more than it needs, and never fails. */
export interface UsageTap {
  /** The next bytes of the answer's body, as they came. */
  read(chunk: Uint8Array): void
  end(): void
  /** What the answer has reported so far, or null: input is known from a stream's first event on. */
  readonly usage: Usage | null
  /** Output tokens seen so far, estimated from the bytes of a stream; 0 when not a stream. */
  readonly producedTokens: number
  /** True once the answer has reported its whole usage. */
  readonly isComplete: boolean
  /** True once a stream has carried the provider's own error event. */
  readonly hasFailed: boolean
}

/** A refusal in the provider's dialect. */
export interface RenderedRefusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Provider {
  readonly name: string
  readonly defaultBaseUrl: string
  /** The operation that a request means, or null when the path is not this provider's. */
  match(method: string, path: string, headers: Headers): Operation | null
  /** Never throws, whatever the bytes: a body that is not JSON is described as empty. */
  describe(operation: Operation, headers: Headers, body: Buffer | null): Description
  /**
   * Whether the provider reads nothing but what was sent: tools that it runs itself find more to read.
   *
   * @param body JSON, unpacked
   */
  readsOnlyRequest(body: Buffer): boolean
  /** The same request for another model, unpacked; null where the body cannot be rewritten. */
  withModel(body: Buffer, headers: Headers, model: string): Buffer | null
  /** The secret that a request is charged to, for fingerprinting; null when it carries none. */
  credential(headers: Headers): string | null
  /** What the headers of any response say of limits. */
  observe(headers: Headers): LimitReport
  /** What a status means; `body` is the start of an error's body, empty for a success. */
  classify(status: number, headers: Headers, body: string): Verdict
  openUsageTap(headers: Headers): UsageTap
  /** The counted part of a usage on a limit group: input as limits count it. */
  countedInput(limitGroup: string, usage: Usage): number
  renderRefusal(refusal: Refusal, requestId: string): RenderedRefusal
  /** A refusal for a stream that has begun: its error event. */
  renderStreamRefusal(refusal: Refusal, requestId: string): string
  /** The provider's own error, given as its body, for a stream that has begun. */
  wrapStreamError(body: string): string
  /** What a waiting stream is sent that its clients count as life. */
  readonly streamKeepalive: string
}
