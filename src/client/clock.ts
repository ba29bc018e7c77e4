// Time as the client sees it, on any platform. Owns: its contract, and the platform's own: no other file
// here reads the time or sets a timer. Must not know: who waits, or why.

/** A pending call. `cancel` is idempotent, and harmless after the call has happened. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Milliseconds from any instant on. Never goes backwards. */
  now(): number
  /** Calls `run` once, at `at` or soon after. One `inBackground` keeps no program from ending. */
  schedule(at: number, run: () => void, how?: { readonly inBackground: boolean }): Timer
}

/** A longer timer would fire at once, so it is set again. */
const LONGEST_MS = 2 ** 31 - 1

export const platformClock: Clock = {
  now: () => performance.now(),
  schedule(at, run, how) {
    let timer: ReturnType<typeof setTimeout>
    const arm = (): void => {
      const waitMs = Math.max(0, Math.ceil(at - performance.now()))
      timer = setTimeout(waitMs > LONGEST_MS ? arm : run, Math.min(waitMs, LONGEST_MS))
      if (how?.inBackground) letProgramEnd(timer)
    }
    arm()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Where timers keep a program running, they can be told not to; on a page a timer is a number. */
function letProgramEnd(timer: unknown): void {
  if (typeof timer !== 'object' || timer === null || !('unref' in timer)) return
  if (typeof timer.unref === 'function') timer.unref()
}

export interface PauseOptions {
  readonly signal?: AbortSignal | undefined
  readonly inBackground?: boolean
}

/** Resolves after so long, or once the signal is aborted. */
export async function pause(
  clock: Clock,
  forMs: number,
  options: PauseOptions = {},
): Promise<void> {
  const { signal, inBackground = false } = options
  if (signal?.aborted) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const end = (): void => resolve()
  const timer = clock.schedule(clock.now() + forMs, end, { inBackground })
  signal?.addEventListener('abort', end)
  await promise
  timer.cancel()
  signal?.removeEventListener('abort', end)
}
