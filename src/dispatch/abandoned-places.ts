// Places in line of callers that gave up. Owns: knowing a request again when it is posted again.
// Must not know: why they gave up. Keeps hashes of bodies, never bodies.
import { hash } from 'node:crypto'
import type { EpochMs } from '../core/clock.ts'
import type { Place } from '../core/ticket.ts'

/** Clients that give up post again within seconds; SDKs back off for a minute at the most. */
const KEPT_MS = 120_000
const MOST_KEPT = 10_000

interface Abandoned {
  readonly digest: string
  readonly place: Place
  readonly leftAt: EpochMs
}

/** What makes two requests the same one: who, for what, and the body. */
export interface Identity {
  readonly flow: string
  readonly resource: string
  readonly body: Buffer
}

const keyOf = ({ flow, resource, body }: Identity): string => `${resource} ${body.length} ${flow}`

export class AbandonedPlaces {
  readonly #kept = new Map<string, Abandoned>()

  keep(identity: Identity, place: Place, now: EpochMs): void {
    const key = keyOf(identity)
    this.#kept.delete(key)
    this.#kept.set(key, { digest: hash('sha1', identity.body), place, leftAt: now })
    this.#forgetOld(now)
  }

  /** The place of the same request, given back once; null when there is none. */
  reclaim(identity: Identity, now: EpochMs): Place | null {
    if (this.#kept.size === 0) return null
    const key = keyOf(identity)
    const abandoned = this.#kept.get(key)
    if (!abandoned || abandoned.leftAt + KEPT_MS < now) return null
    if (abandoned.digest !== hash('sha1', identity.body)) return null
    this.#kept.delete(key)
    return abandoned.place
  }

  /** The map is in order of leaving, so the old ones are in front. */
  #forgetOld(now: EpochMs): void {
    for (const [key, { leftAt }] of this.#kept) {
      if (leftAt + KEPT_MS >= now && this.#kept.size <= MOST_KEPT) return
      this.#kept.delete(key)
    }
  }
}
