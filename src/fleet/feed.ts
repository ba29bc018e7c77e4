// Payloads on their way from whoever has them into a job. Owns: when the next one is taken, and whether it goes
// alone or in a batch. Must not know: what becomes of it then.
import type { Intake, Taken } from './intake.ts'
import { messageRequest } from './message-request.ts'
import type { ModelGroups } from './model-groups.ts'
import { failedUnsent } from './outcome.ts'
import { priceTag } from './price-tag.ts'
import type { RunBatches } from './run-batches.ts'
import type { RunParts } from './run-parts.ts'
import { Task } from './task.ts'
import { notUnderCap } from './under-cap.ts'
import { WaitingPayloads } from './waiting-payloads.ts'

/** So much is taken and waits, so that others behind it need not. */
const MOST_WAITING = 1000
const MOST_WAITING_BYTES = 32 * 1024 * 1024

type TakenPayload = Extract<Taken, { kind: 'payload' }>

interface ForBatch {
  readonly taken: TakenPayload
  readonly worstNanoUsd: number
  readonly pricePercent: number
  readonly bytes: number
}

export interface FeedOptions {
  readonly intake: Intake
  readonly parts: RunParts
  readonly groups: ModelGroups
  readonly batches: RunBatches
}

export class Feed {
  readonly #options: FeedOptions
  readonly #forBatches: WaitingPayloads<ForBatch>

  constructor(options: FeedOptions) {
    const { changes, ending } = options.parts
    this.#options = options
    this.#forBatches = new WaitingPayloads({
      begin: (waiting) => this.#join(waiting),
      onBegun: () => changes.tell(),
      failed: (why) => ending.giveUp(why),
    })
  }

  /** Resolves when all are begun, or nothing more is to be. @throws what the source throws */
  async run(): Promise<void> {
    const { changes, ending } = this.#options.parts
    try {
      await this.#takeAll()
    } finally {
      await changes.until(() => ending.isStopping || this.#waiting.every(({ size }) => size === 0))
    }
  }

  /** Nothing more is wanted. Resolves when the source has done with what it was asked for. */
  close(): Promise<void> {
    return this.#options.intake.close()
  }

  async #takeAll(): Promise<void> {
    const { intake, parts } = this.#options
    const { changes, ending } = parts
    for (;;) {
      while (!ending.isStopping && !this.#hasRoom) await changes.next()
      if (ending.isStopping) return
      const taken = await intake.next()
      if (!taken || ending.isStopping) return
      if (taken.kind === 'bad') this.#refuse(taken, 'invalid_payload', taken.why)
      else await this.#place(taken)
    }
  }

  get #waiting(): readonly Pick<WaitingPayloads<Task>, 'size' | 'bytes'>[] {
    return [this.#forBatches, ...this.#options.groups.all.map(({ waiting }) => waiting)]
  }

  /** What nobody has read yet takes room as well. */
  get #hasRoom(): boolean {
    const { groups, parts } = this.#options
    const size = this.#waiting.reduce((sum, waiting) => sum + waiting.size, 0)
    const bytes = this.#waiting.reduce((sum, waiting) => sum + waiting.bytes, 0)
    const isBounded = size < MOST_WAITING && bytes < MOST_WAITING_BYTES
    return isBounded && groups.hasRoom && parts.results.size < groups.most
  }

  /** Payloads that are in no batch and have no answer, those that nobody has seen yet among them. */
  get #left(): number {
    const { groups, intake, parts } = this.#options
    const waiting = this.#waiting.reduce((sum, { size }) => sum + size, 0)
    const sent = groups.all.reduce((sum, { carrier }) => sum + carrier.open, 0)
    return Math.max((parts.options.count ?? 0) - intake.count, 0) + waiting + sent
  }

  async #place(taken: TakenPayload): Promise<void> {
    const { groups, batches, parts } = this.#options
    const { dispatcher, purse, terms } = parts.options
    const { id, index, model, body, withinMs } = taken
    const takenAt = dispatcher.clock.now()
    const request = messageRequest(body, terms, takenAt)
    const tag = priceTag(request, dispatcher.rules, takenAt)
    const { limitGroup, worstNanoUsd, worstInBatchNanoUsd: inBatch, pricePercent } = tag
    const problem = purse.isBounded ? notUnderCap(tag, model) : null
    const isCheaper = inBatch !== null && worstNanoUsd !== null && inBatch < worstNanoUsd
    if (problem) this.#refuse(taken, problem.type, problem.message)
    else if (
      isCheaper &&
      (await batches.takes({ request, limitGroup, withinMs, left: this.#left + 1 }))
    )
      this.#forBatches.add({ taken, worstNanoUsd: inBatch, pricePercent, bytes: body.length })
    else
      groups
        .of(limitGroup)
        .add(new Task({ id, index, model, request, worstNanoUsd, pricePercent, takenAt }))
  }

  async #join({ taken, worstNanoUsd, pricePercent }: ForBatch): Promise<void> {
    const { batches, parts } = this.#options
    const { id, index, body } = taken
    if (await parts.funds.setAside(worstNanoUsd))
      await batches.put({ id, index, body, worstNanoUsd, pricePercent })
  }

  #refuse({ id, index }: Taken, type: string, message: string): void {
    const { results, changes } = this.#options.parts
    results.add(failedUnsent({ id, index }, type, message))
    changes.tell()
  }
}
