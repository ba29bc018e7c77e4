// The choice among the algorithms. Must not know: what is metered.
import type { EpochMs } from '../clock.ts'
import type { Limit } from '../limit.ts'
import { ConcurrencyMeter } from './concurrency.ts'
import { FixedWindow } from './fixed-window.ts'
import type { Meter } from './meter.ts'
import { SlidingWindow } from './sliding-window.ts'
import { TokenBucket } from './token-bucket.ts'

export function createMeter(limit: Limit, now: EpochMs): Meter {
  switch (limit.algorithm) {
    case 'token_bucket':
      return new TokenBucket(limit, now)
    case 'sliding_window':
      return new SlidingWindow(limit)
    case 'fixed_window':
      return new FixedWindow(limit)
    case 'concurrency':
      return new ConcurrencyMeter(limit)
  }
}
