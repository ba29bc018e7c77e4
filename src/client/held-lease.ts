// A lease in a client's hands. Owns: ending it once, and its signal. Must not know: how it was got.
import type { ClientContext } from './context.ts'
import type { Granted } from './documents.ts'
import { tellEnd } from './ending.ts'
import type { HeadgateError } from './errors.ts'
import type { Lease, Load } from './lease.ts'
import { Renewal } from './renewal.ts'
import type { Message } from './wire.ts'

/** A lease that a coordinator keeps. It is renewed by itself until its end. */
export interface ClientLease extends Lease {
  /** False: the gate was out of reach, `onUnreachable` is `fail_open`, and nothing limits the work. */
  readonly isGoverned: boolean
}

export class HeldLease implements ClientLease {
  readonly id: string
  readonly resource: string
  readonly grantedAt: number
  readonly waitedMs: number
  readonly isGoverned = true
  readonly #context: ClientContext
  readonly #loss = new AbortController()
  readonly #renewal: Renewal
  #end: Promise<void> | null = null

  /** @param isFresh - false: it may have been granted a while ago, unheard */
  constructor(context: ClientContext, granted: Granted, isFresh: boolean) {
    this.#context = context
    this.id = granted.id
    this.resource = granted.resource
    this.grantedAt = granted.grantedAt
    this.waitedMs = granted.waitedMs
    this.#renewal = new Renewal(context, granted, (error) => this.#lost(error))
    if (isFresh) this.#renewal.start()
    else this.#renewal.startNow()
  }

  get signal(): AbortSignal {
    return this.#loss.signal
  }

  settle(actual?: Load): Promise<void> {
    const body = actual === undefined ? {} : { actual }
    return this.#endWith({ method: 'POST', path: `${this.#path}/settle`, body })
  }

  release(): Promise<void> {
    return this.#endWith({ method: 'DELETE', path: this.#path })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.settle()
  }

  get #path(): string {
    return `leases/${encodeURIComponent(this.id)}`
  }

  #endWith(message: Message): Promise<void> {
    this.#end ??= this.#tell(message)
    return this.#end
  }

  async #tell(message: Message): Promise<void> {
    if (this.signal.aborted) return
    this.#renewal.stop()
    const error = await tellEnd(this.#context, message).catch((mistake: unknown) => {
      throw this.#heldOn(mistake)
    })
    if (error === null) return
    if (error.code === 'LEASE_LOST') return this.#lost(error)
    if (error.code === 'INVALID' && 'actual' in (message.body ?? {})) throw this.#heldOn(error)
    this.#context.tell({ kind: 'left_open', resource: this.resource, id: this.id, error })
  }

  /** A mistake in what was used is the program's to mend, while it still holds the lease. */
  #heldOn(mistake: unknown): unknown {
    this.#end = null
    this.#renewal.startNow()
    return mistake
  }

  #lost(error: HeadgateError): void {
    this.#loss.abort(error)
    this.#context.tell({ kind: 'lost', resource: this.resource, id: this.id, error })
  }
}

/** What `fail_open` gives: the same in the hand, with nobody behind it. */
export function ungovernedLease(resource: string, waitedMs: number): ClientLease {
  const nothing = async (): Promise<void> => {}
  return {
    id: 'ungoverned',
    resource,
    grantedAt: Date.now(),
    waitedMs,
    isGoverned: false,
    signal: new AbortController().signal,
    settle: nothing,
    release: nothing,
    [Symbol.asyncDispose]: nothing,
  }
}
