// Limits as the Redis store tells its scripts of them. Must not know: what is done with them.
import type { EpochMs } from '../../src/core/clock.ts'
import type { Limit } from '../../src/core/limit.ts'
import { settingsText } from '../../src/stores/redis/settings-text.ts'

const NO_FLOORS = { soft: 0, hard: 0 }

export function settingsFor(
  limits: readonly Limit[],
  now: EpochMs,
  learns = false,
  floors = NO_FLOORS,
): object {
  const settings = { limits, learns, floors, agingMs: 1, maxQueued: 1 }
  return JSON.parse(settingsText(settings, now))
}
