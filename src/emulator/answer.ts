// One admitted answer on its way to its client, until the last byte or until the client has gone.
// Owns: charging what is generated as it is, and playing out a fault. Must not know: limits' rules.
import type { Clock } from '../core/clock.ts'
import { errorBody, OVERLOADED } from './api-error.ts'
import type { AdmittedCall } from './emulated-provider.ts'
import type { Exchange } from './exchange.ts'
import type { AnswerFault } from './faults.ts'
import { Generation, type Pace } from './generation.ts'
import {
  closingEvents,
  deltaEvent,
  errorEvent,
  type MessageHead,
  openingEvents,
  type StopReason,
  wholeMessage,
} from './message-events.ts'
import { outputText } from './output.ts'

export interface AnswerPlan {
  /** How much is generated, up to the end or to the fault that strikes on the way. */
  readonly outputTokens: number
  readonly stopReason: StopReason
  readonly fault: AnswerFault | null
}

export interface AnswerParts {
  readonly exchange: Exchange
  readonly call: AdmittedCall
  readonly head: MessageHead
  readonly plan: AnswerPlan
  readonly isStream: boolean
  /** The limit headers at the moment of asking. */
  readonly limitHeaders: () => Record<string, string>
}

export class Answer {
  readonly #parts: AnswerParts
  #generation: Generation | null = null
  #sentTokens = 0

  constructor(parts: AnswerParts) {
    this.#parts = parts
  }

  start(clock: Clock, pace: Pace): void {
    const { exchange, call, plan } = this.#parts
    const { response } = exchange
    // Emitted once on every path: answered, reset, or left by the client.
    response.once('close', () => {
      this.#generation?.stop()
      call.ended()
    })
    if (plan.fault === 'hang') return
    this.#generation = new Generation(clock, pace, plan.outputTokens, {
      begun: () => this.#begin(),
      generated: (tokens) => this.#pass(tokens),
      done: () => this.#finish(),
    })
    response.on('drain', () => this.#generation?.resume())
  }

  #begin(): void {
    const { exchange, call, head, plan, isStream } = this.#parts
    call.begun()
    if (plan.fault === 'garbage') {
      exchange.begin(200, 'application/json', this.#parts.limitHeaders())
      exchange.response.end('<html>\u0000{"type":"mess')
    } else if (isStream) {
      exchange.begin(200, 'text/event-stream; charset=utf-8', {
        'cache-control': 'no-cache',
        ...this.#parts.limitHeaders(),
      })
      exchange.response.write(openingEvents(head))
    }
  }

  /** Returns false while the client reads too slowly. */
  #pass(tokens: number): boolean {
    const { exchange, call, plan, isStream } = this.#parts
    call.generated(tokens)
    const from = this.#sentTokens
    this.#sentTokens += tokens
    if (!isStream || plan.fault === 'garbage') return true
    return exchange.response.write(deltaEvent(outputText(from, this.#sentTokens)))
  }

  #finish(): void {
    // Before the last byte is sent: the client's next request must not find this one in flight.
    this.#parts.call.ended()
    const { fault } = this.#parts.plan
    if (fault === 'garbage') return
    if (fault === 'reset-mid-stream') this.#parts.exchange.reset()
    else if (this.#parts.isStream) this.#finishStream(fault)
    else this.#finishWhole(fault)
  }

  #finishStream(fault: AnswerFault | null): void {
    const { exchange, head, plan } = this.#parts
    exchange.response.end(
      fault === 'stream-error'
        ? errorEvent(errorBody(OVERLOADED, exchange.requestId))
        : closingEvents(head, plan.outputTokens, plan.stopReason),
    )
  }

  /** A whole answer whose stream would have failed is an error, since nothing has been sent. */
  #finishWhole(fault: AnswerFault | null): void {
    const { exchange, head, plan, limitHeaders } = this.#parts
    if (fault === 'stream-error') {
      exchange.error(OVERLOADED, limitHeaders())
      return
    }
    const text = outputText(0, plan.outputTokens)
    const message = wholeMessage(head, text, plan.outputTokens, plan.stopReason)
    exchange.json(200, message, limitHeaders())
  }
}
