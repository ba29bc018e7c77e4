// Waiting in the queue's work: for a while, and no longer than anybody wants. Must not know: what is waited for.
import type { Clock } from '../../core/clock.ts'

export function pause(clock: Clock, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  clock.schedule(clock.now() + ms, resolve)
  return promise
}

/** Resolves with the work, or after so long: the work goes on then, and nobody hears of it. */
export async function within(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = clock.schedule(clock.now() + ms, late.resolve)
  await Promise.race([work, late.promise]).finally(() => timer.cancel())
}

/** Rejects with the signal's reason as soon as it is aborted, whatever becomes of the work. */
export async function orAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
