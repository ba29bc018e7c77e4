// Time that runs faster than the machine's, and alike in all processes of a run. Owns: reading from the
// environment how fast. Must not know: what is run.
//
// It reads the machine's monotonic time, and takes hold of the timers when it is made: scaled-time.ts replaces
// the platform's own by this.
import type { Clock } from '../../src/core/clock.ts'

export interface Scale {
  /** So many seconds pass in a real one. */
  readonly speed: number
  /** The instant at which both times are the same, in milliseconds since the epoch. */
  readonly origin: number
}

/** Node's longest timeout: longer waits are chained. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

const VARIABLE = 'BENCH_FLEET_CLOCK'

export const scaleFromNow = (speed: number): Scale => ({ speed, origin: Date.now() })

export function scaleToEnv({ speed, origin }: Scale): Record<string, string> {
  return { [VARIABLE]: `${speed}@${origin}` }
}

export function scaleOfEnv(): Scale {
  const [speed, origin] = (process.env[VARIABLE] ?? '').split('@').map(Number)
  if (!speed || !origin) throw new Error(`${VARIABLE} is not SPEED@ORIGIN`)
  return { speed, origin }
}

export function scaledClock({ speed, origin }: Scale): Clock {
  const { timeOrigin } = performance
  const { setTimeout: setRealTimeout, clearTimeout: clearRealTimeout } = globalThis
  const now = (): number => origin + (timeOrigin + performance.now() - origin) * speed
  return {
    now,
    schedule(at, run) {
      let handle: NodeJS.Timeout
      const arm = (): void => {
        const waitMs = Math.max(0, Math.ceil((at - now()) / speed))
        const timeoutMs = Math.min(waitMs, LONGEST_TIMEOUT_MS)
        handle = setRealTimeout(() => (now() >= at ? run() : arm()), timeoutMs)
      }
      arm()
      return { cancel: () => clearRealTimeout(handle) }
    },
  }
}
