// Letting time pass in a command. Must not know: which command, or whose clock.
import type { Clock } from '../core/clock.ts'

/** Resolves after `ms` of the clock, or at once when the signal is aborted. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) return Promise.resolve()
  const end = (): void => {
    timer.cancel()
    signal.removeEventListener('abort', end)
    resolve()
  }
  const timer = clock.schedule(clock.now() + ms, end)
  signal.addEventListener('abort', end)
  return promise
}

/** Runs something every `ms` of the clock, until it is told to stop. */
export function every(clock: Clock, ms: number, run: () => void): () => void {
  const again = (): void => {
    timer = clock.schedule(clock.now() + ms, again)
    run()
  }
  let timer = clock.schedule(clock.now() + ms, again)
  return () => timer.cancel()
}

/** Resolves when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  const { promise, resolve } = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}
