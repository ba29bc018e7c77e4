// What results of batches do in the ledger. Owns: their events there, and how long results wait for these to be
// written. Must not know: how a batch is brought to its end, or how the ledger keeps anything.
import type { Clock } from '../../core/clock.ts'
import { canBeBooked } from '../../dispatch/call-accounts.ts'
import type { Ledger, UsageEvent } from '../../ledger/ledger.ts'
import type { Subject } from '../../policy/subject.ts'
import type { Charge } from './batch-result.ts'

/** A charge under the name that its request has in its batch: like no other's, and the same when it is read again. */
export interface NamedCharge extends Charge {
  readonly name: string
}

export interface BatchBooksOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  /** Who is charged. */
  readonly subject: () => Subject
  /** Nobody wants results any more. */
  readonly signal: AbortSignal
}

/** So long a ledger that is slow to write keeps results from whoever waits for them. */
const WRITES_WITHIN_MS = 10_000

export class BatchBooks {
  readonly #options: BatchBooksOptions

  constructor(options: BatchBooksOptions) {
    this.#options = options
  }

  /**
   * Resolves when the charges stand in the record, or cannot soon: a crash forgets what was not written. What is
   * told twice is charged once.
   */
  async write(charges: readonly NamedCharge[]): Promise<void> {
    const { ledger, clock, signal } = this.#options
    const subject = this.#options.subject()
    // What can never be written is told by the ledger itself.
    const writing = Promise.allSettled(
      charges.map((charge) => ledger.settle(eventOf(charge, subject))),
    )
    // No more is kept in memory than the calls of a process may leave there.
    const isFull = !canBeBooked(ledger, subject)
    if (signal.aborted || (!ledger.isAvailable && !isFull)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const end = (): void => resolve()
    const timer = isFull ? null : clock.schedule(clock.now() + WRITES_WITHIN_MS, end)
    signal.addEventListener('abort', end)
    await Promise.race([writing, promise])
    signal.removeEventListener('abort', end)
    timer?.cancel()
  }
}

function eventOf({ name, model, outcome, at, used, costNanoUsd }: NamedCharge, subject: Subject) {
  const { identity, tier } = subject
  const { user, team, key } = identity
  return {
    call: { id: name, user, team, key, tier, provider: 'anthropic', model },
    attempt: 1,
    at,
    cost: costNanoUsd,
    outcome,
    isExact: used !== null,
    inputTokens: used?.inputTokens ?? 0,
    cacheReadTokens: used?.cacheReadTokens ?? 0,
    cacheWriteTokens: used?.cacheWriteTokens ?? 0,
    cacheWriteHourTokens: used?.cacheWriteHourTokens ?? 0,
    outputTokens: used?.outputTokens ?? 0,
  } satisfies UsageEvent
}
