// The signals that stop a run, or a worker. Owns: what the first means, and the second. Must not know: what is
// stopped.
import type { Io } from './io.ts'

export const STOPPING = 'Stopping: what is on its way is waited for. Once more stops at once.'

export interface StopSignals extends Disposable {
  /** Aborted by the first: nothing more is to be begun. */
  readonly stop: AbortSignal
  /** Aborted by the second: nothing is to be waited for. */
  readonly abort: AbortSignal
}

const NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP']

/** Listens until it is disposed of; meanwhile these signals do not end the process. */
export function stopSignals({ process }: Io, onStop: () => void): StopSignals {
  const stop = new AbortController()
  const abort = new AbortController()
  const onSignal = (): void => {
    if (stop.signal.aborted) abort.abort()
    else onStop()
    stop.abort()
  }
  for (const name of NAMES) process.on(name, onSignal)
  return {
    stop: stop.signal,
    abort: abort.signal,
    [Symbol.dispose]: () => {
      for (const name of NAMES) process.off(name, onSignal)
    },
  }
}
