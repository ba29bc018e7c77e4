// Whether a call that failed is sent again. Owns: how often, and after which pause. Must not know: the
// line that it waits in meanwhile.
import type { EpochMs } from '../core/clock.ts'
import type { Verdict } from '../providers/provider.ts'
import type { UpstreamFailure } from './upstream.ts'

/** Sent at most so often when the provider is in trouble, or cannot be reached. */
const MOST_OVERLOADED = 6
const MOST_UNREACHABLE = 4
const FIRST_BACKOFF_MS = 500
const LONGEST_BACKOFF_MS = 16_000

export type Again =
  | { readonly reason: 'rate_limited'; readonly retryAfterMs: number | null }
  | { readonly reason: 'overloaded'; readonly backoffMs: number }
  /** `isSent`: the provider may have had the request, and may have done what it asks for. */
  | { readonly reason: 'connection'; readonly backoffMs: number; readonly isSent: boolean }

/** What a call can still bear. */
export interface Patience {
  readonly now: EpochMs
  readonly deadlineAt: EpochMs
  /** When its client gives up, where that is before its deadline. */
  readonly waitsUntil: EpochMs
}

export class Tries {
  readonly #random: () => number
  #count = 0
  /** Those that met the provider in trouble, or not at all. A limit that refuses is no trouble. */
  #troubles = 0

  constructor(random: () => number) {
    this.#random = random
  }

  /** How often the call has been sent. */
  get count(): number {
    return this.#count
  }

  sent(): void {
    this.#count++
  }

  /** Null: the provider's error is the answer. */
  afterError(verdict: Verdict, { now, deadlineAt, waitsUntil }: Patience): Again | null {
    if (verdict.kind === 'rate_limited') {
      const { retryAfterMs } = verdict
      const isInTime = now + (retryAfterMs ?? 0) <= deadlineAt
      return isInTime ? { reason: 'rate_limited', retryAfterMs } : null
    }
    if (verdict.kind !== 'overloaded' || this.#troubles + 1 >= MOST_OVERLOADED) return null
    if (now + (verdict.retryAfterMs ?? 0) > waitsUntil) return null
    return { reason: 'overloaded', backoffMs: this.#backOff(verdict.retryAfterMs) }
  }

  /** Null: there will be no answer. */
  afterFailure({ kind }: UpstreamFailure): Again | null {
    if (kind === 'timeout' || this.#troubles + 1 >= MOST_UNREACHABLE) return null
    return { reason: 'connection', backoffMs: this.#backOff(null), isSent: kind === 'broken' }
  }

  /** Doubles with each trouble; drawn from its upper half, so that callers do not come in step. */
  #backOff(retryAfterMs: number | null): number {
    this.#troubles++
    const longest = Math.min(FIRST_BACKOFF_MS * 2 ** this.#troubles, LONGEST_BACKOFF_MS)
    return Math.max(retryAfterMs ?? 0, longest * (0.5 + this.#random() / 2))
  }
}
