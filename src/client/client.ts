// What a program asks of a coordinator. Owns: that contract. Must not know: how an ask or a lease lives.
import { Ask, type ClientAcquireOptions } from './ask.ts'
import type { ClientContext } from './context.ts'
import { type CheckAnswer, readChecked } from './documents.ts'
import { errorOf } from './errors.ts'
import type { ClientLease } from './held-lease.ts'
import type { Lane, Load } from './lease.ts'
import { outOfReach } from './patience.ts'
import { Lost, understood } from './wire.ts'

export interface CheckOptions {
  /** @default one request and no tokens */
  readonly load?: Load
  /** @default normal */
  readonly lane?: Lane
  readonly flow?: string
  readonly signal?: AbortSignal
}

export interface Headgate {
  /**
   * Waits in line for a resource, over broken connections and restarts of the gate, and holds a lease.
   *
   * @throws Refused when there is no room, now or within `maxWaitMs`
   * @throws Invalid when there is no such resource, or never room for such a load
   * @throws Forbidden when the key does not open this
   * @throws Unreachable when the gate is out of reach and `onUnreachable` is `fail_closed`
   */
  acquire(resource: string, options?: ClientAcquireOptions): Promise<ClientLease>

  /**
   * Works under a lease. When `work` is over, well or not, the lease is settled at what was asked for,
   * unless `work` has ended it itself.
   *
   * @throws as `acquire`, and what `work` throws
   */
  withLease<T>(
    resource: string,
    options: ClientAcquireOptions,
    work: (lease: ClientLease) => Promise<T> | T,
  ): Promise<T>

  /**
   * Asks whether there is room now, and never waits. What is allowed is counted at once. It is asked
   * once only, since an answer that was lost may have been counted.
   *
   * @throws Invalid, Forbidden as `acquire`
   * @throws Unreachable when the gate is out of reach, whatever `onUnreachable` is
   */
  check(resource: string, options?: CheckOptions): Promise<CheckAnswer>
}

export class Client implements Headgate {
  readonly #context: ClientContext

  constructor(context: ClientContext) {
    this.#context = context
  }

  acquire(resource: string, options: ClientAcquireOptions = {}): Promise<ClientLease> {
    return new Ask(this.#context, resource, options).take()
  }

  async withLease<T>(
    resource: string,
    options: ClientAcquireOptions,
    work: (lease: ClientLease) => Promise<T> | T,
  ): Promise<T> {
    const lease = await this.acquire(resource, options)
    try {
      return await work(lease)
    } finally {
      await lease.settle()
    }
  }

  async check(resource: string, options: CheckOptions = {}): Promise<CheckAnswer> {
    const { wire, unreachableAfterMs } = this.#context
    const { signal, load, lane, flow } = options
    const body = { resource, load, lane, flow }
    try {
      const message = { method: 'POST', path: 'check', body } as const
      const answer = await wire.exchange(message, unreachableAfterMs, signal)
      if (answer.kind === 'refused') throw errorOf(answer.problem)
      return understood(() => readChecked(answer.text))
    } catch (error) {
      throw error instanceof Lost ? outOfReach(this.#context, error) : error
    }
  }
}
