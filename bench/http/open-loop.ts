// An open loop: requests start when a Poisson process says so, whether or not earlier ones have been
// answered, and latency counts from the instant that was intended. Must not know: what is sent.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

export interface OpenLoop {
  readonly ratePerSecond: number
  readonly durationMs: number
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Starts one request. Its promise settles at the moment that is measured. */
  readonly send: () => Promise<void>
}

export interface OpenLoopFigures {
  readonly sent: number
  readonly failures: number
  /** Nanoseconds from the intended start, successes only. */
  readonly latencyNs: RecordableHistogram
}

/** Timers fire up to this late; the rest of a wait is spent polling, so that starts are exact. */
const TIMER_SLACK_MS = 1.5

export async function runOpenLoop(loop: OpenLoop): Promise<OpenLoopFigures> {
  const latencyNs = createHistogram()
  const inFlight: Promise<void>[] = []
  let failures = 0
  const startedAt = performance.now()
  for (
    let intendedAt = startedAt + nextGapMs(loop);
    intendedAt < startedAt + loop.durationMs;
    intendedAt += nextGapMs(loop)
  ) {
    await until(intendedAt)
    const measured = loop.send().then(
      () => latencyNs.record(Math.max(1, Math.round((performance.now() - intendedAt) * 1e6))),
      () => {
        failures++
      },
    )
    inFlight.push(measured)
  }
  await Promise.all(inFlight)
  return { sent: inFlight.length, failures, latencyNs }
}

function nextGapMs(loop: OpenLoop): number {
  return (-Math.log(1 - loop.random()) * 1000) / loop.ratePerSecond
}

async function until(instant: number): Promise<void> {
  const waitMs = instant - performance.now() - TIMER_SLACK_MS
  if (waitMs >= 1) await new Promise((resolve) => setTimeout(resolve, waitMs))
  while (performance.now() < instant) await new Promise(setImmediate)
}

/** Mulberry32: the same seed gives the same arrivals. */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
