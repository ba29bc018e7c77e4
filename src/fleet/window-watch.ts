// What keeps a job's line from moving for long. Owns: when that is looked at, and what it means for the job. Must
// not know: the arithmetic (long-windows.ts), or payloads.
import type { EpochMs } from '../core/clock.ts'
import { type ResourceSnapshot, StoreUnreachable } from '../core/store.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { Ceiling } from './ceiling.ts'
import type { Ending } from './ending.ts'
import type { FleetEvent } from './events.ts'
import { longWindowOf, paceMs } from './long-windows.ts'

export interface WindowWatchOptions {
  readonly dispatcher: Dispatcher
  readonly longWindows: 'pace' | 'stop' | 'wait'
  readonly ceiling: Ceiling
  readonly ending: Ending
  /** Of the limits that its models share; null: of all models together. */
  readonly group: string | null
  readonly tell: (event: FleetEvent) => void
}

export class WindowWatch {
  readonly #options: WindowWatchOptions
  #isLooking = false
  /** The last pause that was told. */
  #pausedUntil: EpochMs | null = null

  constructor(options: WindowWatchOptions) {
    this.#options = options
  }

  /**
   * One stands in line. Where a long window is why, and that is to end the job, it ends.
   *
   * @param isRefused whether the provider has refused it, so that nobody is sent for a while
   */
  lookAtLine(resource: string | null, { isRefused }: { readonly isRefused: boolean }): void {
    const { dispatcher, longWindows, ending } = this.#options
    if (resource === null || (longWindows !== 'stop' && !isRefused)) return
    if (this.#isLooking || ending.isStopping) return
    this.#isLooking = true
    dispatcher.follow(
      this.#lookAtLine(resource).finally(() => {
        this.#isLooking = false
      }),
    )
  }

  async #lookAtLine(resource: string): Promise<void> {
    const { dispatcher, longWindows, ending, group, tell } = this.#options
    // It stands there when the gate has done with its present step.
    await Promise.resolve()
    const gate = await lookAt(dispatcher, resource)
    if (!gate) return
    const now = dispatcher.clock.now()
    const window = longWindows === 'stop' ? longWindowOf(gate, now) : null
    if (window) {
      ending.stop({ kind: 'quota_exhausted', ...window })
      return
    }
    const { pausedUntil } = gate
    if (pausedUntil === null || pausedUntil <= now || pausedUntil === this.#pausedUntil) return
    this.#pausedUntil = pausedUntil
    tell({ kind: 'held', by: 'provider', group, until: pausedUntil })
  }

  /**
   * When the next payload may be sent for the long windows to last until the last one; null: now.
   *
   * @param left payloads that are still to be sent, this one among them: about so many
   */
  async paceAt(left: number, sentAt: EpochMs): Promise<EpochMs | null> {
    const { dispatcher, longWindows, ceiling } = this.#options
    const { means, resource } = ceiling
    if (longWindows !== 'pace' || !means || resource === null) return null
    const gate = await lookAt(dispatcher, resource)
    const at = gate && sentAt + paceMs(gate, means, left)
    return at !== null && at > dispatcher.clock.now() ? at : null
  }
}

/** Null where nothing can be seen at present: it is looked at again soon. */
export async function lookAt(
  { store }: Dispatcher,
  resource: string,
): Promise<ResourceSnapshot | null> {
  try {
    return await store.look(resource)
  } catch (error) {
    if (error instanceof StoreUnreachable) return null
    throw error
  }
}
