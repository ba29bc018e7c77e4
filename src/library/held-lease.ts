// A lease in its holder's hands. Owns: that it ends once. Must not know: how it was come by.
import { LeaseLost } from '../client/errors.ts'
import type { Lease, Load } from '../client/lease.ts'
import type { CostVector } from '../core/cost.ts'
import type { LeaseTurn } from '../dispatch/lease-turn.ts'
import { costOfAsked } from './asked.ts'

export interface HeldLeaseOptions {
  readonly turn: LeaseTurn
  /** By the name that it was asked for. */
  readonly resource: string
  readonly grantedAt: number
  readonly waitedMs: number
  readonly onEnd: (lease: HeldLease) => void
}

export class HeldLease implements Lease {
  readonly id: string
  readonly resource: string
  readonly grantedAt: number
  readonly waitedMs: number
  readonly #turn: LeaseTurn
  readonly #onEnd: (lease: HeldLease) => void
  readonly #lost = new AbortController()
  #isEnded = false

  constructor({ turn, resource, grantedAt, waitedMs, onEnd }: HeldLeaseOptions) {
    this.id = turn.request.id
    this.resource = resource
    this.grantedAt = grantedAt
    this.waitedMs = waitedMs
    this.#turn = turn
    this.#onEnd = onEnd
  }

  get signal(): AbortSignal {
    return this.#lost.signal
  }

  async settle(actual?: Load): Promise<void> {
    const cost = actual === undefined ? null : costOfAsked(actual, 'actual')
    await this.#end(() => this.#settleAt(cost))
  }

  async release(): Promise<void> {
    await this.#end(() => this.#turn.release())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.settle()
  }

  /** The gate is closed while somebody works with it. */
  async lose(): Promise<void> {
    this.#lost.abort(new LeaseLost('the gate was closed while this lease was held', null))
    await this.settle()
  }

  /** What is known to have been used is exact; what was asked for was a guess. */
  #settleAt(actual: CostVector | null): Promise<boolean> {
    return this.#turn.settle(actual ?? this.#turn.request.estimate, actual !== null)
  }

  async #end(ending: () => Promise<unknown>): Promise<void> {
    if (this.#isEnded) return
    this.#isEnded = true
    try {
      await ending()
    } finally {
      this.#onEnd(this)
    }
  }
}
