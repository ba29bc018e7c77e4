// The wish to stop. Must not know: what is stopped.
import type { Io } from './io.ts'

export interface StopWish extends Disposable {
  /** Aborted at SIGINT, at SIGTERM, and when nobody reads the output any more. */
  readonly signal: AbortSignal
}

/** Listens for the wish until it is disposed of; meanwhile signals do not end the process. */
export function stopWish({ process, outputClosed }: Io): StopWish {
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return {
    signal: AbortSignal.any([controller.signal, outputClosed]),
    [Symbol.dispose]: () => {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
    },
  }
}
