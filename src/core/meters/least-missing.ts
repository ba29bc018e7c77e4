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

  /** The least that was missing after an instant, as far as noted; Infinity when nothing was. */
  since(at: EpochMs): number {
    return this.#lows.find((low) => low.at > at)?.missing ?? Number.POSITIVE_INFINITY
  }

  /** It turned out that the bucket was fuller by `amount` ever since an instant. */
  raise(amount: number, since: EpochMs): void {
    const lows = this.#lows
    for (const low of lows) if (low.at > since) low.missing -= amount
    for (let index = lows.length - 2; index >= 0; index--) {
      const low = lows[index]
      const next = lows[index + 1]
      if (low && next && low.missing >= next.missing) lows.splice(index, 1)
    }
  }
}
