// One payload on its way through the gate: it is sent, and its answer gathered. Owns: the answer's bytes, and
// whether it still stands in line. Must not know: what the answer says, or what becomes of a failure.
import type { Refusal } from '../core/refusal.ts'
import type { Caller } from '../dispatch/caller.ts'
import type { GovernedCall } from '../dispatch/governed-call.ts'
import type { OwnHeaders } from '../dispatch/limit-headers.ts'
import type { Again } from '../dispatch/tries.ts'
import type { Headers } from '../providers/provider.ts'

export type Ended =
  | {
      readonly kind: 'answered'
      readonly status: number
      readonly headers: Headers
      readonly body: Buffer
      readonly queuedMs: number
      /** Where another model than the one asked for has answered. */
      readonly model: string | null
    }
  /** There was no answer. */
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** The answer broke off, or was longer than any answer is. */
  | { readonly kind: 'broke_off'; readonly status: number; readonly refusal: Refusal }
  /** Nobody wanted it any more. `isUnpaid`: it was under way, and may cost what was set aside. */
  | { readonly kind: 'left'; readonly isUnpaid: boolean }

export interface SendingOptions {
  /** It stands in line, or again. */
  readonly onWaiting: (sending: Sending) => void
  /** What was sent may have cost something, and is sent again. */
  readonly onLost: (sending: Sending) => void
}

/** Longer than any message: 128,000 tokens of output have a megabyte or two. */
const MOST_BYTES = 32 * 1024 * 1024

const TOO_LONG: Refusal = {
  reason: 'upstream_broken',
  message: `The answer was broken off after ${MOST_BYTES} bytes.`,
  retryAfterMs: null,
}

export class Sending implements Caller {
  readonly #options: SendingOptions
  readonly #ended = Promise.withResolvers<Ended>()
  #call: GovernedCall | null = null
  /** How often it had been sent when it last began to wait. */
  #sentBefore = 0
  /** Why it waits to be sent once more; null before it was sent. */
  #after: Again['reason'] | null = null
  #status = 0
  #headers: Headers = {}
  #own: OwnHeaders = {}
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(options: SendingOptions) {
    this.#options = options
  }

  attach(call: GovernedCall): void {
    this.#call = call
  }

  get ended(): Promise<Ended> {
    return this.#ended.promise
  }

  /** How often it was sent. */
  get attempts(): number {
    return this.#call?.tries.count ?? 0
  }

  /** Whether it waits for its turn. */
  get isStanding(): boolean {
    return this.attempts === this.#sentBefore
  }

  /** Whether it stands aside, after trouble, until the provider may be asked for it again. */
  get isAside(): boolean {
    return this.isStanding && (this.#after === 'overloaded' || this.#after === 'connection')
  }

  /** Whether a limit of the provider's has refused it when it was sent last. */
  get isRefused(): boolean {
    return this.isStanding && this.#after === 'rate_limited'
  }

  /** Null before it has a place. */
  get resource(): string | null {
    return this.#call?.line.resource ?? null
  }

  waiting(_own: OwnHeaders, after?: Again['reason']): void {
    this.#sentBefore = this.attempts
    this.#after = after ?? null
    this.#options.onWaiting(this)
  }

  lost(): void {
    this.#options.onLost(this)
  }

  respond(status: number, headers: Headers, own: OwnHeaders): void {
    this.#status = status
    this.#headers = headers
    this.#own = own
  }

  write(chunk: Buffer): boolean {
    this.#bytes += chunk.length
    if (this.#bytes <= MOST_BYTES) {
      this.#chunks.push(chunk)
      return true
    }
    this.#chunks = []
    this.#end({ kind: 'broke_off', status: this.#status, refusal: TOO_LONG })
    this.#call?.abandon()
    return true
  }

  end(): void {
    this.#end({
      kind: 'answered',
      status: this.#status,
      headers: this.#headers,
      body: Buffer.concat(this.#chunks),
      queuedMs: Number(this.#own['x-headgate-queued-ms'] ?? 0),
      model: this.#own['x-headgate-model'] ?? null,
    })
  }

  refuse(refusal: Refusal): void {
    this.#end({ kind: 'refused', refusal })
  }

  fail(refusal: Refusal): void {
    this.#end({ kind: 'broke_off', status: this.#status, refusal })
  }

  /** Leaves the line, or ends the request, at once. @param isPaid whether what is under way is counted already */
  leave({ isPaid = false } = {}): void {
    const isUnpaid = !isPaid && !this.isStanding
    this.#call?.abandon()
    this.#end({ kind: 'left', isUnpaid })
  }

  #end(ended: Ended): void {
    this.#ended.resolve(ended)
  }
}
