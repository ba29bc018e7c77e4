// Takes prompts through a worker's gate, one by one. Owns: that no prompt is sent again once a sending of it may
// have cost something, and how many are under way at once. Must not know: the queue, or whose prompts they are.
import { randomUUID } from 'node:crypto'
import type { Dispatcher } from '../../dispatch/dispatcher.ts'
import { Ceiling } from '../ceiling.ts'
import type { Choice } from '../in-flight.ts'
import { bodyOf, messageRequest, type RequestTerms } from '../message-request.ts'
import { LOST, outcomeOf } from '../outcome.ts'
import type { MessageParams } from '../payload.ts'
import { costOfOutcome, priceTag } from '../price-tag.ts'
import { Sending } from '../sending.ts'
import { Task } from '../task.ts'
import { lookAt } from '../window-watch.ts'
import type { Outcome } from './entry.ts'

export interface CourierOptions {
  readonly dispatcher: Dispatcher
  readonly terms: RequestTerms
  /** Null: as many as rates and latencies ask for. */
  readonly maxInFlight: number | null
  readonly onChange: (choice: Choice) => void
}

const UNTOUCHED: Outcome = { kind: 'returned', why: null }

export class Courier {
  readonly #options: CourierOptions
  readonly #ceiling: Ceiling
  readonly #sendings = new Set<Sending>()
  #isStopping = false

  constructor(options: CourierOptions) {
    const { dispatcher, maxInFlight, onChange } = options
    this.#options = options
    this.#ceiling = new Ceiling({
      maxInFlight,
      clock: dispatcher.clock,
      look: (resource) => lookAt(dispatcher, resource),
      onChange,
    })
  }

  /** How many it should have at once. */
  get atOnce(): number {
    return this.#ceiling.choice.chosen
  }

  /** Its outcome; null where it was broken off under way, so that nobody knows what it has cost. */
  async send(params: MessageParams): Promise<Outcome | null> {
    const { dispatcher, terms } = this.#options
    if (this.#isStopping) return UNTOUCHED
    const startedAt = dispatcher.clock.now()
    const request = messageRequest(bodyOf(params), terms, startedAt)
    const { worstNanoUsd, pricePercent } = priceTag(request, dispatcher.rules, startedAt)
    const { model } = params
    const task = new Task({
      id: '',
      index: 0,
      model,
      request,
      worstNanoUsd,
      pricePercent,
      takenAt: startedAt,
    })
    let isLost = false
    const sending = new Sending({
      onWaiting: () => this.#leaveIfStopping(sending),
      onLost: () => {
        isLost = true
        // Another sending is not paid for.
        sending.leave({ isPaid: true })
      },
    })
    this.#sendings.add(sending)
    sending.attach(dispatcher.start({ ...request, id: `hg_${randomUUID()}` }, sending))
    const ended = await sending.ended
    this.#sendings.delete(sending)
    const { attempts, resource } = sending
    if (ended.kind === 'left') {
      if (isLost) return failed(LOST, null, { attempts, tokens: null, costNanoUsd: worstNanoUsd })
      return ended.isUnpaid ? null : UNTOUCHED
    }
    const outcome = outcomeOf(ended, request.provider)
    const now = dispatcher.clock.now()
    const costNanoUsd = costOfOutcome(task, outcome, dispatcher.rules.prices, now)
    if (outcome.kind === 'failure')
      return failed(outcome.error, outcome.retryAfterMs, { attempts, tokens: null, costNanoUsd })
    const { usage } = outcome
    const { provider } = request
    const latencyMs = now - startedAt - outcome.queuedMs
    if (usage && resource !== null)
      dispatcher.follow(this.#ceiling.record({ provider, resource, latencyMs, usage }))
    if (usage) task.use(usage)
    const { tokens } = task.answered(outcome.response, now)
    return { kind: 'answered', response: outcome.response, attempts, tokens, costNanoUsd }
  }

  /** Nothing more is sent: what stands in line leaves it, untouched. */
  stop(): void {
    this.#isStopping = true
    for (const sending of [...this.#sendings]) if (sending.isStanding) sending.leave()
  }

  /** What is under way is broken off too. */
  abort(): void {
    this.#isStopping = true
    for (const sending of [...this.#sendings]) sending.leave()
  }

  /** In the midst of a step of the gate's, which is to be finished first. */
  #leaveIfStopping(sending: Sending): void {
    if (this.#isStopping) queueMicrotask(() => sending.isStanding && sending.leave())
  }
}

type FailedOutcome = Extract<Outcome, { kind: 'failed' }>

const failed = (
  error: FailedOutcome['error'],
  retryAfterMs: number | null,
  effort: Pick<FailedOutcome, 'attempts' | 'tokens' | 'costNanoUsd'>,
): Outcome => ({ kind: 'failed', error, retryAfterMs, ...effort })
