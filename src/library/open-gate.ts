// The gate that a program holds. Owns: asks for leases from the first word to the lease, and closing down
// so that nobody is left waiting. Must not know: how a lease is taken (LeaseTurn), or calls of `fetch`.
import { randomBytes } from 'node:crypto'
import { Invalid, type Refused, Unreachable } from '../client/errors.ts'
import type { Lease } from '../client/lease.ts'
import type { Clock } from '../core/clock.ts'
import { type ResourceSnapshot, StoreUnreachable } from '../core/store.ts'
import { createNonce, leaseId, ownerTag } from '../dispatch/lease-id.ts'
import { callerOf } from '../dispatch/lease-policy.ts'
import { ofGate, SHUTTING_DOWN, STORE_FAILED } from '../dispatch/lease-refusals.ts'
import { LeaseTurn } from '../dispatch/lease-turn.ts'
import { requestFor, resourceFor } from '../dispatch/lease-wish.ts'
import type { Engine } from '../engine/engine.ts'
import { ANONYMOUS } from '../policy/subject.ts'
import { type Asked, checkWork, errorOf, readAsked, readClose } from './asked.ts'
import type { FetchCaller } from './fetch-caller.ts'
import type { CloseOptions, Gate, GateAcquireOptions } from './gate.ts'
import { HeldLease } from './held-lease.ts'
import type { Inside } from './inside.ts'
import { ProgressReports } from './progress.ts'

export interface OpenGateOptions {
  readonly engine: Engine
  readonly clock: Clock
  readonly failed: (error: unknown) => void
}

type Work<T> = (lease: Lease) => T | PromiseLike<T>

export class OpenGate implements Gate, Inside {
  readonly engine: Engine
  readonly callers = new Set<FetchCaller>()
  readonly #clock: Clock
  readonly #reports: ProgressReports
  /** Those who wait for a lease: each leaves when told to. */
  readonly #asks = new Set<(why: unknown) => void>()
  readonly #held = new Set<HeldLease>()
  #closing: Promise<void> | null = null
  #whenNoneIsHeld: () => void = () => {}

  constructor({ engine, clock, failed }: OpenGateOptions) {
    this.engine = engine
    this.#clock = clock
    this.#reports = new ProgressReports(clock, failed)
  }

  async acquire(name: string, options: GateAcquireOptions = {}): Promise<Lease> {
    const asked = readAsked(name, options)
    asked.signal?.throwIfAborted()
    if (this.#isClosing) throw errorOf(SHUTTING_DOWN)
    try {
      return await this.#acquire(name, asked)
    } catch (error) {
      if (!(error instanceof StoreUnreachable)) throw error
      const { problem } = errorOf(STORE_FAILED)
      throw new Unreachable(problem.detail, problem, error)
    }
  }

  run<T>(resource: string, options: GateAcquireOptions, work: Work<T>): Promise<T>
  run<T>(terms: string | GateAcquireOptions, work: Work<T>): Promise<T>
  async run<T>(
    terms: string | GateAcquireOptions,
    ...rest: [GateAcquireOptions, Work<T>] | [Work<T>]
  ): Promise<T> {
    const isNamed = typeof terms === 'string'
    const [options, work] = rest.length === 2 ? rest : [isNamed ? {} : terms, ...rest]
    checkWork(work)
    await using lease = await this.acquire(isNamed ? terms : this.#onlyResource(), options)
    return await work(lease)
  }

  snapshot(): Promise<readonly ResourceSnapshot[]> {
    return this.engine.store.snapshot()
  }

  close(options: CloseOptions = {}): Promise<void> {
    try {
      const { graceMs } = readClose(options)
      this.#closing ??= this.#close(graceMs)
      return this.#closing
    } catch (error) {
      return Promise.reject(error)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get #isClosing(): boolean {
    return this.#closing !== null
  }

  async #acquire(name: string, asked: Asked): Promise<Lease> {
    const { leases, store } = this.engine
    const { load, lane, flow, user, maxWaitMs } = asked
    const caller = callerOf({ ...ANONYMOUS, user }, true)
    const wish = { caller, resource: name, load, lane, flow }
    const policy = this.engine.leasePolicy()
    const found = await resourceFor(wish, policy, store)
    if (found.kind === 'refused') throw errorOf(found.refusal)
    // As a coordinator names its leases: one that shares the store shows this one, too.
    const { resource } = found
    const id = leaseId({ resource, owner: ownerTag(caller.name) }, createNonce(randomBytes))
    const deadlineAt = this.#clock.now() + (maxWaitMs ?? policy.maxWaitMs)
    const request = requestFor(wish, policy, found, { id, deadlineAt })
    return await this.#wait(new LeaseTurn(leases, { ...request, holder: null }), name, asked)
  }

  /** Resolves with the lease. Whoever leaves, or is made to, is rejected at once. */
  async #wait(turn: LeaseTurn, resource: string, { signal, onProgress }: Asked): Promise<Lease> {
    if (this.#isClosing) throw errorOf(SHUTTING_DOWN)
    signal?.throwIfAborted()
    const gone = Promise.withResolvers<never>()
    const leave = (why: unknown): void => {
      turn.leave()
      gone.reject(why)
    }
    const onAbort = (): void => leave(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    this.#asks.add(leave)
    try {
      const taken = turn.take((prediction) => {
        if (onProgress) this.#reports.begin(turn, prediction, onProgress)
      })
      const answer = await Promise.race([taken, gone.promise])
      if (answer.kind === 'refused') throw errorOf(ofGate(answer.refusal))
      // It may have been left in the very moment of its turn.
      if (answer.kind === 'left' || !turn.isHeld) return await gone.promise
      return this.#hold(turn, resource, answer.waitedMs)
    } finally {
      this.#reports.end(turn)
      this.#asks.delete(leave)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #hold(turn: LeaseTurn, resource: string, waitedMs: number): Lease {
    const lease = new HeldLease({
      turn,
      resource,
      grantedAt: this.#clock.now(),
      waitedMs,
      onEnd: (ended) => {
        this.#held.delete(ended)
        if (this.#held.size === 0) this.#whenNoneIsHeld()
      },
    })
    this.#held.add(lease)
    return lease
  }

  #onlyResource(): string {
    const names = [...this.engine.policy.settings.resources.keys()]
    const [only] = names
    if (names.length === 1 && only !== undefined) return only
    const detail = `which resource is meant? This gate has ${names.length}: name one`
    throw new Invalid({
      status: 400,
      reason: 'invalid',
      detail,
      errors: [{ field: 'resource', detail }],
      retryAfterMs: null,
    })
  }

  async #close(graceMs: number): Promise<void> {
    // First `#closing` is to be seen by all who are told.
    await Promise.resolve()
    const why: Refused | Invalid = errorOf(SHUTTING_DOWN)
    for (const leave of [...this.#asks]) leave(why)
    const ended = Promise.all([this.engine.dispatcher.drain(), this.#noneIsHeld()])
    const timer = this.#clock.schedule(this.#clock.now() + graceMs, () => this.#endAll())
    try {
      await ended
    } finally {
      timer.cancel()
      await this.engine.close()
    }
  }

  async #noneIsHeld(): Promise<void> {
    if (this.#held.size === 0) return
    await new Promise<void>((resolve) => {
      this.#whenNoneIsHeld = resolve
    })
  }

  #endAll(): void {
    const why = new Error('the gate was closed while this answer was under way')
    for (const caller of [...this.callers]) caller.breakOff(why)
    this.engine.dispatcher.abortAll()
    for (const lease of [...this.#held]) this.engine.dispatcher.follow(lease.lose())
  }
}
