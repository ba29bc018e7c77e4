// How full a bucket has been since when. Owns: the least that was missing from full since any
// instant, in bounded memory. Must not know: rates, who took what.
import type { EpochMs } from '../clock.ts'

/** More are rarely needed; the oldest are joined, at the lesser of what was missing. */
const MOST_LOWS = 64

interface Low {
  at: EpochMs
  missing: number
}

export class LeastMissing {
  /** Each is the least since the one before it: both fields rise. */
  readonly #lows: Low[] = []

  /** Notes what was missing at an instant, which is not before the last one noted. */
  note(missing: number, at: EpochMs): void {
    const lows = this.#lows
    let last = lows.at(-1)
    while (last && last.missing >= missing) {
      lows.pop()
      last = lows.at(-1)
    }
    if (last?.at === at) return
    lows.push({ at, missing })
    const [oldest, next] = lows
    if (lows.length <= MOST_LOWS || !oldest || !next) return
    next.missing = oldest.missing
    lows.shift()
  }

  /**
   * The least that was missing after an instant, as far as noted; Infinity when nothing was. Looks
   * from the end: what is given back was mostly taken a moment ago.
   */
  since(at: EpochMs): number {
    let least = Number.POSITIVE_INFINITY
    for (let index = this.#lows.length - 1; index >= 0; index--) {
      const low = this.#lows[index]
      if (!low || low.at <= at) break
      least = low.missing
    }
    return least
  }

  /** It turned out that the bucket was fuller by `amount` ever since an instant. */
  raise(amount: number, since: EpochMs): void {
    const lows = this.#lows
    let from = lows.length
    for (let low = lows[from - 1]; low && low.at > since; low = lows[from - 1]) {
      low.missing -= amount
      from--
    }
    const raised = lows[from]
    if (!raised) return
    let kept = from
    while (kept > 0 && (lows[kept - 1]?.missing ?? 0) >= raised.missing) kept--
    if (kept < from) lows.splice(kept, from - kept)
  }
}
