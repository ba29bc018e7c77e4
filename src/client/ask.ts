// One ask for a lease, from the first request to the grant. Owns: that it is one ask over all its
// connections, and that a caller who leaves takes nothing along. Must not know: what is done with a lease.
import type { ClientContext } from './context.ts'
import type { Granted, Waiting } from './documents.ts'
import { tellEnd } from './ending.ts'
import { errorOf, HeadgateError, Refused, Unreachable } from './errors.ts'
import { type ClientLease, HeldLease, ungovernedLease } from './held-lease.ts'
import type { AcquireOptions } from './lease.ts'
import { Patience } from './patience.ts'
import { Lost, type Message } from './wire.ts'

export interface ClientAcquireOptions extends AcquireOptions {
  /**
   * How long the lease outlives the last sign of life of this program, in milliseconds; the client
   * gives such signs by itself.
   * @default what the gate is configured with
   */
  readonly ttlMs?: number
}

export class Ask {
  readonly #context: ClientContext
  readonly #resource: string
  readonly #options: ClientAcquireOptions
  readonly #patience: Patience
  readonly #startedAt: number
  readonly #answer = Promise.withResolvers<ClientLease>()
  #state: 'asking' | 'left' | 'over' = 'asking'
  /** Aborted when there is nothing more to hear. */
  readonly #hearing = new AbortController()
  /** The same for every attempt: so the gate knows the ask again. */
  #key: string
  /** What the gate calls it, once it has said so. */
  #id: string | null = null
  #isConnectionLost = false

  constructor(context: ClientContext, resource: string, options: ClientAcquireOptions) {
    this.#context = context
    this.#resource = resource
    this.#options = options
    this.#patience = new Patience(context)
    this.#startedAt = context.clock.now()
    this.#key = context.newKey()
  }

  /** Called once. @throws HeadgateError, or the reason of the caller's signal */
  async take(): Promise<ClientLease> {
    const { signal } = this.#options
    signal?.throwIfAborted()
    const leave = (): void => this.#leave(signal?.reason)
    signal?.addEventListener('abort', leave)
    void this.#run()
    try {
      return await this.#answer.promise
    } finally {
      signal?.removeEventListener('abort', leave)
    }
  }

  /** The answer is the caller's, unless it has left meanwhile: then nothing is kept of it. */
  async #run(): Promise<void> {
    try {
      const granted = await this.#untilGranted()
      if (this.#state === 'left') return await this.#forget()
      this.#state = 'over'
      this.#answer.resolve(new HeldLease(this.#context, granted, !this.#isConnectionLost))
    } catch (error) {
      if (this.#state === 'left') return await this.#forget()
      this.#state = 'over'
      if (error instanceof Unreachable && this.#context.onUnreachable === 'fail_open')
        return this.#goUngoverned(error)
      this.#answer.reject(error)
      // What the caller's own `onProgress` threw is no end for the gate.
      if (!(error instanceof HeadgateError)) await this.#forget()
    }
  }

  async #untilGranted(): Promise<Granted> {
    for (;;) {
      try {
        return await this.#listen()
      } catch (error) {
        if (this.#state === 'left') throw error
        if (error instanceof Lost) await this.#outlast(error)
        else if (this.#isConnectionLost && isEnded(error)) this.#beginAnew()
        else throw error
      }
    }
  }

  /** Over one connection. */
  async #listen(): Promise<Granted> {
    const { wire, timings } = this.#context
    const answerMs = Math.min(timings.silenceMs, this.#patience.leftMs)
    const within = { answerMs, silenceMs: timings.silenceMs }
    for await (const event of wire.ask(this.#message(), within, this.#hearing.signal)) {
      if (event.kind === 'refused') throw errorOf(event.problem)
      this.#id = event.id
      if (event.kind === 'granted') return event
      this.#waiting(event)
    }
    throw new Lost('the connection ended before the answer')
  }

  #message(): Message {
    const { load, lane, flow, ttlMs, maxWaitMs } = this.#options
    const waitedMs = this.#context.clock.now() - this.#startedAt
    const leftMs = maxWaitMs && Math.max(0, Math.ceil(maxWaitMs - waitedMs))
    const isKnown = this.#id !== null
    return {
      method: 'POST',
      path: 'leases',
      headers: { 'idempotency-key': this.#key, ...(isKnown && { 'x-headgate-resume': '1' }) },
      body: { resource: this.#resource, load, lane, flow, ttlMs, maxWaitMs: leftMs },
    }
  }

  #waiting({ id, placeLost, position, expectedInMs, boundBy }: Waiting): void {
    const { tell } = this.#context
    const resource = this.#resource
    // It has left, and only now has a name by which the gate can forget it.
    if (this.#state === 'left') {
      this.#hearing.abort()
      return
    }
    this.#patience.reached()
    if (this.#isConnectionLost) tell({ kind: 'reconnected', resource, id })
    this.#isConnectionLost = false
    if (placeLost) tell({ kind: 'place_lost', resource, id })
    this.#options.onProgress?.({ position, expectedInMs, boundBy })
  }

  async #outlast(lost: Lost): Promise<void> {
    const { tell } = this.#context
    if (!this.#isConnectionLost)
      tell({ kind: 'reconnecting', resource: this.#resource, why: lost.message })
    this.#isConnectionLost = true
    await this.#patience.outlast(lost, { signal: this.#options.signal })
  }

  /** Its lease came and went while the connection was lost: nobody has worked with it. */
  #beginAnew(): void {
    const id = this.#id
    this.#key = this.#context.newKey()
    this.#id = null
    if (id !== null) this.#context.tell({ kind: 'place_lost', resource: this.#resource, id })
  }

  #leave(reason: unknown): void {
    if (this.#state !== 'asking') return
    this.#state = 'left'
    this.#answer.reject(reason)
    // Without a name it goes on listening until it has one.
    if (this.#id !== null) this.#hearing.abort()
  }

  /** Takes out of line, or ends, what nobody waits for any more. */
  async #forget(): Promise<void> {
    if (this.#id === null) return
    const id = this.#id
    const path = `leases/${encodeURIComponent(id)}`
    const error = await tellEnd(this.#context, { method: 'DELETE', path })
    if (error === null || error.code === 'LEASE_LOST') return
    this.#context.tell({ kind: 'left_open', resource: this.#resource, id, error })
  }

  #goUngoverned(error: Unreachable): void {
    const { clock, tell } = this.#context
    const waitedMs = clock.now() - this.#startedAt
    this.#answer.resolve(ungovernedLease(this.#resource, waitedMs))
    tell({ kind: 'ungoverned', resource: this.#resource, error })
  }
}

const isEnded = (error: unknown): boolean =>
  error instanceof Refused && error.problem.reason === 'lease_ended'
